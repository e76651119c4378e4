"""
Marks on the dashboards: what was done, where a person looks when something was slow.

Through grafana-client, to Grafana or to the viewer. Never in the way: a queue of bounded length, one thread, and what
cannot be told is dropped and said once in a while.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx

log = logging.getLogger("remediation")

MAX_WAITING = 1000
COMPLAIN_EVERY_S = 60.0
TIMEOUT_S = 5.0
RECENT_TIMEOUT_S = 1.0  # they explain, they decide nothing: not worth waiting for
MAX_RECENT = 50
MAX_TEXT = 200  # of one mark, in a record


@dataclass(frozen=True, slots=True)
class Mark:
    text: str
    tags: tuple[str, ...]
    start_unix_ms: int
    end_unix_ms: int


class Annotator:
    """Without a URL it does nothing. `close` waits for what is queued, for a moment."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token
        self._waiting: queue.Queue[Mark | None] = queue.Queue(MAX_WAITING)
        self._thread: threading.Thread | None = None
        self._complained_at = -COMPLAIN_EVERY_S

    def mark(self, text: str, *tags: str, start_unix_ms: int, end_unix_ms: int | None = None) -> None:
        if not self._url:
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="annotations", daemon=True)
            self._thread.start()
        try:
            self._waiting.put_nowait(Mark(text, tags, start_unix_ms, end_unix_ms or start_unix_ms))
        except queue.Full:
            self._complain(f"{MAX_WAITING} marks wait already")

    def recent(self, start_unix_ms: int, end_unix_ms: int) -> list[str]:
        """
        What others have marked, oldest first: deploys, drills, scalings by hand. Empty where nobody marks or answers.
        """
        if not self._url:
            return []
        params = {"from": str(start_unix_ms), "to": str(end_unix_ms), "limit": str(MAX_RECENT)}
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            url = f"{self._url}/api/annotations"
            answer = httpx.get(url, params=params, headers=headers, timeout=RECENT_TIMEOUT_S, trust_env=False)
            answer.raise_for_status()
            marks = sorted(answer.json(), key=lambda mark: int(mark["time"]))
            return [_told(mark) for mark in marks]
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            self._complain(f"{type(error).__name__}: {error}")
            return []

    def close(self, within_s: float = 2.0) -> None:
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(within_s)

    def _run(self) -> None:
        from grafana_client.api import GrafanaApi  # 12 MB, for who has something to tell

        grafana = GrafanaApi.from_url(self._url, credential=self._token, timeout=TIMEOUT_S)
        while (mark := self._waiting.get()) is not None:
            try:
                grafana.annotations.add_annotation(
                    time_from=mark.start_unix_ms, time_to=mark.end_unix_ms, tags=list(mark.tags), text=mark.text
                )
            except Exception as error:  # whatever it is, a run must not notice
                self._complain(f"{type(error).__name__}: {getattr(error, 'message', None) or error}")
        grafana.client.s.close()

    def _complain(self, what: str) -> None:
        now = time.monotonic()
        if now - self._complained_at >= COMPLAIN_EVERY_S:
            self._complained_at = now
            log.warning("dashboards at %s could not be annotated: %s", self._url, what)


def _told(mark: dict[str, Any]) -> str:
    at = datetime.fromtimestamp(int(mark["time"]) / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    tags = ", ".join(str(tag) for tag in mark.get("tags") or [])
    return f"{at} {str(mark.get('text', ''))[:MAX_TEXT]}" + (f" [{tags}]" if tags else "")
