"""Finding series in a rectangle of samples by their ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class ColumnSet:
    """The series of a rectangle, in the order of its columns. Immutable; chunks of a steady target share one."""

    def __init__(self, ids: NDArray[np.uint32]) -> None:
        self.ids = ids
        self._order = np.argsort(ids, kind="stable")
        self._sorted = ids[self._order]

    def find(self, wanted: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """(positions in `wanted`, columns) of those that are here."""
        if not len(self.ids):
            return np.empty(0, np.intp), np.empty(0, np.intp)
        at = self._sorted.searchsorted(wanted)
        here = self._sorted.take(at, mode="clip") == wanted
        if here.all():
            return np.arange(len(wanted)), self._order[at]
        return (places := np.flatnonzero(here)), self._order[at[places]]
