"""The dashboards there are: those that ship with Steersman, and those that users saved, which win."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from dashboards.catalogue import JSON_DIR
from dashboards.errors import DashboardError
from dashboards.viewer.grafana.dashboard import Dashboard, parse_dashboard

MAX_BYTES = 4 << 20  # the largest community dashboards are half a megabyte
_UID = re.compile(r"[a-zA-Z0-9_-]{1,40}")  # Grafana's own bound


class Library:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def all(self) -> list[Dashboard]:
        """By title. A file that is no dashboard is left out."""
        found: dict[str, Dashboard] = {}
        for path in [*sorted(JSON_DIR.glob("*.json")), *sorted(self._folder.glob("*.json"))]:
            try:
                dashboard = parse_dashboard(json.loads(path.read_text(encoding="utf-8")))
            except (OSError, ValueError, DashboardError):
                continue
            found[dashboard.uid or path.stem] = dashboard
        return sorted(found.values(), key=lambda each: each.title.lower())

    def get(self, uid: str) -> Dashboard | None:
        return next((each for each in self.all() if each.uid == uid), None)

    def remove(self, uid: str) -> bool:
        """Forget what was saved under a uid; False if nothing was."""
        if not _UID.fullmatch(uid):
            return False
        try:
            (self._folder / f"{uid}.json").unlink()
        except FileNotFoundError:
            return False
        return True

    def save(self, document: dict[str, Any]) -> Dashboard:
        """
        Keep a dashboard under its uid; one without gets a uid from its title. Replaces the one that has it.

        Raises:
            DashboardError: not a dashboard, too large, or a uid that Grafana would not take.
        """
        inner = document.get("dashboard", document)
        if not isinstance(inner, dict):
            raise DashboardError("not a Grafana dashboard: it needs a title and panels")
        kept = dict(inner)
        dashboard = parse_dashboard(kept)
        kept["uid"] = (
            dashboard.uid or re.sub(r"[^a-z0-9]+", "-", dashboard.title.lower()).strip("-")[:40] or "dashboard"
        )
        if not _UID.fullmatch(str(kept["uid"])):
            raise DashboardError(f"uid must be 1 to 40 letters, digits, - or _, got {str(kept['uid'])[:60]!r}")
        text = json.dumps(kept, ensure_ascii=False, indent=2, sort_keys=True)
        if len(text.encode()) > MAX_BYTES:
            raise DashboardError(f"{len(text.encode())} bytes, the limit is {MAX_BYTES}")
        path = self._folder / f"{kept['uid']}.json"
        unfinished = path.with_suffix(".tmp")
        unfinished.write_text(text, encoding="utf-8")
        unfinished.replace(path)
        return parse_dashboard(kept)
