"""The forms in which /federate answers, and which one a request asks for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Any, NamedTuple, Protocol

import numpy as np

from collector.api.prometheus_floats import float_texts
from collector.model.histogram import NativeHistogram
from collector.model.metric_family import (
    CONTENT_TYPE,
    GAUGE_HISTOGRAM,
    HISTOGRAM,
    PROTO,
    UNTYPED,
    metric_family,
)
from collector.model.series import METRIC_NAME, Labels

TEXT_TYPE = "text/plain; version=0.0.4; charset=utf-8"  # expfmt.FmtText
UTF8_TYPE = "text/plain; version=1.0.0; charset=utf-8; escaping=allow-utf-8"
PROTOBUF_TYPE = f"{CONTENT_TYPE}; proto={PROTO}; encoding=delimited"
SERIES_PER_PIECE = 5_000
_ODD = re.compile(r"^[0-9]|[^A-Za-z0-9_:]", re.ASCII)


class Newest(NamedTuple):
    """The newest sample of a series."""

    name: str
    labels: Labels
    value: float | NativeHistogram
    timestamp_ms: int
    ended: bool = False  # by a staleness marker

    @property
    def stale(self) -> bool:
        return self.ended or (isinstance(self.value, NativeHistogram) and self.value.stale)


class Format(Protocol):
    @property
    def content_type(self) -> str: ...

    def pieces(self, found: Sequence[Newest], added: Mapping[str, str]) -> Iterator[bytes]:
        """
        Args:
            found: By name.
            added: Labels for series that have none of the name.
        """
        ...


def format_for(accept: str) -> Format:
    """The first that is asked for of protobuf and text; text if it is neither."""
    utf8 = False
    for kind, parameters in _offers(accept):
        utf8 = parameters.get("escaping", "allow-utf-8" if utf8 else "") == "allow-utf-8"
        if kind == CONTENT_TYPE and (parameters.get("proto"), parameters.get("encoding")) == (PROTO, "delimited"):
            return ProtobufFormat(utf8)
        if kind == "text/plain" and parameters.get("version", "") in ("", "0.0.4", "1.0.0"):
            return TextFormat(utf8 and parameters.get("version") == "1.0.0")
    return TextFormat(False)


def _offers(accept: str) -> list[tuple[str, dict[str, str]]]:
    """The heaviest first, of equal ones the first."""
    offers = []
    for offer in accept.split(","):
        kind, *rest = (part.strip() for part in offer.split(";"))
        parameters = dict(part.partition("=")[::2] for part in rest)
        try:
            weight = float(parameters.get("q", "1"))
        except ValueError:
            weight = 0.0
        offers.append((weight, kind.lower(), parameters))
    return [(kind, parameters) for weight, kind, parameters in sorted(offers, key=lambda one: -one[0]) if weight > 0]


def escaped(name: str) -> str:
    """A name as every scraper reads it: other characters become underscores (model.EscapeName, UnderscoreEscaping)."""
    return _ODD.sub("_", name) if _ODD.search(name) else name


def _pairs(one: Newest, added: Mapping[str, str]) -> list[tuple[str, str]]:
    own = {key for key, _ in one.labels}
    pairs = [pair for pair in one.labels if pair[0] != METRIC_NAME]
    return pairs + [(key, added[key]) for key in sorted(added) if key not in own]


@dataclass(frozen=True, slots=True)
class TextFormat:
    utf8: bool  # names of any characters, in quotes; else they are escaped

    @property
    def content_type(self) -> str:
        return UTF8_TYPE if self.utf8 else TEXT_TYPE

    def pieces(self, found: Sequence[Newest], added: Mapping[str, str]) -> Iterator[bytes]:
        floats = [one for one in found if isinstance(one.value, float)]
        texts = float_texts(np.array([one.value for one in floats], dtype=np.float64)).to_pylist()
        family = ""
        lines: list[str] = []
        for one, text in zip(floats, texts, strict=True):
            if one.name != family:
                family = one.name
                lines.append(f"# TYPE {self._name(family)} untyped\n")
            labels = [f'{self._name(key)}="{_value(value)}"' for key, value in _pairs(one, added)]
            shown = self._name(one.name)
            head = f"{{{','.join([shown, *labels])}}}" if shown.startswith('"') else f"{shown}{{{','.join(labels)}}}"
            lines.append(f"{head} {text} {one.timestamp_ms}\n")
            if len(lines) >= SERIES_PER_PIECE:
                yield "".join(lines).encode()
                lines = []
        yield "".join(lines).encode()

    def _name(self, name: str) -> str:
        if not _ODD.search(name):
            return name
        return f'"{_value(name)}"' if self.utf8 else escaped(name)


def _value(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


@dataclass(frozen=True, slots=True)
class ProtobufFormat:
    utf8: bool

    @property
    def content_type(self) -> str:
        return f"{PROTOBUF_TYPE}; escaping=allow-utf-8" if self.utf8 else PROTOBUF_TYPE

    def pieces(self, found: Sequence[Newest], added: Mapping[str, str]) -> Iterator[bytes]:
        """A family for each name, and one more where it has both floats and histograms, as in Prometheus."""
        for (name, kind), group in groupby(found, key=lambda one: (one.name, _kind(one.value))):
            series = iter(group)
            while part := list(islice(series, SERIES_PER_PIECE)):
                family = metric_family()(name=self._name(name), type=kind)
                for one in part:
                    metric = family.metric.add(timestamp_ms=one.timestamp_ms)
                    for key, value in _pairs(one, added):
                        metric.label.add(name=self._name(key), value=value)
                    if isinstance(one.value, NativeHistogram):
                        _fill(metric.histogram, one.value)
                    else:
                        metric.untyped.value = one.value
                        metric.untyped.SetInParent()  # a value of 0 is not written, its message is
                body = family.SerializeToString()
                yield _varint(len(body)) + body

    def _name(self, name: str) -> str:
        return name if self.utf8 else escaped(name)


def _kind(value: float | NativeHistogram) -> int:
    if not isinstance(value, NativeHistogram):
        return UNTYPED
    return GAUGE_HISTOGRAM if value.gauge else HISTOGRAM


def _fill(sent: Any, histogram: NativeHistogram) -> None:
    sent.sample_count_float = histogram.count
    sent.sample_sum = histogram.sum
    sent.schema = histogram.schema
    sent.zero_threshold = histogram.zero_threshold
    sent.zero_count_float = histogram.zero_count
    for spans, counts, index, held in (
        (sent.positive_span, sent.positive_count, histogram.positive_index, histogram.positive),
        (sent.negative_span, sent.negative_count, histogram.negative_index, histogram.negative),
    ):
        counts.extend(held.tolist())
        end = 0
        for run in np.split(index.astype(np.int64), np.flatnonzero(np.diff(index.astype(np.int64)) > 1) + 1):
            if len(run):
                spans.add(offset=int(run[0]) - end, length=len(run))
                end = int(run[-1]) + 1
    if not len(histogram.positive_index):  # by its spans a scraper knows a native histogram
        sent.positive_span.add(offset=0, length=0)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])
