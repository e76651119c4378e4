"""
The notation of series in promtool's unit tests: `up{job="a"}` with the values `0+5x20 _x3 stale`.

Source: prometheus/promql/parser/generated_parser.y, series_description; lex.go, lexValueSequence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from collector.errors import BadRequestError, LimitExceededError, UnsupportedError
from collector.model.series import ABSENT, METRIC_NAME, STALE, Labels, labels_of

MAX_VALUES = 1_000_000  # of one series: at one a second eleven days; a slip of the pen must not fill the memory

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
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_PAIR = re.compile(
    r"\s*(?P<name>[a-zA-Z_][a-zA-Z0-9_]*|\"(?:\\.|[^\"\\])*\")\s*"
    r"(?:=\s*(?P<value>\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|`[^`]*`)\s*)?(?P<end>,|$)"
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{3}|.)", re.DOTALL)
_ESCAPED = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def parse_values(notation: str) -> NDArray[np.float64]:
    """
    One value for each step; ABSENT where the notation has `_`, STALE where it has `stale`.

    Raises:
        BadRequestError: names the item.
        LimitExceededError: more than MAX_VALUES.
        UnsupportedError: a histogram.
    """
    if "{{" in notation:
        raise UnsupportedError("native histograms in the values of input series are not supported")
    parts: list[NDArray[np.float64]] = []
    count = 0
    for item in notation.split():
        match = _ITEM.fullmatch(item)
        if match is None:
            raise BadRequestError(f"parse error: unexpected {item!r} in series values")
        wanted = _length(match)
        count += wanted
        if count > MAX_VALUES:
            raise LimitExceededError(f"series values exceed the limit of {MAX_VALUES} at {item!r}")
        parts.append(_values(match, wanted))
    return np.concatenate(parts) if parts else np.empty(0)


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
