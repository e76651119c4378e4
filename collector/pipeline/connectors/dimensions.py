"""What tells series apart beside a span's name: its resource, and attributes that the configuration names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from collector.model.attributes import text_of
from collector.pipeline.connectors.columns import SpanColumns
from collector.pipeline.connectors.numbering import UNKNOWN, Numbering
from collector.pipeline.connectors.texts import Hashes, Places, Texts, combined, joined, text_hash

UNKNOWN_SERVICE = "unknown_service"  # as pipeline/origins.py
REMEMBERED = 8_192  # resources whose attributes are kept decoded; at 1 kB each 8 MB, which a stranger can make us keep
_ODD = re.compile("[^a-zA-Z0-9_]")
_ABSENT = np.uint64(0)


def label_name(key: str) -> str:
    """An attribute's key as the name of a label, as the OpenTelemetry specification has it for Prometheus."""
    name = _ODD.sub("_", key)
    return f"key_{name}" if name[:1].isdigit() else name


@dataclass(frozen=True, slots=True)
class Dimension:
    """An attribute of the span, else of its resource, else `default`, else nothing."""

    name: str
    default: str | None = None

    @property
    def label(self) -> str:
        return label_name(self.name)


class Resources:
    """The attributes of the resources that spans refer to, by number."""

    def __init__(self) -> None:
        self.attributes: list[dict[str, str]] = []
        self._numbers = Numbering()

    def numbers(self, spans: SpanColumns) -> Places:
        """[n]"""
        found = self._numbers.find(spans.resource_id)
        if not (missing := found == UNKNOWN).any():
            return found
        new = np.unique(spans.resource_id[missing]).tolist()
        if len(self.attributes) + len(new) > REMEMBERED:
            self.attributes.clear()
            self._numbers = Numbering()
            new = np.unique(spans.resource_id).tolist()
        for key in new:
            self._numbers.add(key, len(self.attributes))
            message = Resource.FromString(spans.resources[key].message)
            texts = {pair.key: text_of(pair.value)[1] for pair in reversed(message.attributes)}  # the first one counts
            self.attributes.append(texts | {"service.name": texts.get("service.name") or UNKNOWN_SERVICE})
        return self._numbers.find(spans.resource_id)


class Readings:
    """The values of some dimensions of the spans of one commit."""

    def __init__(
        self,
        spans: SpanColumns,
        resources: Resources,
        of: Places,
        *,
        resource_keys: Sequence[str],
        dimensions: Sequence[Dimension],
    ) -> None:
        """
        Args:
            of: The number of each span's resource.
            resource_keys: Attributes that are looked for in the resource alone.
        """
        self._resource_keys = resource_keys
        self._dimensions = dimensions
        self._resources = resources
        self._of = of
        self._found = [spans.attributes.find(dimension.name) for dimension in dimensions]
        self.hashes = self._hashes()

    def labels(self, row: int) -> dict[str, str]:
        """By name of the dimension; those that are absent are not there."""
        attributes = self._resources.attributes[self._of[row]]
        out = {key: attributes[key] for key in self._resource_keys if key in attributes}
        for dimension, (rows, texts) in zip(self._dimensions, self._found, strict=True):
            at = int(np.searchsorted(rows, row))
            if at < len(rows) and rows[at] == row:
                out[dimension.name] = texts[at]
            elif (value := attributes.get(dimension.name, dimension.default)) is not None:
                out[dimension.name] = value
        return out

    def _hashes(self) -> Hashes:
        """[n], of all values together."""
        used = np.unique(self._of)
        place = np.searchsorted(used, self._of)
        attributes = [self._resources.attributes[number] for number in used.tolist()]
        parts = [
            np.array([_hash(each.get(key)) for each in attributes], np.uint64)[place] for key in self._resource_keys
        ]
        for dimension, (rows, texts) in zip(self._dimensions, self._found, strict=True):
            values = np.array([_hash(each.get(dimension.name, dimension.default)) for each in attributes], np.uint64)
            part = values[place]
            part[rows] = texts.hashes()
            parts.append(part)
        return combined(*parts) if parts else np.zeros(len(self._of), np.uint64)


def first_of(spans: SpanColumns, keys: Sequence[str], rows: Places) -> tuple[Places, Texts]:
    """The spans among `rows` (ascending) that have one of the attributes, not empty, and the value of the first."""
    wanted = np.zeros(len(spans), np.bool_)
    wanted[rows] = True
    having: list[Places] = []
    values: list[Texts] = []
    for key in keys:
        found, texts = spans.attributes.find(key)
        fresh = wanted[found] & (texts.lengths > 0)
        wanted[found[fresh]] = False
        having.append(found[fresh])
        values.append(texts.of(np.flatnonzero(fresh)))
    found = np.concatenate([rows[:0], *having])
    order = np.argsort(found)
    return found[order], joined([joined(values).of(order)])


def _hash(text: str | None) -> int:
    if text is None:
        return int(_ABSENT)
    return _known_hash(text)


def _known_hash(text: str) -> int:
    if (known := _HASHES.get(text)) is None:
        if len(_HASHES) >= REMEMBERED:
            _HASHES.clear()
        known = _HASHES[text] = text_hash(text)
    return known


_HASHES: dict[str, int] = {}  # of the values that resources have, which repeat from commit to commit
