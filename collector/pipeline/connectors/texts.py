"""
Columns of text, looked at all at once: their hashes, and which of them equals a word.

The hash is of 64 bits and differs from process to process, so that nobody can choose names that collide. Two of 100,000
names collide with probability 3e-10.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Places = NDArray[np.int64]

_WORD = 8
# The constants of the finaliser of SplitMix64 (Steele, Lea, Flood 2014), which spreads each bit over all 64.
_FIRST, _SECOND, _STEP = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))
_SEED = np.uint64(secrets.randbits(64))
# Which bytes of the last word of a text are its own, by how many are.
_MASKS = np.array([(1 << (8 * count)) - 1 for count in range(_WORD + 1)], np.uint64)


def mixed(words: Hashes) -> Hashes:
    """Each word spread over all bits; one to one."""
    out = words ^ (words >> _SHIFTS[0])
    out *= _FIRST
    out ^= out >> _SHIFTS[1]
    out *= _SECOND
    out ^= out >> _SHIFTS[2]
    return out


def combined(*parts: Hashes) -> Hashes:
    """One hash [n] of several [n] or [1], in their order."""
    out = np.asarray(parts[0], np.uint64)
    for part in parts[1:]:
        out = mixed(out * _STEP + part)
    return out


@dataclass(frozen=True, slots=True)
class Texts:
    """UTF-8 texts that lie in one buffer; where they start, and how many bytes each has."""

    data: NDArray[np.uint8]  # for hashes with _WORD bytes more than the texts have
    starts: NDArray[Any]  # [n], int64, or int32 where Arrow has them so
    lengths: NDArray[Any]  # [n]

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, row: int) -> str:
        start = int(self.starts[row])
        return self.data[start : start + int(self.lengths[row])].tobytes().decode(errors="replace")

    def of(self, rows: Places) -> Texts:
        return Texts(self.data, self.starts[rows], self.lengths[rows])

    def equal(self, word: str) -> Places:
        """The rows whose text is `word`."""
        wanted = np.frombuffer(word.encode(), np.uint8)
        rows = np.flatnonzero(self.lengths == len(wanted))
        rows = rows.astype(np.int64, copy=False)
        same = (self.data[self.starts[rows][:, None] + np.arange(len(wanted))] == wanted).all(axis=1)
        found: Places = rows[same]
        return found

    def hashes(self) -> Hashes:
        """[n], equal for equal texts."""
        count = len(self)
        if not count:
            return np.empty(0, np.uint64)
        # At least one word each, so that every text has a part in the sum below.
        sizes = np.maximum(1, (self.lengths + _WORD - 1) // _WORD)
        begins = np.cumsum(sizes) - sizes
        row = np.repeat(np.arange(count), sizes)
        place = np.arange(len(row)) - begins[row]
        # Eight bytes from each byte on: the words of texts that start anywhere.
        sliding = np.ndarray((len(self.data) - _WORD + 1,), "<u8", self.data, strides=(1,))
        own = np.minimum(self.lengths[row] - place * _WORD, _WORD)
        words = sliding[self.starts[row] + place * _WORD] & _MASKS[own]
        spread = mixed(words + (place.astype(np.uint64) + np.uint64(1)) * _STEP + _SEED)
        return mixed(np.add.reduceat(spread, begins) + self.lengths.astype(np.uint64))


def view_of(array: pa.StringArray) -> Texts:
    """The texts where they lie; a null counts as empty. To be compared and taken from; for hashes see `joined`."""
    offsets = offsets_of(array)
    buffer = array.buffers()[2]
    data = np.frombuffer(buffer, np.uint8) if buffer else _NOTHING
    return Texts(data, offsets[:-1], np.diff(offsets))


def joined(parts: Sequence[Texts]) -> Texts:
    """Copies of the texts, one after the other and dense, so that they can be hashed."""
    lengths = np.concatenate([_NO_PLACES, *(part.lengths for part in parts)])
    data = [_bytes_of(part) for part in parts]
    return Texts(np.concatenate([*data, np.zeros(_WORD, np.uint8)]), np.cumsum(lengths) - lengths, lengths)


def texts_of(arrays: Sequence[pa.StringArray]) -> Texts:
    """The texts of several arrays, one after the other; a null counts as empty."""
    return joined([view_of(array) for array in arrays])


def _bytes_of(texts: Texts) -> NDArray[np.uint8]:
    if not len(texts):
        return _NOTHING
    begin, end = int(texts.starts[0]), int(texts.starts[-1] + texts.lengths[-1])
    lengths = texts.lengths.astype(np.int64)
    if end - begin == lengths.sum() and (np.diff(texts.starts) == lengths[:-1]).all():
        return texts.data[begin:end]
    shift = np.repeat(texts.starts - (np.cumsum(lengths) - lengths), lengths)
    gathered: NDArray[np.uint8] = texts.data[np.arange(len(shift)) + shift]
    return gathered


def text_hash(text: str) -> int:
    """As `Texts.hashes`, of one."""
    return int(texts_of([pa.array([text], pa.string())]).hashes()[0])


def offsets_of(array: pa.ListArray | pa.StringArray) -> NDArray[np.int32]:
    """[n + 1], also of a slice."""
    return np.frombuffer(array.buffers()[1], np.int32, len(array) + 1, array.offset * 4)


_NOTHING = np.empty(0, np.uint8)
_NO_PLACES = np.empty(0, np.int64)
