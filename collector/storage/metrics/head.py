"""The newest samples of one target, uncompressed: columns are series, rows are timestamps."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from collector.model.series import ABSENT, ABSENT_BITS
from collector.storage.metrics.columns import ColumnSet
from collector.storage.metrics.put import Put

FIRST_ROWS = 32  # a target that exported a few times costs little
FIRST_SERIES = 16
GROWTH = 1.25  # of both axes: what is allocated ahead is resident memory, so grow in small steps


class Head:
    """
    One writer. Readers must hold the store's lock, as the arrays change in place and are replaced when they grow.

    values[column, row]: one series lies contiguously, which is how queries read it.
    """

    def __init__(self) -> None:
        self.ids: NDArray[np.uint32] = np.empty(0, np.uint32)  # column to series id
        self._columns: dict[int, int] = {}
        self._finder: ColumnSet | None = None  # of `ids` as they are now, once somebody asked
        self._timestamps: NDArray[np.int64] = np.empty(0, np.int64)
        self._values: NDArray[np.float64] = np.empty((0, 0))
        self.rows = 0
        self.epoch = 0  # changes when a column's number may have changed

    @property
    def timestamps(self) -> NDArray[np.int64]:
        return self._timestamps[: self.rows]

    @property
    def values(self) -> NDArray[np.float64]:
        return self._values[: len(self.ids), : self.rows]

    @property
    def nbytes(self) -> int:
        return self._values.nbytes + self._timestamps.nbytes

    def columns_of(self, ids: NDArray[np.uint32]) -> NDArray[np.intp]:
        """The columns of these series; unknown ones get new columns."""
        known = self._columns
        new = [number for number in ids.tolist() if number not in known]
        if new:
            for column, number in enumerate(new, len(self.ids)):
                known[number] = column
            first = len(self.ids)
            self.ids = np.concatenate([self.ids, np.array(new, np.uint32)])
            self._finder = None
            self._reserve(rows=self.rows)
            self._values[first : len(self.ids), : self.rows] = ABSENT
        return np.fromiter((known[number] for number in ids.tolist()), np.intp, len(ids))

    def find(self, ids: NDArray[np.uint32]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """(positions in `ids`, columns) of those that have a column."""
        if self._finder is None:
            self._finder = ColumnSet(self.ids)
        return self._finder.find(ids)

    def put(self, timestamps_ms: NDArray[np.int64], columns: NDArray[np.intp], values: NDArray[np.float64]) -> Put:
        """
        Add samples at the end or between earlier ones.

        Args:
            timestamps_ms: int64[n], n > 0, strictly increasing.
            columns: The column of each series, from `columns_of`.
            values: float64[s, n]; ABSENT where there is no sample.
        """
        if not self.rows or timestamps_ms[0] > self._timestamps[self.rows - 1]:
            start = self._extend(timestamps_ms)
            self._values[columns, start : self.rows] = values
            return Put(int(np.count_nonzero(values.view(np.uint64) != ABSENT_BITS)))
        self._make_room(timestamps_ms)
        return self._merge(timestamps_ms, columns, values)

    def _extend(self, timestamps_ms: NDArray[np.int64]) -> int:
        start, end = self.rows, self.rows + len(timestamps_ms)
        self._reserve(rows=end)
        self._timestamps[start:end] = timestamps_ms
        self._values[: len(self.ids), start:end] = ABSENT
        self.rows = end
        return start

    def _make_room(self, timestamps_ms: NDArray[np.int64]) -> None:
        """Insert rows, empty ones, for those timestamps that have none."""
        joined = np.union1d(self.timestamps, timestamps_ms)
        if len(joined) == self.rows:
            return
        before, first = self.rows, int(np.searchsorted(self.timestamps, timestamps_ms[0]))
        places = np.searchsorted(joined, self._timestamps[first:before])
        width = len(self.ids)
        moved = self._values[:width, first:before].copy()
        self._reserve(rows=len(joined))
        self._timestamps[: len(joined)] = joined
        self._values[:width, first : len(joined)] = ABSENT
        self._values[:width, places] = moved
        self.rows = len(joined)

    def _merge(self, timestamps_ms: NDArray[np.int64], columns: NDArray[np.intp], values: NDArray[np.float64]) -> Put:
        cells = np.ix_(columns, np.searchsorted(self.timestamps, timestamps_ms))
        there, given = self._values[cells].view(np.uint64), values.view(np.uint64)
        free, present = there == ABSENT_BITS, given != ABSENT_BITS
        self._values[cells] = np.where(free, given, there).view(np.float64)
        stored = int(np.count_nonzero(free & present))
        taken = present & ~free
        if not taken.any():
            return Put(stored)
        other = taken & (there != given)
        conflicts = int(np.count_nonzero(other))
        repeated = int(np.count_nonzero(taken)) - conflicts
        if not conflicts:
            return Put(stored, repeated)
        series, at = divmod(int(np.argmax(other)), len(timestamps_ms))
        return Put(stored, repeated, conflicts, (series, int(timestamps_ms[at])))

    def _reserve(self, *, rows: int) -> None:
        height, width = self._values.shape
        if rows <= width and len(self.ids) <= height:
            return
        height = height if len(self.ids) <= height else max(FIRST_SERIES, len(self.ids), int(height * GROWTH))
        width = width if rows <= width else max(FIRST_ROWS, rows, int(width * GROWTH))
        values = np.empty((height, width))
        old = self._values[:, : self.rows]
        values[: len(old), : self.rows] = old
        timestamps = np.empty(width, np.int64)
        timestamps[: self.rows] = self.timestamps
        self._values, self._timestamps = values, timestamps

    def up_to(self, through_ms: int) -> tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.float64]] | None:
        """(series ids, timestamps, values) of the rows up to `through_ms`, only series with a sample there, copied."""
        rows = int(np.searchsorted(self.timestamps, through_ms, side="right"))
        if rows == 0:
            return None
        values = self.values[:, :rows]
        present = (values.view(np.uint64) != ABSENT_BITS).any(axis=1)
        return self.ids[present], self._timestamps[:rows].copy(), values[present]

    def drop(self, through_ms: int) -> None:
        """Forget the rows up to `through_ms`, and the series that have no later sample."""
        rows = int(np.searchsorted(self.timestamps, through_ms, side="right"))
        if rows == 0:
            return
        rest = self.values[:, rows:]
        present = (rest.view(np.uint64) != ABSENT_BITS).any(axis=1)
        self._timestamps = self._timestamps[rows : self.rows].copy()
        self._values = np.ascontiguousarray(rest[present])
        self.ids = self.ids[present]
        self._finder = None
        self._columns = {number: column for column, number in enumerate(self.ids.tolist())}
        self.rows -= rows
        self.epoch += 1
