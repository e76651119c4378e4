"""All silences: created, updated, expired, asked for, and dropped when they have been over for long enough."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import replace

from collector.alerts.matchers import Predicate, matches_all
from collector.alerts.silence import Silence, SilenceState, can_update, check_silence
from collector.errors import BadRequestError, LimitExceededError
from collector.model.series import Labels

RETENTION_MS = 120 * 3600 * 1000  # Alertmanager, --data.retention
# Alertmanager sets none by default. One silence is some 2 KB here; a team has dozens.
MAX_SILENCES = 10_000


class SilenceNotFoundError(BadRequestError):
    """There is no silence of that id."""

    def __init__(self, silence_id: str) -> None:
        super().__init__(f"silence {silence_id} not found")


class Silences:
    """In memory; its owner writes down what `put`, `expire` and `collect` return. Not for several threads."""

    def __init__(self, silences: Iterable[Silence] = (), *, limit: int = MAX_SILENCES) -> None:
        self._limit = limit
        self._silences = {silence.id: silence for silence in silences}
        self._tests: dict[str, Predicate] = {one.id: matches_all(one.matchers) for one in self._silences.values()}
        self._matching: dict[Labels, tuple[str, ...]] = {}  # ids whose matchers fit, whatever their state

    def __len__(self) -> int:
        return len(self._silences)

    def get(self, silence_id: str) -> Silence | None:
        return self._silences.get(silence_id)

    def all(self) -> list[Silence]:
        return list(self._silences.values())

    def put(self, silence: Silence, now_ms: int) -> list[Silence]:
        """
        Create a silence, or update the one whose id it names.

        Returns:
            What to keep, last the silence in force; its id may be a new one. Nothing has changed until `keep`.

        Raises:
            BadRequestError: it is not valid.
            SilenceNotFoundError: its id is unknown.
            LimitExceededError: there are too many.
        """
        check_silence(silence, now_ms)
        old = self._silences.get(silence.id)
        if silence.id and old is None:
            raise SilenceNotFoundError(silence.id)
        if old is not None and can_update(old, silence, now_ms):
            return [replace(silence, updated_at_ms=now_ms)]
        if len(self._silences) >= self._limit:
            raise LimitExceededError(f"silence limit {self._limit} reached: expire some, or wait for their retention")
        starts_at_ms = max(silence.starts_at_ms, now_ms)
        new = replace(silence, id=str(uuid.uuid4()), starts_at_ms=starts_at_ms, updated_at_ms=now_ms)
        ends_old = old is not None and old.state(now_ms) is not SilenceState.EXPIRED
        return [old.expired(now_ms), new] if old is not None and ends_old else [new]

    def expire(self, silence_id: str, now_ms: int) -> list[Silence]:
        """
        What to keep so that the silence ends now.

        Raises:
            SilenceNotFoundError
            BadRequestError: it has ended already.
        """
        silence = self._silences.get(silence_id)
        if silence is None:
            raise SilenceNotFoundError(silence_id)
        if silence.state(now_ms) is SilenceState.EXPIRED:
            raise BadRequestError(f"silence {silence_id} already expired")
        return [silence.expired(now_ms)]

    def keep(self, silences: Iterable[Silence]) -> None:
        for silence in silences:
            self._silences[silence.id] = silence
            self._tests[silence.id] = matches_all(silence.matchers)
        self._matching.clear()

    def collect(self, now_ms: int) -> list[str]:
        """Drop those that ended longer than the retention ago; their ids."""
        gone = [one.id for one in self._silences.values() if one.ends_at_ms + RETENTION_MS <= now_ms]
        for silence_id in gone:
            del self._silences[silence_id], self._tests[silence_id]
        self._matching.clear()
        return gone

    def silenced_by(self, labels: Labels, now_ms: int) -> list[str]:
        """Ids of the active silences that fit, oldest first; empty: not silenced."""
        if not self._silences:
            return []
        fitting = self._matching.get(labels)
        if fitting is None:
            pairs = dict(labels)
            fitting = tuple(silence_id for silence_id, fits in self._tests.items() if fits(pairs))
            self._matching[labels] = fitting
        return [one for one in fitting if self._silences[one].state(now_ms) is SilenceState.ACTIVE]

    def forget(self, labels: Labels) -> None:
        """An alert is gone; what was worked out for it is not needed any more."""
        self._matching.pop(labels, None)
