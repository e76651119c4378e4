"""The alerting systems that the loop is timed on, and how the stack is made to be each of them."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from stacks.checkout import copy_into
from steersman.runtime.paths import DataDir
from steersman.stack.settings import EMBEDDED, PROMETHEUS

SCRAPES_IN_WINDOW = 4  # Prometheus's own advice for rate(): room for a scrape that fails
_SHIPPED_WINDOW = re.compile(r"\[(\d+)s\]")
_OWN_INTERVAL = re.compile(r"^ +interval: \d+s\n", re.MULTILINE)
_VERIFY_WITHIN = re.compile(r"(alert_over: true .*\n +within: )(\d+)s")
_SCRAPE_KEYS = ("scrape_interval", "scrape_timeout")
_ROUTE_KEYS = ("group_wait", "group_interval", "repeat_interval")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    name: str
    words: str
    backend: str
    # Prometheus's `global`, in place of the stack's second; what it leaves out is Prometheus's own default. With it,
    # Alertmanager's route has Alertmanager's defaults too. None: as the stack writes them.
    settings: Mapping[str, str] | None = None
    interval_s: int = 1  # of scrapes and of evaluations
    runs: int = 10
    within_s: float = 180.0  # from the fault; what is not verified by then never is
    fresh: bool = False  # a stack for each run: what Alertmanager holds back would take longer to wait for

    @property
    def window_s(self) -> int:
        return SCRAPES_IN_WINDOW * self.interval_s

    def code(self, folder: Path) -> Path:
        """A copy of Steersman with rules and policies that this arm's samples can answer."""
        code = copy_into(folder)
        if self.settings is not None:
            for file in (*(code / "rules").glob("*.yml"), code / "policies" / "shop.yaml"):
                file.write_text(self.stretched(file.read_text()))
        return code

    def stretched(self, text: str) -> str:
        """
        Rules and policies with windows of four scrapes where they are shorter, since a rate over less has no value;
        rule groups at the global interval; and as much more time for verification as its window and two rounds take.
        """
        text = _SHIPPED_WINDOW.sub(lambda found: f"[{max(int(found[1]), self.window_s)}s]", text)
        text = _OWN_INTERVAL.sub("", text)
        more = self.window_s + 2 * self.interval_s
        return _VERIFY_WITHIN.sub(lambda found: f"{found[1]}{int(found[2]) + more}s", text)

    def configure(self, data_dir: DataDir, pids: Mapping[str, int]) -> None:
        """Give the running Prometheus and Alertmanager this arm's settings, as an operator would: file, then SIGHUP."""
        if self.settings is None:
            return
        for name, change in (("prometheus", self._prometheus), ("alertmanager", self._alertmanager)):
            file = data_dir.run / f"{name}.yml"
            document = yaml.safe_load(file.read_text())
            change(document)
            file.write_text(yaml.safe_dump(document, sort_keys=False))
            os.kill(pids[name], signal.SIGHUP)

    def _prometheus(self, document: dict[str, Any]) -> None:
        document["global"] = dict(self.settings or {})
        for scrape in document["scrape_configs"]:
            for key in _SCRAPE_KEYS:
                scrape.pop(key, None)

    def _alertmanager(self, document: dict[str, Any]) -> None:
        for key in _ROUTE_KEYS:
            document["route"].pop(key, None)


ARMS = (
    Arm(name="embedded", words="the embedded stack", backend=EMBEDDED),
    Arm(
        name="tightest",
        words="Prometheus and Alertmanager at their tightest: 1 s, 1 s, 0 s, 1 s",
        backend=PROMETHEUS,
    ),
    Arm(
        name="packaged",
        words="Prometheus and Alertmanager as Debian installs them: 15 s, 15 s, 30 s, 5 min",
        backend=PROMETHEUS,
        settings={"scrape_interval": "15s", "evaluation_interval": "15s"},
        interval_s=15,
        runs=3,
        within_s=600.0,
        fresh=True,
    ),
    Arm(
        name="default",
        words="Prometheus and Alertmanager, nothing set: 1 min, 1 min, 30 s, 5 min",
        backend=PROMETHEUS,
        settings={},
        interval_s=60,
        runs=3,
        within_s=1500.0,
        fresh=True,
    ),
)
