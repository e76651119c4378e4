"""Finding series in a rectangle of samples by their ids."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

REMEMBERED = 32  # answers of a rectangle; rules and open dashboards ask for as many sets of series of one target


class ColumnSet:
    """The series of a rectangle, in the order of its columns. Immutable; chunks of a steady target share one."""

    def __init__(self, ids: NDArray[np.uint32]) -> None:
        self.ids = ids
        # By the identity of what was asked for, which is kept so that no other array takes its place.
        self._found: dict[int, tuple[NDArray[np.uint32], NDArray[np.intp], NDArray[np.intp]]] = {}
        self._order = np.argsort(ids, kind="stable")
        self._sorted = ids[self._order]

    def find(self, wanted: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """
        (positions in `wanted`, columns) of those that are here.

        The answer for an array is remembered: do not change `wanted` afterwards, nor what is returned.
        """
        known = self._found.get(id(wanted))
        if known is not None:
            return known[1], known[2]
        places, columns = self._looked_up(wanted)
        if len(self._found) >= REMEMBERED:
            self._found.clear()
        self._found[id(wanted)] = (wanted, places, columns)
        return places, columns

    def _looked_up(self, wanted: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        if not len(self.ids):
            return np.empty(0, np.intp), np.empty(0, np.intp)
        at = self._sorted.searchsorted(wanted)
        here = self._sorted.take(at, mode="clip") == wanted
        if here.all():
            return np.arange(len(wanted)), self._order[at]
        return (places := np.flatnonzero(here)), self._order[at[places]]
