"""
`info`: adds the labels of info metrics (`target_info`) to series of the same job and instance.

Source: prometheus/promql/info.go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collector.model.series import METRIC_NAME, Labels, Matcher, MatchOp, labels_of
from collector.query.errors import ExecutionError
from collector.query.promql.values import Frame, display, merged, name_of, stacked

IDENTIFYING = ("instance", "job")
_TARGET_INFO = Matcher(METRIC_NAME, MatchOp.EQUAL, "target_info")
_NONE = -1


@dataclass(frozen=True, slots=True)
class InfoMatchers:
    names: tuple[Matcher, ...]  # which info metrics
    data: tuple[Matcher, ...]  # which labels are taken, and what they must be; none: all labels

    @staticmethod
    def of(matchers: Sequence[Matcher]) -> InfoMatchers:
        names = tuple(one for one in matchers if one.name == METRIC_NAME)
        return InfoMatchers(names or (_TARGET_INFO,), tuple(one for one in matchers if one.name != METRIC_NAME))

    @property
    def select(self) -> tuple[Matcher, ...]:
        return self.names + self.data


def enriched(base: Frame, info_times: Frame, wanted: InfoMatchers) -> Frame:
    """
    Args:
        info_times: the info series; the value is when each sample was, for the newest one counts.

    Raises:
        ExecutionError: two info series of one metric claim the same series with samples of the same time, or two info
            metrics give a label different values.
    """
    rows_of: dict[Labels, list[int]] = {}
    for row, labels in enumerate(info_times.labels):
        rows_of.setdefault(_signature(labels, name_of(labels)), []).append(row)
    winners = {signature: _newest(info_times, rows) for signature, rows in rows_of.items()}
    names = sorted({name_of(labels) for labels in info_times.labels})
    optional = all(one.matches("") for one in wanted.data)
    frames = []
    for row, labels in enumerate(base.labels):
        one = base.take([row])
        if all(matcher.matches(name_of(labels)) for matcher in wanted.names):
            frames.append(one)  # an info series itself
            continue
        found = [winners[key] for name in names if (key := _signature(labels, name)) in winners]
        if not found:
            if optional:
                frames.append(one)
            continue
        patterns, pattern_of = np.unique(np.stack(found), axis=1, return_inverse=True)
        for number, pattern in enumerate(patterns.T.tolist()):
            rows = [info_row for info_row in pattern if info_row != _NONE]
            if not rows and not optional:
                continue
            more = _added(labels, [info_times.labels[info_row] for info_row in rows], wanted)
            here = one.present & (pattern_of.reshape(1, -1) == number)
            frames.append(one.where(here).relabelled((labels_of(dict(labels) | more),)))
    return merged(stacked(frames, base.steps))


def _signature(labels: Labels, name: str) -> Labels:
    return labels_of({METRIC_NAME: name} | {key: value for key, value in labels if key in IDENTIFYING})


def _newest(info: Frame, rows: list[int]) -> NDArray[np.int64]:
    """The row whose sample is the newest, at each step; _NONE where there is no sample."""
    times = np.where(info.present[rows], info.values[rows], -np.inf)
    best = times.argmax(axis=0)
    newest = times.max(axis=0)
    ties = ((times == newest) & np.isfinite(newest)).sum(axis=0) > 1
    if ties.any():
        step = int(np.flatnonzero(ties)[0])
        first, second = np.flatnonzero(times[:, step] == newest[step])[:2].tolist()
        at_ms = int(newest[step] * 1000)
        raise ExecutionError(
            f"found duplicate series for info metric: existing {display(info.labels[rows[first]])} @ {at_ms}, "
            f"new {display(info.labels[rows[second]])} @ {at_ms}"
        )
    return np.where(np.isfinite(newest), np.array(rows)[best], _NONE)


def _added(base: Labels, infos: list[Labels], wanted: InfoMatchers) -> dict[str, str]:
    known, chosen = {name for name, _ in base}, {one.name for one in wanted.data}
    more: dict[str, str] = {}
    for labels in infos:
        for name, value in labels:
            if name == METRIC_NAME or (chosen and name not in chosen):
                continue
            if more.get(name, value) != value:
                raise ExecutionError(f"conflicting label: {name}")
            if name not in known:
                more[name] = value
    return more
