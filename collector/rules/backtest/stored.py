"""What the rules in force did, read from the series ALERTS and ALERTS_FOR_STATE that they left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from collector.model.series import METRIC_NAME, Labels, is_absent
from collector.model.text import quote
from collector.rules.backtest.timeline import Episode
from collector.rules.evaluated_rule import ALERT_STATE, ALERTS, ALERTS_FOR_STATE
from collector.rules.remote import Grid, Remote

CHUNK_MS = 6 * 3600 * 1000  # asked for at once: at an evaluation a second 21,600 samples of a series
PHASE_MS = 60_000  # enough to see when a group is evaluated, and a small answer for a recording of many series
# How far beyond the window is looked, in intervals: an alert that goes on there was not over within it, even if the
# evaluations at the end were missed. (The API does not show the staleness markers that would tell.)
BEYOND = 3

Moments = dict[Labels, dict[int, float]]  # samples by labels and time


def stored_episodes(
    remote: Remote, alertname: str, *, from_ms: int, to_ms: int, interval_ms: int, offset_ms: int
) -> list[Episode]:
    """
    The episodes of every alert of that name that left a sample in the window; the values are not stored, so NaN.

    An evaluation that was missed does not end an episode: ALERTS_FOR_STATE says that it is still the same one. (But it
    does where there is more than one a second.)

    Args:
        offset_ms: The group's `query_offset`, by which what it writes is older than the evaluation that wrote it.
    """
    name = quote(alertname)
    bounds = (from_ms - offset_ms, to_ms - offset_ms + BEYOND * interval_ms, offset_ms)
    firing = _moments(remote, f'{ALERTS}{{alertname={name},{ALERT_STATE}="firing"}}', *bounds)
    since = _moments(remote, f"{ALERTS_FOR_STATE}{{alertname={name}}}", *bounds)
    return [
        episode
        for labels, moments in since.items()
        for episode in _episodes(labels, moments, firing.get(labels, {}).keys(), interval_ms, to_ms)
    ]


def _moments(remote: Remote, selector: str, from_ms: int, to_ms: int, offset_ms: int) -> Moments:
    """By the time of the evaluation."""
    found: Moments = {}
    for begin in range(from_ms, to_ms + 1, CHUNK_MS):
        for one in remote.samples(selector, min_ms=begin, max_ms=min(begin + CHUNK_MS - 1, to_ms)):
            labels = tuple(pair for pair in one.labels if pair[0] not in (METRIC_NAME, ALERT_STATE))
            pairs = zip((one.timestamps_ms + offset_ms).tolist(), one.values.tolist(), strict=True)
            found.setdefault(labels, {}).update(pairs)
    return found


def _episodes(
    labels: Labels, since: dict[int, float], firing: Iterable[int], interval_ms: int, to_ms: int
) -> Iterator[Episode]:
    times = sorted(since)
    fires = set(firing)
    begin = 0
    for position, at_ms in enumerate(times):
        last = position + 1 == len(times)
        if not last and _same_episode(since, at_ms, times[position + 1], interval_ms):
            continue
        run = times[begin : position + 1]
        begin = position + 1
        fired = next((moment for moment in run if moment in fires), None)
        over = not last or at_ms + interval_ms <= to_ms
        # The first sample is exact to the millisecond where the series, which counts seconds, is not.
        active_at_ms = run[0] if abs(run[0] - since[at_ms] * 1000) < 1000 else int(since[at_ms] * 1000)
        yield Episode(labels, active_at_ms, fired, at_ms + interval_ms if over else None, np.nan)


def _same_episode(since: dict[int, float], at_ms: int, next_ms: int, interval_ms: int) -> bool:
    """
    Whether two samples of ALERTS_FOR_STATE that follow each other are of one episode. The series counts whole seconds:
    where evaluations are closer, one that left no sample between them tells as well.
    """
    return since[next_ms] == since[at_ms] and (interval_ms >= 1000 or next_ms - at_ms <= interval_ms)


def evaluation_phase(
    remote: Remote, selectors: Sequence[str], *, from_ms: int, to_ms: int, interval_ms: int, offset_ms: int
) -> int | None:
    """
    When within its interval a group is evaluated, by the timestamps of what it has written; None if there is nothing.

    Args:
        selectors: Of series that only this group writes.
        offset_ms: As of `stored_episodes`.
    """
    for span_ms in (PHASE_MS, CHUNK_MS):
        for selector in selectors:
            phases: Counter[int] = Counter()
            for one in remote.samples(selector, min_ms=max(from_ms, to_ms - span_ms), max_ms=to_ms):
                found, counts = np.unique((one.timestamps_ms + offset_ms) % interval_ms, return_counts=True)
                phases.update(dict(zip(found.tolist(), counts.tolist(), strict=True)))
            if phases:
                return phases.most_common(1)[0][0]
    return None


def missed_evaluations(remote: Remote, names: Sequence[str], grid: Grid, *, offset_ms: int) -> NDArray[np.bool_]:
    """
    At which times of the grid the live group was not evaluated, although what it had written before was still there.

    Args:
        names: Of the metrics that the group's recording rules write; nothing is known to be missed without any.
        offset_ms: As of `stored_episodes`.
    """
    if not grid.count:
        return np.zeros(0, dtype=np.bool_)
    latest_ms = np.full(grid.count, -np.inf)
    for name in dict.fromkeys(names):  # one by one, for `timestamp` drops the names that tell them apart
        table = remote.range(f"max(timestamp({{__name__={quote(name)}}}))", grid.shifted(-offset_ms))
        for values in table.values:
            latest_ms = np.maximum(latest_ms, np.where(is_absent(values), -np.inf, values) * 1000 + offset_ms)
    missed: NDArray[np.bool_] = np.isfinite(latest_ms) & (latest_ms < grid.times_ms - grid.step_ms / 2)
    return missed
