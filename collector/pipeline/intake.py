"""What is done to every attribute and text on its way in: secrets are masked, then the limits hold."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collector.model.attributes import ValueType
from collector.model.telemetry import Origin
from collector.pipeline.admission import Limits
from collector.pipeline.columns import any_values, key_values, numbers, offsets_of, relisted, with_texts
from collector.pipeline.redaction import Redactor


class Intake:
    """
    Beyond the limits attributes are left out and counted as dropped, and texts are cut, as an SDK does with its own
    limits (OpenTelemetry specification, "Attribute Limits").
    """

    def __init__(self, limits: Limits | None = None, redactor: Redactor | None = None) -> None:
        self._most = None if limits is None else limits.max_attributes
        self._longest = None if limits is None else limits.max_attribute_bytes
        self._redactor = redactor
        self.dropped = 0  # attributes left out
        self.truncated = 0  # values cut

    def lists(self, array: pa.ListArray, dropped: pa.UInt32Array) -> tuple[pa.ListArray, pa.Array]:
        """Lists of KeyValue as lists of {k: key, t: ValueType, v: text}, and how many attributes each row lacks."""
        if self._most is not None:
            array, dropped = self._bounded(array, dropped, self._most)
        pairs = array.values
        keys, (kinds, texts) = pairs.field("key"), key_values(pairs)
        if self._redactor is not None:
            kinds, texts = self._redactor.attributes(keys, kinds, texts)
        kinds, texts = self._cut(kinds, texts)
        return relisted(array, pa.StructArray.from_arrays([keys, kinds, texts], names=["k", "t", "v"])), dropped

    def value(self, column: pa.StructArray) -> tuple[pa.UInt8Array, pa.StringArray]:
        """The types and texts of a column of AnyValue."""
        kinds, texts = any_values(column)
        if self._redactor is not None:
            kinds, texts = self._redactor.any_values(kinds, texts)
        return self._cut(kinds, texts)

    def text(self, column: pa.StringArray) -> pa.StringArray:
        return column if self._redactor is None else self._redactor.texts(column)

    def resource(self, origin: Origin) -> Origin:
        return origin if self._redactor is None else self._redactor.resource(origin)

    def scope(self, origin: Origin) -> Origin:
        return origin if self._redactor is None else self._redactor.scope(origin)

    def _bounded(self, array: pa.ListArray, dropped: pa.UInt32Array, most: int) -> tuple[pa.ListArray, pa.Array]:
        """The first `most` of each list."""
        counts = np.diff(offsets_of(array))
        over = np.maximum(counts - most, 0)
        lost = int(over.sum())
        if not lost:
            return array, dropped
        self.dropped += lost
        place = np.arange(len(array.values)) - np.repeat(offsets_of(array)[:-1], counts)
        offsets = np.concatenate(([0], np.cumsum(counts - over))).astype(np.int32)
        kept = _rows(array.values, np.flatnonzero(place < most))
        total = np.minimum(numbers(dropped).astype(np.int64) + over, np.iinfo(np.uint32).max)
        return pa.ListArray.from_arrays(pa.array(offsets), kept), pa.array(total.astype(np.uint32))

    def _cut(self, kinds: pa.UInt8Array, texts: pa.StringArray) -> tuple[pa.UInt8Array, pa.StringArray]:
        """An array or map that is cut is no JSON any more, so it becomes a string."""
        if self._longest is None:
            return kinds, texts
        long = np.flatnonzero(np.diff(offsets_of(texts)) > self._longest)
        if not len(long):
            return kinds, texts
        self.truncated += len(long)
        types = numbers(kinds).copy()
        types[long] = ValueType.STRING
        changed = {row: texts[row].as_py().encode()[: self._longest].decode(errors="ignore") for row in long.tolist()}
        return pa.array(types), with_texts(texts, changed)


def _rows(values: pa.StructArray, rows: NDArray[np.int64]) -> pa.StructArray:
    """Copied, so that the result starts at offset 0 throughout (columns.py)."""
    taken = [values.field(index) for index in range(values.type.num_fields)]
    columns = [
        _rows(column, rows)
        if pa.types.is_struct(column.type)
        else pa.array([column[row].as_py() for row in rows.tolist()], column.type)
        for column in taken
    ]
    return pa.StructArray.from_arrays(columns, fields=list(values.type))


AS_SENT = Intake()
