"""Small numbers for hashes, looked up many at a time."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.pipeline.connectors.texts import Hashes, Places

UNKNOWN = -1


class Numbering:
    """A map from 64-bit keys to numbers from 0 on."""

    def __init__(self) -> None:
        self._keys: Hashes = np.empty(0, np.uint64)
        self._numbers: NDArray[np.int64] = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self._keys)

    def find(self, keys: Hashes) -> Places:
        """[n]; UNKNOWN where there is none."""
        if not len(self._keys):
            return np.full(len(keys), UNKNOWN, np.int64)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        return np.where(self._keys[at] == keys, self._numbers[at], UNKNOWN)

    def add(self, key: int, number: int) -> None:
        """Of a key that has none yet."""
        at = int(np.searchsorted(self._keys, np.uint64(key)))
        self._keys = np.insert(self._keys, at, np.uint64(key))
        self._numbers = np.insert(self._numbers, at, number)

    def replace(self, keys: Hashes, numbers: Places) -> None:
        """By other pairs, whose keys differ from one another."""
        order = np.argsort(keys)
        self._keys, self._numbers = keys[order], numbers[order]

    def items(self) -> tuple[Hashes, Places]:
        """By key."""
        return self._keys, self._numbers
