"""`scale`, `restart`, `deploy` and `logs`: what an operator does to a running stack."""

from __future__ import annotations

import getpass
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from steersman.cli.incident_report import moment
from steersman.cli.peers import ask
from steersman.errors import StackError
from steersman.orchestrator.logs import previous, tail
from steersman.runtime.paths import DataDir
from steersman.runtime.tokens import read_token
from steersman.stack.settings import Urls
from steersman.stack.state import require_state

FOLLOW_POLL_S = 0.2


def run_scale(data_dir: Path, service: str, replicas: int) -> None:
    answer = _command(data_dir, "PUT", f"{quote(service, safe='')}/desired", {"desired": replicas})
    print(f"{service}: desired {answer['desired']}, ready {answer['ready']}")


def run_restart(data_dir: Path, service: str, instance: str | None) -> None:
    _command(data_dir, "POST", f"{quote(service, safe='')}/restart", {"instance": instance} if instance else {})
    print(f"{service}: restarting {instance or 'all replicas in turn'}")


def run_deploy(data_dir: Path, service: str, version: str | None, reason: str) -> None:
    """Without a version: tell what was deployed when."""
    path = f"{quote(service, safe='')}/version"
    if version is None:
        answer = _command(data_dir, "GET", path, None)
    else:
        answer = _command(data_dir, "PUT", path, {"version": version, "by": getpass.getuser(), "reason": reason})
    known = ", ".join(answer["known"]) or "none"
    print(f"{service}: {answer['version'] or 'no version of its own'}; it has: {known}")
    for one in answer["history"]:
        print(f"  {moment(one['at_unix_ms'])}  {one['version'] or '-'}  by {one['by']}: {one['reason']}")


def _command(data_dir: Path, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
    where = DataDir.at(data_dir)
    state = require_state(where)
    token = read_token(where.token_file("orchestrator"))
    url = f"{Urls.of(state.ports).orchestrator}/api/v1/services/{path}"
    answer: dict[str, Any] = ask(method, url, token=token, json=body)
    return answer


def run_kill_switch(data_dir: Path, turn: str | None, reason: str | None) -> None:
    """
    Args:
        turn: `on`, `off`, or None to look only.

    Raises:
        StackError: turned without a reason.
    """
    where = DataDir.at(data_dir)
    url = f"{Urls.of(require_state(where).ports).remediation}/api/v1/kill-switch"
    if turn is None:
        answer = ask("GET", url)
    elif not reason:
        raise StackError(f"say why: steersman kill-switch {turn} --reason TEXT")
    else:
        body = {"on": turn == "on", "reason": reason, "by": getpass.getuser()}
        answer = ask("PUT", url, token=read_token(where.token_file("remediation")), json=body)
    if answer["on"]:
        print(
            f"on, by {answer['by']} since {moment(answer['at_unix_ms'])}: {answer['reason']}; the worker does nothing"
        )
    else:
        print("off; the worker acts as its policies say")


def run_remediate(
    data_dir: Path, service: str, *, policy: str, reason: str, labels: dict[str, str], url: str | None
) -> None:
    """Ask for what a policy does, within all of its guards."""
    where = DataDir.at(data_dir)
    worker = url or Urls.of(require_state(where).ports).remediation
    body = {"service": service, "policy": policy, "reason": reason, "by": getpass.getuser(), "labels": labels}
    answer = ask("POST", f"{worker}/api/v1/remediations", token=read_token(where.token_file("remediation")), json=body)
    joined = ", which was at work on it already" if answer["result"] == "joined" else ""
    print(f"{answer['id']}{joined}; steersman remediation show {answer['id']}")


def run_logs(data_dir: Path, name: str, lines: int, *, follow: bool) -> None:
    """
    Raises:
        StackError: no log of that name.
    """
    folder = DataDir.at(data_dir).logs
    paths = find_logs(folder, name)
    if not paths:
        there = ", ".join(sorted({path.name.removesuffix(".log") for path in folder.glob("*.log")}))
        raise StackError(f"no log of {name!r} in {folder}; there are: {there or 'none'}")
    several = paths != [folder / f"{name}.log"]  # a service's, of which more may come
    read = {path: path.stat().st_size for path in paths}
    for path in paths:
        newest = tail(path, lines)
        _print(path, [*tail(previous(path), lines - len(newest)), *newest], several=several)
    while follow:
        time.sleep(FOLLOW_POLL_S)
        for path in find_logs(folder, name):
            read[path], new = _since(path, read.get(path, 0))
            _print(path, new, several=several)


def find_logs(folder: Path, name: str) -> list[Path]:
    """Of one process, or of all replicas of a service, by number."""
    logs = {path.name.removesuffix(".log"): path for path in folder.glob("*.log")}
    if name in logs:  # compared, never joined to a path: `../x` finds nothing
        return [logs[name]]
    replicas = [path for stem, path in logs.items() if stem.rpartition("-")[0] == name]
    return sorted(replicas, key=lambda path: (len(path.name), path.name))


def _since(path: Path, offset: int) -> tuple[int, list[str]]:
    """Whole lines after `offset`; from the beginning if the file was cut meanwhile."""
    try:
        with path.open("rb") as file:
            file.seek(offset if offset <= path.stat().st_size else 0)
            whole, newline, unfinished = file.read().rpartition(b"\n")
            return file.tell() - len(unfinished), (whole + newline).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return 0, []


def _print(path: Path, lines: list[str], *, several: bool) -> None:
    prefix = f"{path.name.removesuffix('.log')} | " if several else ""
    for line in lines:
        print(f"{prefix}{line}", flush=True)
