"""
Which version of a service was deployed when, how long it served, and which it is to go back to. No I/O but the file.

The orchestrator tells what happened: deployed, serving since, left. Whether a version served *well* is for telemetry to
say: who rolls back asks Prometheus about the time in which it served.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from steersman.orchestrator.files import replace_file

MAX_RELEASES = 50  # of one service, the newest: months of deploys, and a file of some kilobytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """One deploy. Moments are Unix milliseconds."""

    version: str
    at_unix_ms: int
    by: str
    reason: str
    until_unix_ms: int | None = None  # a trial: then the version before it comes back by itself
    serving_unix_ms: int | None = None  # since when all desired replicas were of it and served
    left_unix_ms: int | None = None  # when another was deployed


History = tuple[Release, ...]  # oldest first, never empty; the last is in force


def deployed(
    history: History, version: str, now_unix_ms: int, *, by: str, reason: str, until_unix_ms: int | None = None
) -> History:
    """Deploying what is in force already only changes how long it stays."""
    if history and history[-1].version == version:
        return (*history[:-1], replace(history[-1], until_unix_ms=until_unix_ms))
    left = tuple(replace(one, left_unix_ms=now_unix_ms) for one in history[-1:])
    new = Release(version=version, at_unix_ms=now_unix_ms, by=by, reason=reason, until_unix_ms=until_unix_ms)
    return (*history[:-1], *left, new)[-MAX_RELEASES:]


def serves(history: History, now_unix_ms: int) -> History:
    """All desired replicas are of the version in force, and serve."""
    if history[-1].serving_unix_ms is not None:
        return history
    return (*history[:-1], replace(history[-1], serving_unix_ms=now_unix_ms))


def ended_trial(history: History, now_unix_ms: int) -> str | None:
    """The version to go back to, if the one in force was for a time that is over."""
    until = history[-1].until_unix_ms
    if until is None or now_unix_ms < until or len(history) < 2:
        return None
    return history[-2].version


class ReleaseFile:
    """Survives the stack, so that it comes up with what was deployed last, and knows what went before."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> dict[str, tuple[str, History]]:
        """
        By service: the version that its services file declared when this was written, and the history. Empty if there
        is no file.

        Raises:
            ValueError: it is damaged; names it.
        """
        try:
            text = self._path.read_text()
        except FileNotFoundError:
            return {}
        try:
            return {
                name: (kept["declared"], tuple(Release(**one) for one in kept["history"]))
                for name, kept in json.loads(text).items()
            }
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"releases file {self._path}: {error!r}") from error

    def write(self, declared: Mapping[str, str], histories: Mapping[str, History]) -> None:
        kept = {
            name: {"declared": declared[name], "history": [asdict(one) for one in history]}
            for name, history in histories.items()
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(self._path, json.dumps(kept, indent=1) + "\n")
