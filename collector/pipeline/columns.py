"""
Arrow columns looked at through NumPy, without copying.

Every array that ptars makes starts at offset 0 and is not a slice, which these functions rely on. `pyarrow.compute`
would do some of this too, but costs 16 MB of memory to import.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from opentelemetry.proto.common.v1.common_pb2 import ArrayValue, KeyValueList

from collector.errors import BadRequestError
from collector.model.attributes import ValueType, array_text, map_text


def offsets_of(array: pa.ListArray | pa.BinaryArray | pa.StringArray) -> NDArray[np.int32]:
    """[n + 1]; row i holds what stands from offsets[i] to offsets[i + 1]."""
    return np.frombuffer(array.buffers()[1], np.int32, len(array) + 1)


def parents_of(array: pa.ListArray) -> NDArray[np.int64]:
    """For each value of all the lists, the row whose list it is in."""
    return np.repeat(np.arange(len(array)), np.diff(offsets_of(array)))


def relisted(array: pa.ListArray, values: pa.Array) -> pa.ListArray:
    """The same lists, of other values."""
    offsets = pa.Array.from_buffers(pa.int32(), len(array) + 1, [None, array.buffers()[1]])
    return pa.ListArray.from_arrays(offsets, values)


def present(array: pa.Array) -> NDArray[np.bool_]:
    """Which rows are not null."""
    bitmap = array.buffers()[0]
    return np.ones(len(array), np.bool_) if bitmap is None else _bits(bitmap, len(array))


def _bits(bitmap: pa.Buffer, count: int) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(bitmap, np.uint8), count=count, bitorder="little").view(np.bool_)


def numbers(array: pa.Array) -> NDArray[Any]:
    """The values of a column of integers or doubles; where null, whatever stands there."""
    return np.frombuffer(array.buffers()[1], array.type.to_pandas_dtype(), len(array))


def words(array: pa.BinaryArray, width: int) -> tuple[NDArray[np.uint64], NDArray[np.bool_], NDArray[np.bool_]]:
    """
    Ids as big-endian 64-bit words.

    Returns:
        Words [n, width / 8], 0 where the length is not `width`; which rows have that length; which rows are empty.
    """
    offsets = offsets_of(array)
    lengths = np.diff(offsets)
    fits = lengths == width
    data = np.frombuffer(array.buffers()[2] or b"", np.uint8)
    if fits.all():
        rows = data[offsets[0] : offsets[-1]] if len(array) else np.empty(0, np.uint8)
        return rows.view(">u8").astype(np.uint64).reshape(-1, width // 8), fits, lengths == 0
    out = np.zeros((len(array), width // 8), np.uint64)
    if fits.any():
        at = offsets[:-1][fits][:, None] + np.arange(width)
        out[fits] = data[at].reshape(-1).view(">u8").astype(np.uint64).reshape(-1, width // 8)
    return out, fits, lengths == 0


def with_texts(column: pa.StringArray, changed: Mapping[int, str]) -> pa.StringArray:
    """`column` with other texts in some rows."""
    if not changed:
        return column
    rows = column.to_pylist()
    for row, text in changed.items():
        rows[row] = text
    return pa.array(rows, pa.string())


def key_values(pairs: pa.StructArray) -> tuple[pa.UInt8Array, pa.StringArray]:
    """As `any_values`, of a column of KeyValue."""
    return any_values(pairs.field("value"))


def any_values(values: pa.StructArray) -> tuple[pa.UInt8Array, pa.StringArray]:
    """
    The types and texts (model/attributes.py) of a column of AnyValue.

    Raises:
        BadRequestError: an array or a map inside is malformed, or nested too deep (100 levels, protobuf's own limit).
    """
    count = len(values)
    kinds = np.zeros(count, np.uint8)
    strings = values.field("string_value")
    kinds[present(strings)] = ValueType.STRING
    texts: NDArray[np.object_] | None = None
    for name, kind, read in _OTHERS:
        column = values.field(name)
        if column.null_count == count:
            continue
        here = present(column)
        kinds[here] = kind
        if texts is None:
            texts = np.full(count, b"", object)
        texts[here] = read(column, here)
    return pa.array(kinds), strings if texts is None else _merged(strings, kinds == ValueType.STRING, texts)


def _merged(strings: pa.StringArray, is_string: NDArray[np.bool_], texts: NDArray[np.object_]) -> pa.StringArray:
    """`strings` where `is_string`, elsewhere `texts`. A null string has no bytes, so the bytes stand in row order."""
    others = texts[~is_string].tolist()
    lengths = np.diff(offsets_of(strings)).astype(np.int64)
    lengths[~is_string] = np.fromiter(map(len, others), np.int64, len(others))
    offsets = np.zeros(len(strings) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    if offsets[-1] > np.iinfo(np.int32).max:
        raise BadRequestError(f"attribute values of {offsets[-1]} bytes in one request exceed 2147483647")
    data = np.empty(offsets[-1], np.uint8)
    from_string = np.repeat(is_string, lengths)
    data[from_string] = np.frombuffer(strings.buffers()[2] or b"", np.uint8)[: offsets_of(strings)[-1]]
    data[~from_string] = np.frombuffer(b"".join(others), np.uint8)
    return pa.StringArray.from_buffers(len(strings), pa.py_buffer(offsets.astype(np.int32)), pa.py_buffer(data))


def _ints(column: pa.Array, here: NDArray[np.bool_]) -> list[bytes]:
    return [b"%d" % number for number in numbers(column)[here].tolist()]


def _doubles(column: pa.Array, here: NDArray[np.bool_]) -> list[bytes]:
    return [repr(number).encode() for number in numbers(column)[here].tolist()]


def _bools(column: pa.Array, here: NDArray[np.bool_]) -> list[bytes]:
    return [b"true" if flag else b"false" for flag in _bits(column.buffers()[1], len(column))[here].tolist()]


def _bytes(column: pa.Array, here: NDArray[np.bool_]) -> list[bytes]:
    return [base64.b64encode(raw) for raw in _raw(column, here)]


def _arrays(column: pa.Array, here: NDArray[np.bool_]) -> list[bytes]:
    return _nested(column, here, lambda raw: array_text(ArrayValue.FromString(raw).values))


def _maps(column: pa.Array, here: NDArray[np.bool_]) -> list[bytes]:
    return _nested(column, here, lambda raw: map_text(KeyValueList.FromString(raw).values))


def _nested(column: pa.Array, here: NDArray[np.bool_], text: Callable[[bytes], str]) -> list[bytes]:
    raws = _raw(column, here)
    try:
        known = {raw: text(raw).encode() for raw in set(raws)}
    except (DecodeError, RecursionError) as error:
        raise BadRequestError(f"malformed or too deeply nested attribute value: {error}") from error
    return [known[raw] for raw in raws]


def _raw(column: pa.Array, here: NDArray[np.bool_]) -> list[bytes]:
    return [raw for raw, wanted in zip(column.to_pylist(), here.tolist(), strict=True) if wanted]


_Reader = Callable[[pa.Array, NDArray[np.bool_]], list[bytes]]
_OTHERS: Sequence[tuple[str, ValueType, _Reader]] = (
    ("int_value", ValueType.INT, _ints),
    ("bool_value", ValueType.BOOL, _bools),
    ("double_value", ValueType.DOUBLE, _doubles),
    ("array_value", ValueType.ARRAY, _arrays),
    ("kvlist_value", ValueType.MAP, _maps),
    ("bytes_value", ValueType.BYTES, _bytes),
)
