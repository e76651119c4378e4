"""
Kills workers right before and right after each step and each effect of each scenario, and judges what came of it.

Several cells are under way at a time, each with a service of its own. Each kill strikes all of them, so that a cell is
also killed at moments of others'. On PostgreSQL there are two workers: who dies is missed, and the other goes on with
its runs; a newcomer of another name takes its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import itertools
import json
import os
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import nats
import yaml
from kill_scenarios import SCENARIOS, Scenario, World, policies, prepare
from mortal_workers import Nursery, lives
from nats.js import api
from nats.js.errors import NotFoundError
from nats_server import TOKEN as NATS_TOKEN
from nats_server import NatsServer, free_port
from worker_neighbours import ORCHESTRATOR_TOKEN, OrchestratorStandIn, PrometheusStandIn

TOKEN = "post-alerts"
LEASE_S = 3  # of a worker on PostgreSQL
POLL_S = 0.05
NOT_KILLED, NOBODY_KNEW = "was not killed", "nobody knew"
COMMAND = """#!{python}
import os, sys
with open({folder!r} + "/" + sys.argv[1] + ".ran", "a") as file:
    print(os.environ["REMEDIATION_KEY"], file=file)
"""


@dataclass(frozen=True)
class Cell:
    scenario: str
    point: str = ""  # where it dies; nowhere, if empty
    when: str = ""  # before, after

    def __str__(self) -> str:
        return f"{self.scenario}: {self.when} {self.point}" if self.point else f"{self.scenario}: not killed"


@dataclass
class Case:
    """One cell on its way."""

    cell: Cell
    service: str
    scenario: Scenario
    starts: str = ""
    posted: bool = False
    over: bool = False  # its alerts were told to be
    ended: list[dict[str, Any]] | None = None  # its records, once they have ended
    since_s: float = field(default_factory=time.monotonic)


class Peer(http.server.BaseHTTPRequestHandler):
    """Takes calls and notifications."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        if self.path == "/pager":
            self.server.told.append(json.loads(body)["message"])
        else:
            self.server.called.append((self.headers["Idempotency-Key"], body))
        self.send_response(204)
        self.end_headers()

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the worker was killed in the middle of a request
            super().handle()

    def log_message(self, *_arguments: object) -> None:
        pass


