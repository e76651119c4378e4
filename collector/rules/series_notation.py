"""
The notation of series in promtool's unit tests: `up{job="a"}` with the values `0+5x20 _x3 stale {{count:1}}x5`.

Source: prometheus/promql/parser/generated_parser.y, series_description; lex.go, lexValueSequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.errors import BadRequestError, LimitExceededError
from collector.model.histogram import NativeHistogram
from collector.model.series import ABSENT, METRIC_NAME, STALE, Labels, labels_of
from collector.rules.histogram_notation import parse_histogram, progression

MAX_VALUES = 1_000_000  # of one series: at one a second eleven days; a slip of the pen must not fill the memory
MAX_HISTOGRAMS = 10_000  # of these, some 2 KB each

_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
# A word cannot be followed by `x`: `NaNx3` is one word to Prometheus's lexer.
_ITEM = re.compile(
    rf"(?P<blank>_)(?:x(?P<blanks>\d+))?"
    rf"|(?P<stale>stale)"
    rf"|(?P<first>[+-]?(?:{_NUMBER}|inf|nan))(?P<step>[+-]{_NUMBER})x(?P<steps>\d+)"
    rf"|(?P<repeated>[+-]?{_NUMBER})x(?P<times>\d+)"
    rf"|(?P<value>[+-]?(?:{_NUMBER}|inf|nan))",
    re.IGNORECASE,
)
_HISTOGRAM = re.compile(r"\{\{([^{}]*)\}\}(?:([+-])\{\{([^{}]*)\}\}(?=x))?(?:x(\d+))?(?=\s|$)")
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PAIR = re.compile(
    r"\s*(?P<name>[a-zA-Z_][a-zA-Z0-9_]*|\"(?:\\.|[^\"\\])*\")\s*"
    r"(?:=\s*(?P<value>\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`)\s*)?(?P<end>,|$)"
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


class SeriesValues(NamedTuple):
    """One value for each step."""

    floats: NDArray[np.float64]  # ABSENT where the notation has `_` or a histogram, STALE where it has `stale`
    histograms: dict[int, NativeHistogram]  # by step


def parse_values(notation: str) -> SeriesValues:
    """
    Raises:
        BadRequestError: names the item.
        LimitExceededError: more than MAX_VALUES, or MAX_HISTOGRAMS.
        UnsupportedError: a histogram with custom buckets.
    """
    parts: list[NDArray[np.float64]] = []
    histograms: dict[int, NativeHistogram] = {}
    count = 0
    for item in _items(notation):
        if isinstance(item, str):
            part = _floats(item, MAX_VALUES - count)
        else:
            wanted = int(item[4] or 0) + 1
            if len(histograms) + wanted > MAX_HISTOGRAMS:
                raise LimitExceededError(
                    f"series values exceed the limit of {MAX_HISTOGRAMS} histograms at {item[0]!r}"
                )
            histograms.update(enumerate(_histograms(item), count))
            part = np.full(wanted, ABSENT)
        count += len(part)
        parts.append(part)
    return SeriesValues(np.concatenate(parts) if parts else np.empty(0), histograms)


def _floats(item: str, left: int) -> NDArray[np.float64]:
    match = _ITEM.fullmatch(item)
    if match is None:
        raise BadRequestError(f"parse error: unexpected {item!r} in series values")
    if (wanted := _length(match)) > left:
        raise LimitExceededError(f"series values exceed the limit of {MAX_VALUES} at {item!r}")
    return _values(match, wanted)


def _items(notation: str) -> Iterator[str | re.Match[str]]:
    """Words, and histograms, which have spaces within."""
    at = 0
    while notation[at:].strip():
        at += len(notation[at:]) - len(notation[at:].lstrip())
        if not notation.startswith("{", at):
            word = notation[at:].split(None, 1)[0]
            yield word
            at += len(word)
            continue
        match = _HISTOGRAM.match(notation, at)
        if match is None:
            raise BadRequestError(f"parse error: unexpected {notation[at : at + 40]!r} in series values")
        yield match
        at = match.end()


def _histograms(match: re.Match[str]) -> Iterator[NativeHistogram]:
    base, count = parse_histogram(match[1]), int(match[4] or 0)
    if match[2] is None:
        return iter([base] * (count + 1))
    return progression(base, parse_histogram(match[3]), count, sign=1 if match[2] == "+" else -1)


def _length(match: re.Match[str]) -> int:
    if match["blank"]:
        return int(match["blanks"] or 1)
    times = match["steps"] or match["times"]
    return 1 if times is None else int(times) + 1


def _values(match: re.Match[str], count: int) -> NDArray[np.float64]:
    if match["blank"]:
        return np.full(count, ABSENT)
    if match["stale"]:
        return np.full(1, STALE)
    if match["step"]:
        # Added up one by one, as Prometheus does: 0.1+0.1x10 has its rounding errors.
        return np.cumsum([float(match["first"]), *[float(match["step"])] * (count - 1)])
    return np.full(count, float(match["repeated"] or match["value"]))


def parse_metric(text: str) -> Labels:
    """
    The labels of `name{label="value", …}`, of `{…}` or of a bare name; none of an empty text.

    Raises:
        BadRequestError: it is none of these; with the text.
    """
    rest = text.strip()
    pairs: dict[str, str] = {}
    if match := _NAME.match(rest):
        pairs[METRIC_NAME] = match[0]
        rest = rest[match.end() :].lstrip()
    if rest:
        if not (rest.startswith("{") and rest.endswith("}")):
            raise BadRequestError(f"parse error: not a metric: {text!r}")
        for name, value in _pairs(rest[1:-1], text):
            if name == METRIC_NAME and METRIC_NAME in pairs:
                raise BadRequestError(f"parse error: metric name must not be set twice: {text!r}")
            pairs[name] = value
    return labels_of(pairs)


def _pairs(body: str, text: str) -> Iterator[tuple[str, str]]:
    at = 0
    while body[at:].strip():
        match = _PAIR.match(body, at)
        if match is None or (match["value"] is None and not match["name"].startswith('"')):
            raise BadRequestError(f"parse error: not a metric: {text!r}")
        if match["value"] is None:  # {"a name in UTF-8", …}
            yield METRIC_NAME, _unquoted(match["name"])
        else:
            name = match["name"]
            yield (_unquoted(name) if name.startswith('"') else name), _unquoted(match["value"])
        at = match.end()


def _unquoted(literal: str) -> str:
    if literal.startswith("`"):
        return literal[1:-1]

    def one(match: re.Match[str]) -> str:
        code = match[1]
        if code[0] in "xuU" and len(code) > 1:
            return chr(int(code[1:], 16))
        return chr(int(code, 8)) if len(code) == 3 else _ESCAPED.get(code, code)

    return _ESCAPE.sub(one, literal[1:-1])
