"""
Parsing what a /metrics endpoint serves: Prometheus text format 0.0.4 and OpenMetrics 1.0.

An endpoint serves nearly the same lines every time, so what stands before a value is remembered with its labels (as
Prometheus's scrape cache does): a line that was there before costs one look-up and one float(), and a page on which all
of them are as they were costs one comparison.

Source: prometheus.io/docs/instrumenting/exposition_formats, the OpenMetrics specification.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import compress
from typing import NamedTuple

from collector.errors import BadRequestError, CollectorError
from collector.model.series import METRIC_NAME, Exemplar, Labels, MetricMetadata, NativeHistogram, labels_of

_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_QUOTED = r'"((?:[^"\\]|\\.)*)"'
# A label, or, quoted and without a value, the metric's name; either name may be quoted when it is not of the old form.
_LABEL = re.compile(rf"[ \t]*(?:([a-zA-Z_][a-zA-Z0-9_]*)|{_QUOTED})[ \t]*(?:(=)[ \t]*{_QUOTED}[ \t]*)?(,?)")
_METADATA = re.compile(rf"#[ \t]+(HELP|TYPE|UNIT)[ \t]+(?:{_QUOTED}|(\S+))[ \t]*(.*)")
# Nearly every line is of this form: no escapes, no spaces, no braces within. The others take the longer way.
_PLAIN_LINE = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{([^{}\\]*)\}(?= )")
_PLAIN_LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="([^"]*)"')
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

    labels: tuple[Labels, ...] = ()  # the same object while the page keeps its lines
    values: list[float] = field(default_factory=list)
    timestamps_ms: dict[int, int] = field(default_factory=dict)  # of the few samples that bring one
    exemplars: list[tuple[int, Exemplar]] = field(default_factory=list)  # only those not seen before
    metadata: list[MetricMetadata] = field(default_factory=list)  # only what is new or changed
    histograms: dict[int, NativeHistogram] = field(default_factory=dict)  # the value there is ABSENT
    scraped: int = 0  # samples, those that `name_series` dropped too


class _Page(NamedTuple):
    """What each line of a page holds up to its last word, as long as that is all that changes."""

    heads: list[str]
    is_sample: list[bool]  # of the lines, whether it is a sample that is kept
    is_comment: list[bool]  # or whether it is none at all
    comments: list[str]  # the last words of those that are none
    labels: tuple[Labels, ...]
    scraped: int


class ExpositionParser:
    """
    One for each target. `name_series` makes a series' final labels, with the target's own; None drops it.

    A parse that fails leaves nothing behind but remembered lines.
    """

    def __init__(self, name_series: Callable[[Series], Labels | None]) -> None:
        self._name_series = name_series
        self._lines: dict[str, Labels] = {}  # what stands before " VALUE"; no labels if it is dropped
        self._page: _Page | None = None
        self.progress = (0, 0)  # samples seen, and kept, by the last parse; after one that failed, until it did
        self._comments: set[str] = set()
        self._families: dict[str, dict[str, str]] = {}
        self._last_exemplars: dict[Labels, str] = {}

    def metadata(self) -> list[MetricMetadata]:
        """Of all families that the page has named so far."""
        families = list(self._families.items())  # at once, as a parse may go on in a thread
        return [_metadata_of(name, family) for name, family in families]

    def parse(self, text: str, *, openmetrics: bool) -> Exposition:
        """
        Raises:
            ExpositionError: with the number of the first wrong line.
            LimitExceededError: whatever else `name_series` raises.
        """
        self.progress = (0, 0)
        lines = text.split("\n")
        complete = True
        if openmetrics:
            lines, complete = _without_eof(lines)
        plain, exemplars = _without_exemplars(lines) if openmetrics and " # " in text else (lines, {})
        parts = [line.rpartition(" ") for line in plain]
        heads, words = [part[0] for part in parts], [part[2] for part in parts]
        page = self._page
        if page is not None and heads == page.heads and list(compress(words, page.is_comment)) == page.comments:
            found = Exposition(page.labels, scraped=page.scraped)
            raw = list(compress(words, page.is_sample))
            if exemplars:
                places = dict(zip(compress(range(len(lines)), page.is_sample), range(len(raw)), strict=True))
                for line, exemplar in exemplars.items():
                    if line in places:
                        self._exemplar(exemplar, places[line], page.labels[places[line]], found)
        else:
            found, raw = self._by_line(lines, heads, words, exemplars, openmetrics)
        self.progress = (found.scraped, len(raw))
        if not complete:
            raise ExpositionError('OpenMetrics text does not end with "# EOF"')
        found.values = _numbers(raw, found.labels)
        return found

    def _by_line(
        self, lines: list[str], heads: list[str], words: list[str], exemplars: dict[int, str], openmetrics: bool
    ) -> tuple[Exposition, list[str]]:
        self._page = None
        found = Exposition()
        raw: list[str] = []
        labels: list[Labels] = []
        is_sample: list[bool] = []
        regular = True  # every sample is its head, a space and a number
        for number, (line, head, word) in enumerate(zip(lines, heads, words, strict=True)):
            known = self._lines.get(head)
            before = len(labels)
            if known is None and line:
                try:
                    regular &= self._slowly(line.strip(" \t\r"), head, openmetrics, found, labels, raw)
                except ExpositionError as error:
                    self.progress = (found.scraped, len(raw))
                    raise ExpositionError(f"line {number + 1}: {error}") from None
                except CollectorError:
                    self.progress = (found.scraped + 1, len(raw))
                    raise
            elif known is not None:
                found.scraped += 1
                if known:
                    if number in exemplars:
                        self._exemplar(exemplars[number], before, known, found)
                    labels.append(known)
                    raw.append(word)
            is_sample.append(len(labels) > before)
        found.labels = tuple(labels)
        self._forget(heads)
        if regular:
            is_comment = [not line or line[0] == "#" for line in lines]
            comments = list(compress(words, is_comment))
            self._page = _Page(heads, is_sample, is_comment, comments, found.labels, found.scraped)
        return found, raw

    def _slowly(
        self, line: str, head: str, openmetrics: bool, found: Exposition, labels: list[Labels], raw: list[str]
    ) -> bool:
        """Whether the next page may hold the same line with another number at its end."""
        if not line or line[0] == "#":
            self._comment(line, found)
            return head.startswith("#") or not head
        series, end = _parsed_series(line)
        rest, exemplar = line[end:], ""
        if openmetrics:
            rest, _, exemplar = rest.partition(" # ")
        tokens = rest.split()
        if not 1 <= len(tokens) <= 2:
            raise ExpositionError(f"expected a value, got {_shown(line[end:])} after {_shown(line[:end])}")
        named = self._name_series(series) or ()
        found.scraped += 1
        if not named:
            _number(tokens[0])
        else:
            if len(tokens) == 2:
                found.timestamps_ms[len(labels)] = _timestamp(tokens[1], openmetrics)
            if exemplar:
                self._exemplar(exemplar, len(labels), named, found)
            labels.append(named)
            raw.append(tokens[0])
        regular = rest == f" {tokens[0]}"
        same = line[:end] == head
        if regular:
            self._lines[head if same else line[:end]] = named  # one string for the page and the memory of lines
        return regular and same

    def _exemplar(self, text: str, place: int, labels: Labels, found: Exposition) -> None:
        if self._last_exemplars.get(labels) != text:
            found.exemplars.append((place, _exemplar(text)))
            self._last_exemplars[labels] = text

    def _comment(self, line: str, found: Exposition) -> None:
        if line in self._comments:
            return
        match = _METADATA.fullmatch(line)
        if match is None:
            return
        kind, quoted, bare, text = match.groups()
        name = bare if quoted is None else _unescaped(quoted)
        family = self._families.setdefault(name, {})
        family[kind] = _unescaped(text.strip()) if kind == "HELP" else text.strip()
        self._comments.add(line)
        found.metadata.append(_metadata_of(name, family))

    def _forget(self, heads: list[str]) -> None:
        """Series that no longer come must not fill the memory."""
        if len(self._lines) > 2 * len(heads) + SPARE:
            self._lines = {head: self._lines[head] for head in heads if head in self._lines}
            kept = set(self._lines.values())
            self._last_exemplars = {each: text for each, text in self._last_exemplars.items() if each in kept}
        if len(self._comments) > len(heads) + SPARE:
            self._comments.clear()
            self._families.clear()


def _metadata_of(name: str, family: dict[str, str]) -> MetricMetadata:
    kind = family.get("TYPE", "unknown")
    return MetricMetadata(name, _KINDS.get(kind, kind), family.get("HELP", ""), family.get("UNIT", ""))


def _without_exemplars(lines: list[str]) -> tuple[list[str], dict[int, str]]:
    """The lines up to their exemplars, and those by line; where a label holds ` # `, the head is none that is known."""
    plain, exemplars = list(lines), {}
    for number, line in enumerate(lines):
        if " # " in line and not line.startswith("#"):
            plain[number], _, exemplars[number] = line.partition(" # ")
    return plain, exemplars


def _without_eof(lines: list[str]) -> tuple[list[str], bool]:
    """The lines before `# EOF`, and whether that is how they end."""
    end = len(lines)
    while end and not lines[end - 1]:
        end -= 1
    if end and lines[end - 1] == "# EOF":
        return lines[: end - 1], True
    return lines, False


def _parsed_series(line: str) -> tuple[Series, int]:
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
        raise ExpositionError(f"expected a metric name, got {_shown(line)}")
    end = name.end() if name else 0
    while end < len(line) and line[end] in " \t":
        end += 1
    if end >= len(line) or line[end] != "{":
        assert name is not None  # noqa: S101  (else it stands at a brace)
        return Series(name[0], {}), name.end()
    quoted, labels, end = _parsed_labels(line, end + 1)
    if name is None and not quoted:
        raise ExpositionError(f"expected a metric name, got {_shown(line)}")
    if name is not None and quoted:
        raise ExpositionError(f"metric name {_shown(quoted)} stands beside {name[0]}")
    return Series(name[0] if name else quoted, labels), end


def _parsed_labels(line: str, at: int) -> tuple[str, dict[str, str], int]:
    """From behind `{` on: a quoted metric name or "", the labels, and where they end, behind `}`."""
    name = ""
    labels: dict[str, str] = {}
    comma = True
    while (close := _END.match(line, at)) is None:
        label = _LABEL.match(line, at) if comma else None
        if label is None or (label[1] and not label[3]):
            raise ExpositionError(f"expected a label or }}, got {_shown(line[at:])}")
        key = label[1] or _unescaped(label[2])
        if not key:
            raise ExpositionError(f"a name is empty in {_shown(line)}")
        if label[3]:
            if key in labels:
                raise ExpositionError(f"label {key} stands twice in {_shown(line)}")
            labels[key] = _unescaped(label[4])
        elif name:
            raise ExpositionError(f"two metric names stand in {_shown(line)}")
        else:
            name = key
        comma = bool(label[5])
        at = label.end()
    return name, labels, close.end()


def _exemplar(text: str) -> Exemplar:
    """`{trace_id="…"} 0.3 1700000000.123`; without a time of its own it gets 0, which the scrape's replaces."""
    if not text.startswith("{"):
        raise ExpositionError(f"expected an exemplar's labels, got {_shown(text)}")
    _, labels, end = _parsed_labels(text, 1)
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


def _numbers(raw: list[str], labels: tuple[Labels, ...]) -> list[float]:
    try:
        numbers = list(map(float, raw))
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
