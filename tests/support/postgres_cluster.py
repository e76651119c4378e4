"""A PostgreSQL of the tests' own: Debian's programs, a free port, a folder of its own, never as root."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path

import psycopg
import pytest

ROOT = Path("/usr/lib/postgresql")


def programs() -> Path | None:
    """The folder of the newest version, or None."""
    found = sorted(ROOT.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


def require_postgres() -> Path:
    found = programs()
    if found is None:
        reason = f"PostgreSQL is not installed: no {ROOT}/*/bin/initdb"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return found


class PostgresCluster:
    """Started by the constructor; `close` stops it and removes its folder."""

    def __init__(self, bin_dir: Path) -> None:
        self._bin = bin_dir
        self._user = "nobody" if os.geteuid() == 0 else None  # initdb refuses root
        self._home = Path(tempfile.mkdtemp(prefix="steersman-postgres-"))
        if self._user is not None:
            entry = pwd.getpwnam(self._user)
            os.chown(self._home, entry.pw_uid, entry.pw_gid)
        data = str(self._home / "data")
        self._run("initdb", "-D", data, "-U", "steersman", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        log = str(self._home / "log")
        self._run("pg_ctl", "-D", data, "-l", log, "-w", "-t", "60", "-o", options, "start")

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [str(self._bin / program), *arguments],
            cwd="/",
            user=self._user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # the server keeps it open, so a pipe would never end
            stderr=subprocess.DEVNULL,
            timeout=90,
            check=False,
        )
        assert done.returncode == 0, f"{program} ended with {done.returncode}"

    def database(self) -> str:
        """URL of a new, empty database."""
        name = f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"'.encode())
        return self._url(name)

    def _url(self, name: str) -> str:
        return f"postgresql://steersman@127.0.0.1:{self.port}/{name}"

    def close(self) -> None:
        try:
            self._run("pg_ctl", "-D", str(self._home / "data"), "-w", "-m", "immediate", "stop")
        finally:
            shutil.rmtree(self._home, ignore_errors=True)
