"""What became of samples that were put into a head."""

from __future__ import annotations

from typing import NamedTuple


class Put(NamedTuple):
    stored: int = 0
    repeated: int = 0  # the same bits were there
    conflicts: int = 0  # another value was there, and stays
    conflict: tuple[int, int] | None = None  # the first one: (index into the given series, timestamp)
