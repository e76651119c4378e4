"""Who calls and who is called: services with their dimensions, databases, virtual nodes; known by a hash."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from collector.model.labels import Labels
from collector.pipeline.connectors.numbering import UNKNOWN, Numbering
from collector.pipeline.connectors.texts import Hashes, combined, text_hash

LIMIT = 10_000  # remembered; at 200 bytes each 2 MB, which a stranger can make us keep
NEW_AT_ONCE = 256  # named in one commit; made-up names must not hold up the others
_NAMED = np.array([1], np.uint64)  # what sets a bare name apart from a service


class Party(NamedTuple):
    name: str
    dimensions: Labels = ()  # their labels, without the prefix of a side


class Parties:
    def __init__(self) -> None:
        self._numbers = Numbering()
        self._parties: list[Party] = []
        self._names: dict[str, Hashes] = {}  # the keys of the few that the code itself names

    def get(self, key: int) -> Party | None:
        """None: it is one of more than are remembered."""
        number = int(self._numbers.find(np.array([key], np.uint64))[0])
        return None if number == UNKNOWN else self._parties[number]

    def remember(self, keys: Hashes, party: Callable[[int], Party]) -> None:
        """
        Args:
            party: Of the place of a key among `keys`.
        """
        missing = np.flatnonzero(self._numbers.find(keys) == UNKNOWN)
        if not len(missing):
            return
        distinct, first = np.unique(keys[missing], return_index=True)
        room = max(0, min(NEW_AT_ONCE, LIMIT - len(self._parties)))
        for key, place in zip(distinct[:room].tolist(), missing[first[:room]].tolist(), strict=True):
            self._numbers.add(key, len(self._parties))
            self._parties.append(party(place))

    def named(self, name: str) -> int:
        """The key of a party that has but a name."""
        key = self._names.get(name)
        if key is None:
            key = self._names[name] = name_keys(np.array([text_hash(name)], np.uint64))
        self.remember(key, lambda _: Party(name))
        return int(key[0])

    def keep(self, used: Callable[[], Hashes]) -> None:
        """Make room, once there is none, by forgetting those that nothing refers to."""
        if len(self._parties) < LIMIT:
            return
        keys, numbers = self._numbers.items()
        alive = np.isin(keys, used())
        self._parties = [self._parties[number] for number in numbers[alive].tolist()]
        self._numbers.replace(keys[alive], np.arange(len(self._parties)))


def name_keys(hashes: Hashes) -> Hashes:
    """The keys of parties that have but a name, by the hashes of the names."""
    return combined(hashes, _NAMED)
