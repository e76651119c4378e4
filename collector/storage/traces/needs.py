"""
What the spans that a search is for must have: pairs of key and value by which parts of the store can be left out.

Needs are sets of pairs, of each of which a matching span, an event of it or its resource has one at least. None at all
says nothing, so whatever cannot be said that way is left out.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from collector.model.telemetry import UNKNOWN_SERVICE

OPERATION = ""  # the key under which a span's name counts as an attribute of it
_EXACT = 2**53  # up to here every whole number is a double of its own (IEEE 754)


class Pair(NamedTuple):
    key: str
    text: str  # the value, as model/attributes.py has it


Needs = tuple[frozenset[Pair], ...]


def one_of(key: str, texts: Iterable[str]) -> Needs:
    return (frozenset(Pair(key, text) for text in texts),)


def of_service(name: str) -> Needs:
    """A service that gave no name is not known by an attribute."""
    return () if name in ("", UNKNOWN_SERVICE) else one_of("service.name", [name])


def all_of(parts: Iterable[Needs]) -> Needs:
    return tuple(need for part in parts for need in part)


def any_of(parts: Iterable[Needs]) -> Needs:
    """Of what is needed by each part, the set with the fewest pairs."""
    smallest = [min(part, key=len, default=None) for part in parts]
    known = [need for need in smallest if need is not None]
    return (frozenset().union(*known),) if known and len(known) == len(smallest) else ()


def texts_of_number(value: int | float) -> tuple[str, ...]:
    """The texts of all integers and doubles that are equal to `value`; none if they cannot be told."""
    if abs(value) > _EXACT or value != value:  # NaN
        return ()
    whole = (str(int(value)),) if value == int(value) else ()
    return (*whole, repr(float(value)), *(("-0.0", "0.0") if value == 0 else ()))
