"""
Workers that die by `kill -9` exactly where they are told to: right before or right after a durable step, or an effect.

As a program it imports the worker once, and then forks one for each line that it reads, `{"environment": {…}, "log":
PATH}`, which it answers with the process's id. What a fork runs is the worker as it is, `python -m remediation`; only
the calls that `make_mortal` names look, before and after, whether it is their turn to die.

`MORTAL_FOLDER` of the environment holds `kills.json`, {service: [point, "before" or "after"]}. Each of these happens
once: whoever dies there leaves a file `SERVICE.killed` first. Points that were passed are noted in `SERVICE.points`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Nursery:
    """Forks workers; `close` kills what is left of them."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "ready\n"

    def fork(self, environment: dict[str, str], log: Path) -> int:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"environment": environment, "log": str(log)}) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def lives(pid: int) -> bool:
    """Who has died and has not been missed yet does not live."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class Fate:
    """What kills this process, and where."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kills: dict[str, list[str]] = json.loads((folder / "kills.json").read_text())
        self._lock = threading.Lock()

    def pass_(self, service: str, point: str, when: str) -> None:
        if when == "before":
            with self._lock, (self._folder / f"{service}.points").open("a") as file:
                file.write(f"{point}\n")
        if self._kills.get(service) == [point, when]:
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self._folder / f"{service}.killed", os.O_CREAT | os.O_EXCL))
                os.kill(os.getpid(), signal.SIGKILL)

    def around(self, service: str, point: str, call: Callable[[], Any]) -> Any:
        self.pass_(service, point, "before")
        result = call()
        self.pass_(service, point, "after")
        return result


def service_of(run_id: str) -> str:
    """The campaign's alerts have the service as their fingerprint, `SERVICE_` in front of more where it has several."""
    return run_id.rpartition("-")[0].partition("_")[0]


def make_mortal(fate: Fate) -> None:
    from dbos import DBOS

    from remediation.levers.flags import FlagStore
    from remediation.scalers.local import LocalScaler
    from remediation.workflow import deeds, remediator
    from remediation.workflow.patience import patiently

    def durable(step: Callable[..., Any], run_id: str, *arguments: Any, **named: Any) -> Any:
        keyed = step.__name__ not in ("escalate", "finish")
        point = ("second run: " if "_" in run_id else "") + step.__name__
        point += f" {arguments[0]}" if keyed else ""

        def passed() -> Any:
            return fate.around(service_of(run_id), point, lambda: patiently(step, run_id, *arguments, **named))

        return DBOS.run_step({"name": step.__name__}, passed)

    remediator.durable = durable

    def wrap(owner: Any, name: str, told: Callable[..., tuple[str, str]]) -> None:
        original = getattr(owner, name)

        def passed(*arguments: Any, **named: Any) -> Any:
            return fate.around(*told(*arguments, **named), lambda: original(*arguments, **named))

        setattr(owner, name, passed)

    wrap(LocalScaler, "set_desired", lambda self, service, desired: (service, f"effect {desired} replicas"))
    wrap(LocalScaler, "restart", lambda self, service, *_: (service, "effect restart"))
    wrap(
        LocalScaler,
        "set_control",
        lambda self, service, name, body: (service, f"effect {name}, not {json.dumps(body['expected'])}"),
    )
    wrap(
        FlagStore,
        "write",
        lambda self, name, move, now: (name.partition(".")[0], f"effect flag, not {move.before['value']}"),
    )
    wrap(deeds, "run_command", lambda line, *, key, timeout_s: (service_of(key), "effect command"))
    wrap(deeds, "make_call", lambda call, body, *, key: (service_of(key), "effect call"))
    wrap(deeds, "notify", lambda name, file, *, title, body: (service_of(body.split()[-1]), f"effect {name} told"))


def _live(told: dict[str, Any]) -> None:
    """The fork's whole life."""
    log = os.open(told["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(told["environment"])
    from remediation import __main__ as worker

    make_mortal(Fate(Path(os.environ["MORTAL_FOLDER"])))
    worker._leave(worker.main())


def _nurse() -> None:
    import apprise  # noqa: F401
    import nats  # noqa: F401

    import remediation.__main__  # noqa: F401

    assert threading.active_count() == 1, "a fork has only the thread that forks"
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    children = []
    print("ready", flush=True)
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            try:
                _live(json.loads(line))
            finally:
                os._exit(1)
        children.append(pid)
        print(pid, flush=True)
    for pid in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    _nurse()
