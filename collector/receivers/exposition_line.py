"""
The parts of a line that a /metrics endpoint serves: series, numbers, timestamps, exemplars.

Source: prometheus.io/docs/instrumenting/exposition_formats, the OpenMetrics specification.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import NamedTuple

from collector.errors import BadRequestError
from collector.model.series import METRIC_NAME, Exemplar, Labels, labels_of

SHOWN = 80  # characters of a wrong line in a message
_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
QUOTED = r'"((?:[^"\\]|\\.)*)"'
# A label, or, quoted and without a value, the metric's name; either name may be quoted when it is not of the old form.
_LABEL = re.compile(rf"[ \t]*(?:([a-zA-Z_][a-zA-Z0-9_]*)|{QUOTED})[ \t]*(?:(=)[ \t]*{QUOTED}[ \t]*)?(,?)")
# Nearly every line is of this form: no escapes, no spaces, no braces within. The others take the longer way.
_PLAIN_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^{}\\]*)\}(?= )")
_PLAIN_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="([^"]*)"')
_END = re.compile(r"[ \t]*\}")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", '"': '"', "\\": "\\"}
# The numbers that both formats allow; float() alone would take more (underscores, other scripts' digits).
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|inf(?:inity)?|nan)", re.ASCII | re.I)


class ExpositionError(BadRequestError):
    """`line 7: expected a value, got "…"`"""


class Series(NamedTuple):
    """A line up to its value."""

    name: str
    labels: dict[str, str]


def parsed_series(line: str) -> tuple[Series, int]:
    """The series at the start of a line, and where it ends: `name{a="b"}` or `{"name",a="b"}`."""
    plain = _PLAIN_LINE.match(line)
    if plain is not None:
        found = _PLAIN_LABEL.findall(plain[2])
        labels = dict(found)
        # All of it is labels, with a comma between them: no quote is in a value, so `",` stands between two only.
        length = sum(len(name) + len(value) + 4 for name, value in found) - 1
        if length == len(plain[2]) and plain[2].count('",') == len(found) - 1 and len(labels) == len(found):
            return Series(plain[1], labels), plain.end()
    name = _NAME.match(line)
    if name is None and not line.startswith("{"):
        raise ExpositionError(f"expected a metric name, got {shown(line)}")
    end = name.end() if name else 0
    while end < len(line) and line[end] in " \t":
        end += 1
    if end >= len(line) or line[end] != "{":
        assert name is not None  # noqa: S101  (else it stands at a brace)
        return Series(name[0], {}), name.end()
    quoted, labels, end = _parsed_labels(line, end + 1)
    if name is None and not quoted:
        raise ExpositionError(f"expected a metric name, got {shown(line)}")
    if name is not None and quoted:
        raise ExpositionError(f"metric name {shown(quoted)} stands beside {name[0]}")
    return Series(name[0] if name else quoted, labels), end


def _parsed_labels(line: str, at: int) -> tuple[str, dict[str, str], int]:
    """From behind `{` on: a quoted metric name or "", the labels, and where they end, behind `}`."""
    name = ""
    labels: dict[str, str] = {}
    comma = True
    while (close := _END.match(line, at)) is None:
        label = _LABEL.match(line, at) if comma else None
        if label is None or (label[1] and not label[3]):
            raise ExpositionError(f"expected a label or }}, got {shown(line[at:])}")
        key = label[1] or unescaped(label[2])
        if not key:
            raise ExpositionError(f"a name is empty in {shown(line)}")
        if label[3]:
            if key in labels:
                raise ExpositionError(f"label {key} stands twice in {shown(line)}")
            labels[key] = unescaped(label[4])
        elif name:
            raise ExpositionError(f"two metric names stand in {shown(line)}")
        else:
            name = key
        comma = bool(label[5])
        at = label.end()
    return name, labels, close.end()


def parsed_exemplar(text: str) -> Exemplar:
    """`{trace_id="…"} 0.3 1700000000.123`; without a time of its own it gets 0, which the scrape's replaces."""
    if not text.startswith("{"):
        raise ExpositionError(f"expected an exemplar's labels, got {shown(text)}")
    _, labels, end = _parsed_labels(text, 1)
    tokens = text[end:].split()
    if not 1 <= len(tokens) <= 2:
        raise ExpositionError(f"expected an exemplar's value, got {shown(text[end:])}")
    return Exemplar(
        labels_of(labels), parsed_number(tokens[0]), parsed_timestamp(tokens[1], True) if len(tokens) == 2 else 0
    )


def parsed_timestamp(text: str, openmetrics: bool) -> int:
    """Milliseconds; OpenMetrics writes seconds, the text format milliseconds."""
    number = parsed_number(text)
    try:
        return round(number * 1000) if openmetrics else int(number)
    except (ValueError, OverflowError):
        raise ExpositionError(f"expected a timestamp, got {shown(text)}") from None


def parsed_numbers(raw: list[str], labels: tuple[Labels, ...]) -> list[float]:
    try:
        numbers = list(map(float, raw))
        joined = "".join(raw)
        if joined.isascii() and "_" not in joined:
            return numbers
    except ValueError:
        pass
    for text, each in zip(raw, labels, strict=True):
        if not _NUMBER.fullmatch(text):
            raise ExpositionError(f"{dict(each)[METRIC_NAME]}: expected a number, got {shown(text)}")
    return [float(text) for text in raw]


def parsed_number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ExpositionError(f"expected a number, got {shown(text)}")
    return float(text)


def unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[0]), text) if "\\" in text else text


def shown(text: str) -> str:
    return repr(text if len(text) <= SHOWN else text[: SHOWN - 1] + "…")


def canonical_float(text: str) -> str:
    """
    A bucket's `le` or a `quantile` in OpenMetrics' form, so that "1" and "1.0" are one series, as in Prometheus 3.

    Go's shortest %g with ".0" for whole numbers (model/textparse, formatOpenMetricsFloat). Other text stays as it is.
    """
    try:
        value = float(text)
    except ValueError:
        return text
    if value != value or value in (float("inf"), float("-inf")):
        return "NaN" if value != value else "+Inf" if value > 0 else "-Inf"
    exact = Decimal(repr(value))
    exponent = exact.adjusted()
    if value == 0 or -4 <= exponent < 6:
        return repr(value)
    sign, digits, _ = exact.normalize().as_tuple()
    mantissa = str(digits[0]) + ("." + "".join(map(str, digits[1:])) if len(digits) > 1 else "")
    return f"{'-' * sign}{mantissa}e{'-' if exponent < 0 else '+'}{abs(exponent):02d}"
