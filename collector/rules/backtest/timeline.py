"""What the alerts of a rule went through: episodes, and what they come to. Times are Unix milliseconds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from collector.model.series import Labels
from collector.rules.alert_state import ActiveAlert, AlertState

# An alert that fires again this soon has flapped: for whoever is paged it is one incident that rang twice.
FLAP_WITHIN_MS = 600_000


@dataclass(frozen=True, slots=True)
class Episode:
    """One alert, from the evaluation at which its expression began to hold to the one at which it was over."""

    labels: Labels
    active_at_ms: int
    fired_at_ms: int | None  # None: stayed pending
    ended_at_ms: int | None  # None: still active at the end
    value: float  # when it fired, else when it was last seen

    def firing_ms(self, from_ms: int, to_ms: int) -> int:
        """How long it fired within the window."""
        if self.fired_at_ms is None:
            return 0
        ended = to_ms if self.ended_at_ms is None else min(self.ended_at_ms, to_ms)
        return max(0, ended - max(self.fired_at_ms, from_ms))


@dataclass(frozen=True, slots=True)
class Summary:
    """Counts are of what began within the window; durations are of what lay in it."""

    pending: int  # times that an alert became active
    fired: int
    resolved: int
    never_fired: int  # became active and ended without firing
    flaps: int  # times that an alert fired again within FLAP_WITHIN_MS of having resolved
    firing_ms: int  # of all alerts together
    longest_ms: int


def summary(episodes: Sequence[Episode], from_ms: int, to_ms: int) -> Summary:
    def inside(at_ms: int | None) -> bool:
        return at_ms is not None and from_ms <= at_ms <= to_ms

    lasted = [episode.firing_ms(from_ms, to_ms) for episode in episodes]
    return Summary(
        pending=sum(inside(episode.active_at_ms) for episode in episodes),
        fired=sum(inside(episode.fired_at_ms) for episode in episodes),
        resolved=sum(episode.fired_at_ms is not None and inside(episode.ended_at_ms) for episode in episodes),
        never_fired=sum(episode.fired_at_ms is None and inside(episode.ended_at_ms) for episode in episodes),
        flaps=_flaps(episodes, from_ms),
        firing_ms=sum(lasted),
        longest_ms=max(lasted, default=0),
    )


def _flaps(episodes: Iterable[Episode], from_ms: int) -> int:
    count = 0
    resolved: dict[Labels, int] = {}
    for episode in sorted(episodes, key=lambda one: one.active_at_ms):
        if episode.fired_at_ms is None:
            continue
        before = resolved.get(episode.labels)
        if before is not None and episode.fired_at_ms >= from_ms and episode.fired_at_ms - before <= FLAP_WITHIN_MS:
            count += 1
        if episode.ended_at_ms is not None:
            resolved[episode.labels] = episode.ended_at_ms
    return count


def within(episodes: Iterable[Episode], from_ms: int, to_ms: int) -> list[Episode]:
    """
    Those that touch the window, by start. What happened after it has not happened yet, and what a rule did before is
    needed only to know how the window began.
    """
    kept = []
    for episode in episodes:
        if episode.active_at_ms > to_ms or (episode.ended_at_ms is not None and episode.ended_at_ms <= from_ms):
            continue
        fired = episode.fired_at_ms if episode.fired_at_ms is not None and episode.fired_at_ms <= to_ms else None
        ended = episode.ended_at_ms if episode.ended_at_ms is not None and episode.ended_at_ms <= to_ms else None
        kept.append(replace(episode, fired_at_ms=fired, ended_at_ms=ended))
    return sorted(kept, key=lambda one: (one.active_at_ms, one.labels))


class Recorder:
    """Watches a table of alerts from one evaluation to the next, and writes down what each goes through."""

    def __init__(self) -> None:
        self._open: dict[Labels, Episode] = {}
        self._closed: list[Episode] = []

    @property
    def idle(self) -> bool:
        """Nothing is active: an evaluation that yields nothing changes nothing."""
        return not self._open

    def observe(self, alerts: Iterable[ActiveAlert], at_ms: int) -> None:
        """The alerts as they stand after the evaluation at `at_ms`."""
        seen = set()
        for alert in alerts:
            if alert.state is AlertState.INACTIVE:
                continue
            seen.add(alert.labels)
            known = self._open.get(alert.labels)
            if known is not None and known.active_at_ms != alert.active_at_ms:
                self._close(alert.labels, at_ms)
                known = None
            if known is None or known.fired_at_ms is None:
                fired_at_ms = alert.fired_at_ms if alert.state is AlertState.FIRING else None
                self._open[alert.labels] = Episode(alert.labels, alert.active_at_ms, fired_at_ms, None, alert.value)
        for labels in self._open.keys() - seen:
            self._close(labels, at_ms)

    def _close(self, labels: Labels, at_ms: int) -> None:
        self._closed.append(replace(self._open.pop(labels), ended_at_ms=at_ms))

    def episodes(self) -> list[Episode]:
        return [*self._closed, *self._open.values()]
