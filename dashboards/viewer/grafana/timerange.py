"""Grafana's relative times, intervals and steps."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "M": 2592000.0, "y": 31536000.0}
_OFFSET = re.compile(r"([+-])(\d+)(ms|[smhdwMy])")
_RELATIVE = re.compile(r"now((?:[+-]\d+(?:ms|[smhdwMy]))*)(?:/([smhdwMy]))?")
MAX_POINTS = 1000  # across a chart: more than a screen has columns is wasted
# Grafana's round steps (packages/grafana-data, rangeutil.roundInterval), in seconds.
_ROUND_STEPS = (1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


@dataclass(frozen=True, slots=True)
class Span:
    """A range of time in Unix seconds."""

    start: float
    end: float

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def step(self, points: int = MAX_POINTS, minimum: float = 1.0) -> float:
        """Seconds between points, so that there are at most about `points`."""
        exact = max(minimum, self.seconds / points)
        return float(next((step for step in _ROUND_STEPS if step >= exact), _ROUND_STEPS[-1]))


def parse_interval(text: str) -> float | None:
    """Seconds of `5s`, `1m`; None if it is none (such as an empty refresh)."""
    found = re.fullmatch(r"(\d+)(ms|[smhdwMy])", text.strip())
    return None if found is None else int(found[1]) * _UNITS[found[2]]


def parse_time(text: str, now: float, *, end: bool) -> float | None:
    """
    Unix seconds of `now-6h`, `now/d`, an ISO time, or Unix milliseconds; None if it is none of them.

    Args:
        end: A rounded time (`now/d`) means its end, not its beginning.
    """
    text = text.strip()
    if text.isdecimal():
        return int(text) / 1000
    found = _RELATIVE.fullmatch(text)
    if found is None:
        try:
            return dt.datetime.fromisoformat(text).astimezone(dt.UTC).timestamp()
        except ValueError:
            return None
    at = now
    for sign, count, unit in _OFFSET.findall(found[1]):
        at += (1 if sign == "+" else -1) * int(count) * _UNITS[unit]
    if found[2]:
        unit_s = _UNITS[found[2]]
        at = (at // unit_s + (1 if end else 0)) * unit_s
    return at


def span_of(start: str, end: str, now: float) -> Span | None:
    """None if either is no time, or the end is not after the start."""
    low, high = parse_time(start, now, end=False), parse_time(end, now, end=True)
    return None if low is None or high is None or high <= low else Span(low, high)


def interval_text(seconds: float) -> str:
    """As `$__interval` is written into queries."""
    if seconds < 1:
        return f"{max(1, round(seconds * 1000))}ms"
    return f"{round(seconds)}s"
