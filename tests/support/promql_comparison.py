"""
The same query to Debian's Prometheus and to the engine, and what differs.

Debian's is 2.42. Where Prometheus 3 decided otherwise, `as_prometheus_2` makes the engine decide as 2.42 did: windows
closed at the left, pairs that a comparison leaves out, linear interpolation inside native histograms' buckets.
docs/promql.md lists the rest.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
from prometheus_process import PrometheusProcess

from collector.errors import BadRequestError, CollectorError
from collector.model.histogram import NativeHistogram
from collector.model.series import Labels, Vector, is_absent
from collector.query.errors import QueryTimeoutError
from collector.query.promql import binary, native_statistics, windows
from collector.query.promql.engine import Engine
from collector.query.promql.values import InstantVector, Matrix, RangeVector, Scalar, StringValue

TOLERANCE = 1e-9
# What docs/promql.md explains: a pattern of the query, one of the difference, the reason.
KNOWN = (
    (r"std(dev|var)", r"0\.0 != nan$", "2.42: the deviation of a single NaN or infinity is 0"),
    (r"@ ", r"Prometheus: execution; ours: 0 points$", "a pinned part that no step asks for is evaluated all the same"),
)
# (labels, timestamp in milliseconds) to a number or a histogram
Points = dict[tuple[str, int], Any]


@dataclass(frozen=True)
class Times:
    """Unix milliseconds. A step of 0 is an instant query at `start`."""

    start: int
    end: int
    step: int


@contextlib.contextmanager
def as_prometheus_2() -> Iterator[None]:
    linear = lambda lower, upper, fraction: lower + (upper - lower) * fraction  # noqa: E731
    with (
        mock.patch.object(windows, "LEFT_OPEN", False),
        mock.patch.object(binary, "_met", lambda many, one, result: result.present),
        mock.patch.object(native_statistics, "_interpolated", linear),
        mock.patch.object(native_statistics, "_share", lambda buckets, wide: _linear_share(buckets, wide)),
    ):
        yield


def _linear_share(buckets: native_statistics.Buckets, wide: np.ndarray) -> np.ndarray:
    return (wide - buckets.lower) / (buckets.upper - buckets.lower)


def difference(peer: PrometheusProcess, engine: Engine, query: str, times: Times) -> str | None:
    """What differs first; None when nothing does."""
    theirs, ours = _theirs(peer, query, times), _ours(engine, query, times)
    if isinstance(theirs, str) or isinstance(ours, str):
        return None if theirs == ours else f"Prometheus: {_short(theirs)}; ours: {_short(ours)}"
    if theirs.keys() != ours.keys():
        more, less = sorted(theirs.keys() - ours.keys())[:3], sorted(ours.keys() - theirs.keys())[:3]
        return f"only Prometheus: {more}, only ours: {less}"
    for place, value in theirs.items():
        if not _same(value, ours[place]):
            return f"{place}: {value} != {ours[place]}"
    return None


def known_reason(query: str, text: str) -> str | None:
    """Why this difference is expected, if it is."""
    reasons = (reason for of, how, reason in KNOWN if re.search(of, query) and re.search(how, text))
    return next(reasons, None)


def _short(answer: Points | str) -> str:
    return answer if isinstance(answer, str) else f"{len(answer)} points"


def _theirs(peer: PrometheusProcess, query: str, times: Times) -> Points | str:
    """The points, or what kind of error it is."""
    text = query.replace("double_exponential_smoothing", "holt_winters")
    if times.step:
        span = {"start": f"{times.start / 1000:.3f}", "end": f"{times.end / 1000:.3f}", "step": f"{times.step / 1000}"}
        answer = peer.ask("/api/v1/query_range", {"query": text} | span)
    else:
        answer = peer.ask("/api/v1/query", {"query": text, "time": f"{times.start / 1000:.3f}"})
    if answer["status"] == "error":
        return str(answer["errorType"])
    data = answer["data"]
    if data["resultType"] == "string":
        return f"string {data['result'][1]}"
    if data["resultType"] == "scalar":
        data = {"result": [{"metric": {}, "value": data["result"]}]}
    points: Points = {}
    for series in data["result"]:
        labels = repr(sorted(series["metric"].items()))
        for at, text in series.get("values") or ([series["value"]] if "value" in series else []):
            points[labels, round(at * 1000)] = float(text)
        for at, one in series.get("histograms") or ([series["histogram"]] if "histogram" in series else []):
            buckets = {(float(lower), float(upper)): float(count) for _, lower, upper, count in one.get("buckets", [])}
            points[labels, round(at * 1000)] = (float(one["count"]), float(one["sum"]), buckets)
    return points


def _ours(engine: Engine, query: str, times: Times) -> Points | str:
    try:
        if times.step:
            answer: Any = engine.range(query, start_ms=times.start, end_ms=times.end, step_ms=times.step)
        else:
            answer = engine.instant(query, at_ms=times.start)
    except BadRequestError:
        return "bad_data"
    except QueryTimeoutError:
        return "timeout"
    except CollectorError:
        return "execution"
    match answer:
        case StringValue():
            return f"string {answer.value}"
        case Scalar():
            return {("[]", times.start): answer.value}
        case Matrix():
            points = _of_block(answer.labels, answer.timestamps_ms, answer.values)
            for row, histograms in answer.histograms.items():
                for step, one in histograms.items():
                    points[_text(answer.labels[row]), int(answer.timestamps_ms[step])] = _of_histogram(one)
            return points
        case RangeVector():
            points = {}
            for block in answer.blocks:
                points |= _of_block(block.labels, block.timestamps_ms, block.values)
            for series in answer.histograms:
                for at, one in zip(series.timestamps_ms.tolist(), series.histograms, strict=True):
                    points[_text(series.labels), at] = _of_histogram(one)
            return points
        case Vector():
            at = np.array([times.start])
            points = _of_block(answer.labels, at, answer.values[:, None])
            if isinstance(answer, InstantVector):
                for row, one in answer.histograms.items():
                    points[_text(answer.labels[row]), times.start] = _of_histogram(one)
            return points
    raise TypeError(type(answer).__name__)


def _of_block(labels: tuple[Labels, ...], times: np.ndarray, values: np.ndarray) -> Points:
    points: Points = {}
    for one, row, absent in zip(labels, values, is_absent(np.ascontiguousarray(values)), strict=True):
        text = _text(one)
        pairs = zip(times[~absent].tolist(), row[~absent].tolist(), strict=True)
        points |= {(text, at): value for at, value in pairs}
    return points


def _of_histogram(one: NativeHistogram) -> tuple[float, float, dict[tuple[float, float], float]]:
    width = 2.0**-one.schema
    buckets = {}
    for index, count in zip(one.negative_index.tolist(), one.negative.tolist(), strict=True):
        buckets[-(2 ** (index * width)), -(2 ** ((index - 1) * width))] = count
    if one.zero_count:
        buckets[-one.zero_threshold, one.zero_threshold] = one.zero_count
    for index, count in zip(one.positive_index.tolist(), one.positive.tolist(), strict=True):
        buckets[2 ** ((index - 1) * width), 2 ** (index * width)] = count
    return one.count, one.sum, buckets


def _text(labels: Labels) -> str:
    return repr(sorted(labels))


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, tuple) != isinstance(other, tuple):
        return False
    if isinstance(one, tuple):
        mine, theirs = sorted(one[2].items()), sorted(other[2].items())
        return (
            _same(one[0], other[0])
            and _same(one[1], other[1])
            and len(mine) == len(theirs)
            and all(
                _same(a[0][0], b[0][0]) and _same(a[0][1], b[0][1]) and _same(a[1], b[1])
                for a, b in zip(mine, theirs, strict=True)
            )
        )
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other or math.isclose(one, other, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
