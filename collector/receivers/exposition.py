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
from itertools import compress
from typing import NamedTuple

from collector.errors import CollectorError
from collector.model.series import Exemplar, Labels, MetricMetadata, NativeHistogram
from collector.receivers.exposition_line import (
    QUOTED,
    ExpositionError,
    Series,
    parsed_exemplar,
    parsed_number,
    parsed_numbers,
    parsed_series,
    parsed_timestamp,
    shown,
    unescaped,
)

_METADATA = re.compile(rf"#[ \t]+(HELP|TYPE|UNIT)[ \t]+(?:{QUOTED}|(\S+))[ \t]*(.*)")
_KINDS = {"untyped": "unknown"}  # the text format's word for OpenMetrics' unknown
SPARE = 500  # remembered lines that no scrape brought, before the memory is cleaned


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
        found.values = parsed_numbers(raw, found.labels)
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
        series, end = parsed_series(line)
        rest, exemplar = line[end:], ""
        if openmetrics:
            rest, _, exemplar = rest.partition(" # ")
        tokens = rest.split()
        if not 1 <= len(tokens) <= 2:
            raise ExpositionError(f"expected a value, got {shown(line[end:])} after {shown(line[:end])}")
        named = self._name_series(series) or ()
        found.scraped += 1
        if not named:
            parsed_number(tokens[0])
        else:
            if len(tokens) == 2:
                found.timestamps_ms[len(labels)] = parsed_timestamp(tokens[1], openmetrics)
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
            found.exemplars.append((place, parsed_exemplar(text)))
            self._last_exemplars[labels] = text

    def _comment(self, line: str, found: Exposition) -> None:
        if line in self._comments:
            return
        match = _METADATA.fullmatch(line)
        if match is None:
            return
        kind, quoted, bare, text = match.groups()
        name = bare if quoted is None else unescaped(quoted)
        family = self._families.setdefault(name, {})
        family[kind] = unescaped(text.strip()) if kind == "HELP" else text.strip()
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
