"""The inverted index: label name to label value to series ids. Answers matchers; knows nothing of samples."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence, Sized

import numpy as np
from numpy.typing import NDArray

from collector.model.series import Labels, Matcher, MatchOp

Ids = NDArray[np.uint32]
_ID = "I"  # array's unsigned int, four bytes everywhere CPython runs; as ids only grow, each list stays sorted


class InvertedIndex:
    def __init__(self) -> None:
        self._all = array(_ID)
        self._postings: dict[str, dict[str, array[int]]] = {}

    def __len__(self) -> int:
        return len(self._all)

    def add(self, series: int, labels: Labels) -> None:
        """`series` is greater than every id before it."""
        self._all.append(series)
        for name, value in labels:
            values = self._postings.setdefault(name, {})
            ids = values.get(value)
            if ids is None:
                ids = values[value] = array(_ID)
            ids.append(series)

    @property
    def postings(self) -> Mapping[str, Mapping[str, Sized]]:
        """Label name to value to series ids, to look at only."""
        return self._postings

    def match(self, matchers: Sequence[Matcher]) -> Ids:
        """
        The series that satisfy every matcher, ascending; all of them if there is no matcher.

        Raises:
            BadRequestError: a regular expression does not compile.
        """
        found: Ids | None = None
        excluded: list[Ids] = []
        for matcher in matchers:
            if matcher.matches(""):
                excluded.append(self._union(matcher, wanted=False))
                continue
            ids = self._union(matcher, wanted=True)
            found = ids if found is None else np.intersect1d(found, ids, assume_unique=True)
            if not len(found):
                return found
        if found is None:
            found = np.array(self._all, np.uint32)
        for ids in excluded:
            found = np.setdiff1d(found, ids, assume_unique=True)
        return found

    def _union(self, matcher: Matcher, *, wanted: bool) -> Ids:
        """Series that have the label with a value that the matcher accepts (or, not wanted, refuses)."""
        values = self._postings.get(matcher.name, {})
        chosen: Iterable[array[int]]
        if matcher.op is MatchOp.EQUAL and wanted:
            chosen = (values[matcher.value],) if matcher.value in values else ()
        else:
            chosen = (ids for value, ids in values.items() if matcher.matches(value) is wanted)
        lists = [np.array(ids, np.uint32) for ids in chosen]
        if len(lists) == 1:
            return lists[0]
        # A series has one value of a label, so the lists are disjoint.
        return np.sort(np.concatenate(lists)) if lists else np.empty(0, np.uint32)