class Campaign:
    """`run` takes cells, and gives what is wrong with each; an empty text for nothing."""

    def __init__(self, folder: Path, database_url: str = "") -> None:
        """Args: database_url: of an empty PostgreSQL, for two workers; one worker on SQLite without it."""
        self._folder = folder
        self._database_url = database_url
        self._numbers = itertools.count(1)
        self._cases: dict[str, Case] = {}
        self._pids: list[int | None] = [None] * (2 if database_url else 1)
        self._urls = [""] * len(self._pids)
        self._missed_s = [0.0] * len(self._pids)
        self.lives = 0  # workers that were started
        self.astray = 0  # cells that were tried again, alone
        with contextlib.ExitStack() as self._stack:
            self._open()
            self._stack = self._stack.pop_all()  # it came so far: from here on `close` closes

    def _open(self) -> None:
        self.orchestrator, self.prometheus = OrchestratorStandIn(), PrometheusStandIn()
        self._stack.callback(self.orchestrator.close)
        self._stack.callback(self.prometheus.close)
        self.prometheus.slow = self._is_slow
        self._peer = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Peer)
        self._peer.called, self._peer.told = [], []
        threading.Thread(target=self._peer.serve_forever, args=(0.05,)).start()
        self._stack.callback(self._peer.server_close)
        self._stack.callback(self._peer.shutdown)
        self._nats = NatsServer(self._folder, free_port())
        self._nats.start()
        self._stack.callback(self._nats.kill)
        asyncio.run(self._flags(""))
        self.world = World(
            orchestrator=self.orchestrator,
            prometheus=self.prometheus,
            peer=self._peer.called,
            commands=self._commands,
            flags=lambda service: asyncio.run(self._flags(f"{service}.new")),
            told=self._peer.told,
        )
        self._write_files()
        self._nursery = Nursery()
        self._stack.callback(self._nursery.close)

    def close(self) -> None:
        self._stack.close()

    def _write_files(self) -> None:
        url = f"http://127.0.0.1:{self._peer.server_port}"
        (self._folder / "policies.yaml").write_text(yaml.safe_dump(policies(str(self._folder), f"{url}/call")))
        (self._folder / "pager.url").write_text(f"json://127.0.0.1:{self._peer.server_port}/pager")
        command = self._folder / "command"
        command.write_text(COMMAND.format(python=sys.executable, folder=str(self._folder)))
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
        for name, token in (("remediation", TOKEN), ("orchestrator", ORCHESTRATOR_TOKEN)):
            (self._folder / f"{name}.token").write_text(token)

    def _commands(self, service: str) -> list[str]:
        path = self._folder / f"{service}.ran"
        return path.read_text().splitlines() if path.exists() else []

    async def _flags(self, name: str) -> list[Any]:
        """Each value that the flag was set to; makes the bucket."""
        client = await nats.connect(self._nats.url, token=NATS_TOKEN)
        try:
            stream = client.jetstream()
            bucket = await stream.create_key_value(api.KeyValueConfig(bucket="flags", history=20))
            return [json.loads(one.value)["value"] for one in await bucket.history(name)] if name else []
        except NotFoundError:
            return []
        finally:
            await client.close()

    def _is_slow(self, service: str) -> bool:
        case = self._cases.get(service)
        return case is not None and not case.scenario.cured(self.world, service)

    # Workers

    def _keep_alive(self) -> None:
        for place, pid in enumerate(self._pids):
            if pid is not None and lives(pid):
                continue
            if pid is not None and not self._missed_s[place]:
                self._missed_s[place] = time.monotonic() + (LEASE_S + 1 if len(self._pids) > 1 else 0)
            others = any(other is not None and lives(other) for other in self._pids)
            if pid is None or not others or time.monotonic() >= self._missed_s[place]:
                self._start(place)

    def _start(self, place: int) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.lives += 1
        several = len(self._pids) > 1
        environment = {
            "PATH": "/usr/bin:/bin",
            "MORTAL_FOLDER": str(self._folder),
            "PORT": str(port),
            "REMEDIATION_TOKEN_FILE": str(self._folder / "remediation.token"),
            "REMEDIATION_DATA_DIR": str(self._folder / f"data-{place}"),
            "REMEDIATION_DATABASE_URL": self._database_url,
            "REMEDIATION_EXECUTOR_ID": f"worker-{self.lives}" if several else "worker-1",
            "REMEDIATION_LEASE": f"{LEASE_S}s",
            "REMEDIATION_POLICIES": str(self._folder / "policies.yaml"),
            "REMEDIATION_PROMETHEUS_URL": self.prometheus.url,
            "REMEDIATION_ORCHESTRATOR_URL": self.orchestrator.url,
            "REMEDIATION_ORCHESTRATOR_TOKEN_FILE": str(self._folder / "orchestrator.token"),
            "REMEDIATION_NATS_URL": self._nats.url,
            "REMEDIATION_NATS_TOKEN_FILE": str(self._nats.token_file),
        }
        self._pids[place] = self._nursery.fork(environment, self._folder / "worker.log")
        self._urls[place], self._missed_s[place] = f"http://127.0.0.1:{port}", 0.0

    # Cells

    def run(self, cells: Sequence[Cell], *, at_once: int = 8, within_s: float = 60.0) -> Iterator[tuple[Cell, str]]:
        """
        A cell that others' kills led elsewhere, so that it never came to its own, or whose command they struck, so that
        nobody knew whether it was done, proves nothing about its own kill: it is tried again at the end, alone.

        Args:
            within_s: for each cell, from when it is begun.
        """
        astray = []
        for cell, fault in self._round(cells, at_once=at_once, within_s=within_s):
            if at_once > 1 and cell.point and fault.startswith((NOT_KILLED, NOBODY_KNEW)):
                astray.append(cell)
            else:
                yield cell, fault
        self.astray += len(astray)
        if astray:
            yield from self._round(astray, at_once=1, within_s=within_s)

    def _round(self, cells: Sequence[Cell], *, at_once: int, within_s: float) -> Iterator[tuple[Cell, str]]:
        waiting = [self._case(cell) for cell in cells]
        kills = {case.service: [case.cell.point, case.cell.when] for case in waiting if case.cell.point}
        (self._folder / "kills.json").write_text(json.dumps(kills))
        self._stop()
        under_way: list[Case] = []
        with httpx.Client(trust_env=False, timeout=5.0) as client:
            while waiting or under_way:
                while waiting and len(under_way) < at_once:
                    case = waiting.pop(0)
                    prepare(self.world, case.scenario, case.service)
                    case.since_s, case.starts = time.monotonic(), time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                    self._cases[case.service] = case
                    under_way.append(case)
                self._keep_alive()
                for case in list(under_way):
                    with contextlib.suppress(httpx.HTTPError, ValueError):  # whom it asked has just died
                        self._drive(client, case)
                    late = time.monotonic() - case.since_s > within_s
                    if case.ended is not None or late:
                        under_way.remove(case)
                        yield case.cell, f"not over within {within_s:g} s" if late else self._judged(case)
                time.sleep(POLL_S)

    def _stop(self) -> None:
        """What runs knows of no new kills."""
        for place, pid in enumerate(self._pids):
            if pid is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._pids[place] = None

    def points(self, scenario: str) -> list[str]:
        """Those that the last case of a scenario has passed, in order, each once."""
        service = [name for name, case in self._cases.items() if case.cell.scenario == scenario][-1]
        return list(dict.fromkeys((self._folder / f"{service}.points").read_text().splitlines()))

    def every_cell(self, *, within_s: float = 60.0) -> tuple[list[Cell], list[str]]:
        """Before and after each point that a scenario passes when nobody is killed; and what is wrong then already."""
        wrong = []
        for cell, fault in self.run([Cell(name) for name in SCENARIOS], within_s=within_s):
            wrong += [f"{cell}: {fault}"] if fault else []
        cells = [
            Cell(name, point, when) for name in SCENARIOS for point in self.points(name) for when in ("before", "after")
        ]
        return cells, wrong

    def _case(self, cell: Cell) -> Case:
        return Case(cell, f"{cell.scenario}-{next(self._numbers)}", SCENARIOS[cell.scenario])

    def _url(self, case: Case) -> str:
        """Of a worker that lives, a different one for each case."""
        alive = [url for url, pid in zip(self._urls, self._pids, strict=True) if pid is not None and lives(pid)]
        return alive[int(case.service.rpartition("-")[2]) % len(alive)] if alive else "http://127.0.0.1:1"

    def _drive(self, client: httpx.Client, case: Case) -> None:
        """What its neighbours do about it next: alert, answer, tell that it is over."""
        if not case.posted:
            self._post(client, case, "firing")
            case.posted = True
        url = f"{self._url(case)}/api/v1/remediations"
        records = client.get(url, params={"service": case.service}).json()["remediations"][::-1]
        ends = [one["state"] for one in records if one["finished_at_unix_ms"]]
        if len(ends) == len(case.scenario.alerts):
            case.ended = records
        for one in records:
            if one["state"] == "awaiting_approval":
                body = {"by": "ada", "reason": "seen it before"}
                client.post(f"{url}/{one['id']}/{case.scenario.answer}", json=body, headers=self._authorized)
            if one["state"] == "resolved_pending" and not case.over:
                self._post(client, case, "resolved")
                case.over = True

    @property
    def _authorized(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {TOKEN}"}

    def _post(self, client: httpx.Client, case: Case, status: str) -> None:
        alerts = [
            {
                "status": status,
                "labels": {"alertname": name, "service": case.service, "severity": "critical"},
                "annotations": {"summary": "slow"},
                "startsAt": case.starts,
                "fingerprint": case.service if not place else f"{case.service}_{place}",
            }
            for place, name in enumerate(case.scenario.alerts)
        ]
        body = {"version": "4", "status": status, "alerts": alerts}
        url = f"{self._url(case)}/api/v1/webhook/alertmanager"
        client.post(url, json=body, headers=self._authorized).raise_for_status()

    def _judged(self, case: Case) -> str:
        """What is wrong, as far as it was found."""
        assert case.ended is not None
        scenario, cell = case.scenario, case.cell
        effects = scenario.effects(self.world, case.service)
        told = json.loads(json.dumps(effects).replace(case.ended[0]["id"], "RUN").replace(case.service, "SERVICE"))
        expected = json.loads(json.dumps(scenario.expected))
        actions = [(one["action"], one["status"]) for record in case.ended for one in record["actions"]]
        ends = {one["state"] for one in case.ended}
        if cell.point and not (self._folder / f"{case.service}.killed").exists():
            return f"{NOT_KILLED}; it passed {(self._folder / f'{case.service}.points').read_text()!r}"
        if scenario.unknowable and actions == [("run", "unknown")]:
            around = cell.point in ("effect command", "perform 0")
            if not around or ends != {"escalated"} or told > expected:
                return f"{NOBODY_KNEW}: ended {ends} with {told} effects"
            return ""
        if told != expected:
            return f"effects {told}, expected {expected}; actions {actions}"
        if actions != scenario.actions:
            return f"actions {actions}, expected {scenario.actions}"
        if ends != {scenario.ends}:
            return f"ended {sorted(ends)}, expected {scenario.ends}: {[one['outcome'] for one in case.ended]}"
        return ""
