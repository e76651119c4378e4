"""What could keep a stack from starting, found before anything is started."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import psutil

from steersman.errors import PortsTakenError, SteersmanError
from steersman.stack.parts import binary
from steersman.stack.services import load_services
from steersman.stack.settings import HOST, Settings
from steersman.stack.state import read_state

OLDEST_PYTHON = (3, 11)
# Measured: a stack with six replicas uses well below 1.5 GB of memory; its data grows by tens of megabytes an hour.
LEAST_MEMORY_BYTES = 1_500_000_000
LEAST_DISK_BYTES = 500_000_000
LISTED_HOLDERS = 4  # in one error line


class Holder(NamedTuple):
    use: str  # what we want the port for
    port: int
    by: str  # "pid 123 (nginx)"

    def __str__(self) -> str:
        return f"port {self.port} ({self.use}) is held by {self.by}"


class Verdict(NamedTuple):
    subject: str
    ok: bool
    blocks: bool  # whether `up` would fail, if not ok
    detail: str


def taken_ports(wanted: dict[str, int]) -> list[Holder]:
    taken = {use: port for use, port in wanted.items() if not _can_listen(port)}
    if not taken:
        return []
    holders = _listeners(set(taken.values()))
    unknown = "a process that is not ours to see"
    return [Holder(use, port, holders.get(port, unknown)) for use, port in taken.items()]


def require_free_ports(wanted: dict[str, int]) -> None:
    """
    Raises:
        PortsTakenError: names each port, what it was wanted for and who holds it.
    """
    holders = taken_ports(wanted)
    if holders:
        listed = "; ".join(str(holder) for holder in holders[:LISTED_HOLDERS])
        more = f"; and {len(holders) - LISTED_HOLDERS} more" if len(holders) > LISTED_HOLDERS else ""
        raise PortsTakenError(f"{listed}{more}; stop what is in the way or move the stack with --port-offset N")


def _can_listen(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections in TIME_WAIT are in nobody's way
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def _listeners(ports: set[int]) -> dict[int, str]:
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:  # macOS shows them to root only
        return {}
    return {
        connection.laddr.port: _describe(connection.pid)
        for connection in connections
        if connection.status == psutil.CONN_LISTEN
        and connection.laddr
        and connection.laddr.port in ports
        and connection.pid
    }


def _describe(pid: int) -> str:
    try:
        return f"pid {pid} ({psutil.Process(pid).name()})"
    except psutil.Error:
        return f"pid {pid}"


def examine(settings: Settings) -> list[Verdict]:
    """Everything that `up` needs, in the order a person would look."""
    running = read_state(settings.data_dir)
    verdicts = [_python(), *_binaries(), _services(settings)]
    if running is None:
        verdicts += _ports(settings)
    else:
        verdicts.append(Verdict("ports", True, False, f"in use by this stack itself (pid {running.pid})"))
    return [*verdicts, _memory(), _disk(settings), _writable(settings.data_dir.root), *_secrets(settings)]


def _python() -> Verdict:
    found = ".".join(map(str, sys.version_info[:3]))
    wanted = ".".join(map(str, OLDEST_PYTHON))
    return Verdict("Python", sys.version_info >= OLDEST_PYTHON, True, f"{found}, needs {wanted} or newer")


def _binaries() -> Iterable[Verdict]:
    for name in ("nats-server", "traefik"):
        try:
            yield Verdict(name, True, True, binary(name))
        except SteersmanError as error:
            yield Verdict(name, False, True, str(error))


def _services(settings: Settings) -> Verdict:
    try:
        services = load_services(settings.services_file)
    except SteersmanError as error:
        return Verdict("services file", False, True, str(error))
    return Verdict("services file", True, True, f"{settings.services_file}: {', '.join(s.name for s in services)}")


def _ports(settings: Settings) -> list[Verdict]:
    wanted = settings.listening_ports
    holders = taken_ports(wanted)
    if not holders:
        listed = " ".join(str(port) for port in sorted(wanted.values()))
        return [Verdict("ports", True, True, f"all free: {listed}")]
    return [Verdict("ports", False, True, str(holder)) for holder in holders]


def _memory() -> Verdict:
    free = psutil.virtual_memory().available
    return Verdict("memory", free >= LEAST_MEMORY_BYTES, False, _amount(free, LEAST_MEMORY_BYTES))


def _disk(settings: Settings) -> Verdict:
    free = shutil.disk_usage(_existing(settings.data_dir.root)).free
    return Verdict("disk", free >= LEAST_DISK_BYTES, True, _amount(free, LEAST_DISK_BYTES))


def _amount(free: int, least: int) -> str:
    return f"{free / 1e9:.1f} GB free, needs {least / 1e9:.1f} GB"


def _writable(root: Path) -> Verdict:
    where = _existing(root)
    ok = where.is_dir() and os.access(where, os.W_OK | os.X_OK)
    return Verdict("data directory", ok, True, f"{root}{'' if ok else f': cannot write to {where}'}")


def _existing(path: Path) -> Path:
    return next(candidate for candidate in (path, *path.parents) if candidate.exists())


def _secrets(settings: Settings) -> Iterable[Verdict]:
    folder = settings.data_dir.secrets
    files = sorted(folder.glob("*.token")) if folder.is_dir() else []
    if not files:
        yield Verdict("secrets", True, False, "none yet; `up` makes them")
        return
    open_to_others = [path for path in files if stat.S_IMODE(path.stat().st_mode) & 0o077]
    for path in open_to_others:
        mode = stat.S_IMODE(path.stat().st_mode)
        yield Verdict("secrets", False, False, f"{path} has mode {mode:04o}, others may read it: chmod 600 {path}")
    empty = [path for path in files if os.access(path, os.R_OK) and not path.read_text().strip()]
    for path in empty:
        yield Verdict("secrets", False, True, f"{path} is empty; delete it and `up` makes a new one")
    if not open_to_others and not empty:
        yield Verdict("secrets", True, False, f"{len(files)} token files, readable by their owner only")
