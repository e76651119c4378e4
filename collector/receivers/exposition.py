"""
Parsing what a /metrics endpoint serves: Prometheus text format 0.0.4 and OpenMetrics 1.0.

An endpoint serves nearly the same lines every time, so what stands before a value is remembered with its labels: then a
line costs one look-up and one float(). (Prometheus's scrape cache does the same.)

Source: prometheus.io/docs/instrumenting/exposition_formats, the OpenMetrics specification.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from collector.errors import BadRequestError
from collector.model.series import METRIC_NAME, Exemplar, Labels, MetricMetadata, labels_of

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]|\\.)*)"[ \t]*(,?)')
_END = re.compile(r"[ \t]*\}")
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", '"': '"', "\\": "\\"}
# The numbers that both formats allow; float() alone would take more (underscores, other scripts' digits).
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|inf(?:inity)?|nan)", re.ASCII | re.I)
_KINDS = {"untyped": "unknown"}  # the text format's word for OpenMetrics' unknown
SHOWN = 80  # characters of a wrong line in a message
SPARE = 500  # remembered lines that no scrape brought, before the memory is cleaned


class ExpositionError(BadRequestError):
    """`line 7: expected a value, got "…"`"""


class Series(NamedTuple):
    """A line up to its value."""

    name: str
    labels: dict[str, str]


@dataclass(slots=True)
class Exposition:
    """One scrape. Equal indices belong together; the labels may hold duplicates, which the sender should not send."""

    labels: list[Labels] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    timestamps_ms: dict[int, int] = field(default_factory=dict)  # of the few samples that bring one
    exemplars: list[tuple[int, Exemplar]] = field(default_factory=list)  # only those not seen before
    metadata: list[MetricMetadata] = field(default_factory=list)  # only what is new or changed


class ExpositionParser:
    """
    One for each target. `name_series` makes a series' final labels, with the target's own.

    A parse that fails leaves nothing behind but remembered lines.
    """

    def __init__(self, name_series: Callable[[Series], Labels]) -> None:
        self._name_series = name_series
        self._lines: dict[str, Labels] = {}  # what stands before " VALUE"
        self._comments: set[str] = set()
        self._families: dict[str, dict[str, str]] = {}
        self._last_exemplars: dict[Labels, str] = {}

    def parse(self, text: str, *, openmetrics: bool) -> Exposition:
        """
        Raises:
            ExpositionError: with the number of the first wrong line.
        """
        lines = text.split("\n")
        if openmetrics:
            lines = _without_eof(lines)
        found = Exposition()
        raw: list[str] = []
        remembered = self._lines.get
        labels_append, raw_append = found.labels.append, raw.append
        for number, line in enumerate(lines, 1):
            head, _, tail = line.rpartition(" ")
            labels = remembered(head)
            if labels is not None:
                labels_append(labels)
                raw_append(tail)
            elif line:
                try:
                    self._slowly(line.strip(" \t\r"), openmetrics, found, raw)
                except ExpositionError as error:
                    raise ExpositionError(f"line {number}: {error}") from None
        found.values = _numbers(raw, found.labels)
        self._forget(found.labels)
        return found

    def _slowly(self, line: str, openmetrics: bool, found: Exposition, raw: list[str]) -> None:
        if not line:
            return
        if line[0] == "#":
            self._comment(line, found)
            return
        sample, _, exemplar = line.partition(" # ") if openmetrics else (line, "", "")
        head, _, value = sample.rpartition(" ")
        labels = self._lines.get(head)
        timestamp = ""
        if labels is None:
            labels, value, timestamp, exemplar = self._series(line, openmetrics)
        if timestamp:
            found.timestamps_ms[len(found.labels)] = _timestamp(timestamp, openmetrics)
        if exemplar and self._last_exemplars.get(labels) != exemplar:
            found.exemplars.append((len(found.labels), _exemplar(exemplar)))
            self._last_exemplars[labels] = exemplar
        found.labels.append(labels)
        raw.append(value)

    def _series(self, line: str, openmetrics: bool) -> tuple[Labels, str, str, str]:
        """(labels, value, timestamp or "", exemplar or "") of a whole line."""
        series, end = _parsed_series(line)
        rest, exemplar = line[end:], ""
        if openmetrics:
            rest, _, exemplar = rest.partition(" # ")
        tokens = rest.split()
        if not 1 <= len(tokens) <= 2:
            raise ExpositionError(f"expected a value, got {_shown(line[end:])} after {_shown(line[:end])}")
        labels = self._name_series(series)
        if len(tokens) == 1 and rest == f" {tokens[0]}":
            self._lines[line[:end]] = labels
        return labels, tokens[0], tokens[1] if len(tokens) == 2 else "", exemplar

    def _comment(self, line: str, found: Exposition) -> None:
        if line in self._comments:
            return
        words = line.split(None, 3)
        if len(words) < 3 or words[0] != "#" or words[1] not in ("HELP", "TYPE", "UNIT"):
            return
        text = words[3].strip() if len(words) == 4 else ""
        family = self._families.setdefault(words[2], {})
        family[words[1]] = _unescaped(text) if words[1] == "HELP" else text
        self._comments.add(line)
        kind = family.get("TYPE", "unknown")
        entry = MetricMetadata(words[2], _KINDS.get(kind, kind), family.get("HELP", ""), family.get("UNIT", ""))
        found.metadata.append(entry)

    def _forget(self, labels: list[Labels]) -> None:
        """Series that no longer come must not fill the memory."""
        if len(self._lines) > 2 * len(labels) + SPARE:
            kept = set(labels)
            self._lines = {head: each for head, each in self._lines.items() if each in kept}
            self._last_exemplars = {each: text for each, text in self._last_exemplars.items() if each in kept}
        if len(self._comments) > 3 * len(labels) + SPARE:  # three comments a family at most
            self._comments.clear()
            self._families.clear()


def _without_eof(lines: list[str]) -> list[str]:
    end = len(lines)
    while end and not lines[end - 1]:
        end -= 1
    if not end or lines[end - 1] != "# EOF":
        raise ExpositionError('OpenMetrics text does not end with "# EOF"')
    return lines[: end - 1]


def _parsed_series(line: str) -> tuple[Series, int]:
    """The series at the start of a line, and where it ends."""
    name = _NAME.match(line)
    if name is None:
        raise ExpositionError(f"expected a metric name, got {_shown(line)}")
    end = name.end()
    while end < len(line) and line[end] in " \t":
        end += 1
    if end >= len(line) or line[end] != "{":
        return Series(name[0], {}), name.end()
    labels, end = _parsed_labels(line, end + 1)
    return Series(name[0], labels), end


def _parsed_labels(line: str, at: int) -> tuple[dict[str, str], int]:
    """Labels from behind `{` on, and where they end, behind `}`."""
    labels: dict[str, str] = {}
    comma = True
    while (close := _END.match(line, at)) is None:
        label = _LABEL.match(line, at) if comma else None
        if label is None:
            raise ExpositionError(f"expected a label or }}, got {_shown(line[at:])}")
        if label[1] in labels:
            raise ExpositionError(f"label {label[1]} stands twice in {_shown(line)}")
        labels[label[1]] = _unescaped(label[2])
        comma = bool(label[3])
        at = label.end()
    return labels, close.end()


def _exemplar(text: str) -> Exemplar:
    """`{trace_id="…"} 0.3 1700000000.123`; without a time of its own it gets 0, which the scrape's replaces."""
    if not text.startswith("{"):
        raise ExpositionError(f"expected an exemplar's labels, got {_shown(text)}")
    labels, end = _parsed_labels(text, 1)
    tokens = text[end:].split()
    if not 1 <= len(tokens) <= 2:
        raise ExpositionError(f"expected an exemplar's value, got {_shown(text[end:])}")
    return Exemplar(labels_of(labels), _number(tokens[0]), _timestamp(tokens[1], True) if len(tokens) == 2 else 0)


def _timestamp(text: str, openmetrics: bool) -> int:
    """Milliseconds; OpenMetrics writes seconds, the text format milliseconds."""
    number = _number(text)
    try:
        return round(number * 1000) if openmetrics else int(number)
    except (ValueError, OverflowError):
        raise ExpositionError(f"expected a timestamp, got {_shown(text)}") from None


def _numbers(raw: list[str], labels: list[Labels]) -> list[float]:
    try:
        numbers = [float(text) for text in raw]
        joined = "".join(raw)
        if joined.isascii() and "_" not in joined:
            return numbers
    except ValueError:
        pass
    for text, each in zip(raw, labels, strict=True):
        if not _NUMBER.fullmatch(text):
            raise ExpositionError(f"{dict(each)[METRIC_NAME]}: expected a number, got {_shown(text)}")
    return [float(text) for text in raw]


def _number(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ExpositionError(f"expected a number, got {_shown(text)}")
    return float(text)


def _unescaped(text: str) -> str:
    return _ESCAPE.sub(lambda match: _ESCAPED.get(match[1], match[0]), text) if "\\" in text else text


def _shown(text: str) -> str:
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
