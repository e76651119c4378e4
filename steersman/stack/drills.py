"""Drills that are started over HTTP: one `steersman drill run` at a time, as a child of the supervisor."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fastapi import APIRouter

from steersman.orchestrator.process import Command, RunningProcess
from steersman.runtime.paths import shipped
from steersman.stack.parts import base_environment
from steersman.stack.settings import Settings

# A drill that is told to stop first undoes what it broke: a few calls to peers that answer at once, or are gone.
ROLLBACK_S = 10.0


class DrillLauncher:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: RunningProcess | None = None
        self._name = ""

    @property
    def running(self) -> str | None:
        return self._name if self._process is not None and self._process.exit_code is None else None

    async def start(self, name: str) -> None:
        """What it prints is in logs/drill.log; its report is written by itself."""
        data_dir = self._settings.data_dir
        argv = [sys.executable, "-m", "steersman", "drill", "--data-dir", str(data_dir.root), "run", name]
        environment = {"STEERSMAN_DRILLS": str(_definitions()), "COLUMNS": "120"}
        command = Command(
            name="drill",
            argv=tuple(argv),
            env=base_environment() | environment,
            cwd=data_dir.run,
            log=data_dir.logs / "drill.log",
        )
        self._process, self._name = await RunningProcess.start(command), name

    def stop(self) -> None:
        """Ask it to end: it does so after its rollback."""
        if self._process is not None:
            self._process.ask_to_stop()

    async def close(self) -> None:
        if self._process is not None and self.running:
            await self._process.stop(deadline_s=ROLLBACK_S)

    def router(self, token: str) -> APIRouter:
        from remediation.drills.api import drills_router  # with what it needs 10 MB, which `down` does not pay

        return drills_router(self, reports=self._settings.data_dir.drills, definitions=_definitions(), token=token)


def _definitions() -> Path:
    named = os.environ.get("STEERSMAN_DRILLS")
    return Path(named).resolve() if named else shipped("drills")
