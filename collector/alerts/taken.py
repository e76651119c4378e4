"""An alert as the dispatcher holds it, and how another report of the same alert joins it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from collector.model.alert import Alert


@dataclass(frozen=True, slots=True)
class Taken:
    alert: Alert
    updated_at_ms: int  # when it was last reported
    is_timeout: bool = False  # nobody said when it ends; its end is the resolve timeout


def joined(old: Taken, new: Taken, now_ms: int) -> Taken:
    """
    `new` with what it leaves of `old`: the earlier startsAt, if the two overlap in time, and the later end.

    An alert that begins after the old one ended is another alert. Source: alertmanager/types (Alert.Merge),
    provider/mem (Alerts.Put).
    """
    before, after = old.alert, new.alert
    begins_inside = before.starts_at_ms < after.starts_at_ms < before.ends_at_ms
    ends_inside = before.starts_at_ms < after.ends_at_ms < before.ends_at_ms
    if not (begins_inside or ends_inside):
        return new
    ends_at_ms, is_timeout = after.ends_at_ms, new.is_timeout
    if after.resolved_at(now_ms):
        if before.resolved_at(now_ms):
            ends_at_ms = max(ends_at_ms, before.ends_at_ms)
    elif before.ends_at_ms > ends_at_ms and not old.is_timeout:
        ends_at_ms, is_timeout = before.ends_at_ms, False
    starts_at_ms = min(before.starts_at_ms, after.starts_at_ms)
    alert = replace(after, starts_at_ms=starts_at_ms, ends_at_ms=ends_at_ms)
    return Taken(alert, new.updated_at_ms, is_timeout)
