"""The two halves of a request between services, until they meet or have waited too long. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.pipeline.connectors.texts import Hashes, combined

# One end of a request: a client's span, or a server's. Both have the key of the client's span.
HALF = np.dtype(
    [
        ("key", "u8"),
        ("party", "u8"),  # who it is, see service_graph.py
        ("peer", "u8"),  # whom a client names as its server, if no server's span comes
        ("duration", "i8"),  # ns
        ("deadline", "i8"),  # Unix ms
        ("failed", "?"),
        ("messaging", "?"),
    ]
)
Halves = NDArray[np.void]  # [n] of HALF
NO_HALVES: Halves = np.empty(0, HALF)


class Waiting(NamedTuple):
    """By key."""

    clients: Halves = NO_HALVES
    servers: Halves = NO_HALVES

    @property
    def size(self) -> int:
        return len(self.clients) + len(self.servers)


class Pairing(NamedTuple):
    clients: Halves  # [p], the halves that met
    servers: Halves  # [p], row by row theirs
    expired: Waiting
    waiting: Waiting  # after it
    dropped: int  # new halves that found no room


def edge_keys(trace_hi: Hashes, trace_lo: Hashes, span_id: Hashes) -> Hashes:
    """
    One word for a trace id and the id of the client's span. Of the 100,000 that may wait, two share one with
    probability 3e-10.
    """
    return combined(trace_hi, trace_lo, span_id)


def pair(waiting: Waiting, new: Waiting, *, now_ms: int, most: int) -> Pairing:
    """
    Let halves meet. A client's span has one server: of several with its key the first meets it, as in the Collector.

    Args:
        most: Halves that may wait together.
    """
    old, expired = _split(waiting, now_ms)
    old_clients, old_servers = old
    clients, servers = _by_key(new.clients), _by_key(new.servers)
    # Who waited goes first.
    first_clients, late_servers, old_clients, servers = _meet(old_clients, servers)
    late_clients, first_servers, clients, old_servers = _meet(clients, old_servers)
    both_clients, both_servers, clients, servers = _meet(clients, servers)
    kept, dropped = _within(Waiting(_merged(old_clients, clients), _merged(old_servers, servers)), most)
    return Pairing(
        np.concatenate([first_clients, late_clients, both_clients]),
        np.concatenate([late_servers, first_servers, both_servers]),
        expired,
        kept,
        dropped,
    )


def _meet(clients: Halves, servers: Halves) -> tuple[Halves, Halves, Halves, Halves]:
    """The clients and servers that have one key, row by row, and those that are left; all by key."""
    if not len(clients) or not len(servers):
        return clients[:0], servers[:0], clients, servers
    if len(clients) < len(servers):
        at_client, at_server = _common(clients["key"], servers["key"])
    else:
        at_server, at_client = _common(servers["key"], clients["key"])
    return clients[at_client], servers[at_server], _without(clients, at_client), _without(servers, at_server)


def _common(few: Hashes, many: Hashes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the keys that are in both stand, the first of each."""
    firsts = np.flatnonzero(np.concatenate(([True], few[1:] != few[:-1])))
    at = np.minimum(np.searchsorted(many, few[firsts]), len(many) - 1)
    same = many[at] == few[firsts]
    return firsts[same], at[same]


def _merged(old: Halves, new: Halves) -> Halves:
    """Both by key, the old ones first where keys are the same."""
    if not len(new):
        return old
    at = np.searchsorted(old["key"], new["key"], side="right") + np.arange(len(new))
    is_old = np.ones(len(old) + len(new), np.bool_)
    is_old[at] = False
    out = np.empty(len(is_old), HALF)
    out[at], out[is_old] = new, old
    return out


def _split(waiting: Waiting, now_ms: int) -> tuple[Waiting, Waiting]:
    over = [halves["deadline"] <= now_ms for halves in waiting]
    if not any(late.any() for late in over):
        return waiting, Waiting()
    alive = Waiting(*(halves[~late] for halves, late in zip(waiting, over, strict=True)))
    return alive, Waiting(*(halves[late] for halves, late in zip(waiting, over, strict=True)))


def _by_key(halves: Halves) -> Halves:
    """Stable: of two with one key the older stays first."""
    return halves[np.argsort(halves["key"], kind="stable")]


def _without(halves: Halves, rows: NDArray[np.int64]) -> Halves:
    if not len(rows):
        return halves
    kept = np.ones(len(halves), np.bool_)
    kept[rows] = False
    return halves[kept]


def _within(waiting: Waiting, most: int) -> tuple[Waiting, int]:
    """The oldest `most`, and how many were left out."""
    over = waiting.size - most
    if over <= 0:
        return waiting, 0
    deadlines = np.concatenate([waiting.clients["deadline"], waiting.servers["deadline"]])
    kept = np.zeros(waiting.size, np.bool_)
    kept[np.argsort(deadlines, kind="stable")[:most]] = True
    edge = len(waiting.clients)
    return Waiting(waiting.clients[kept[:edge]], waiting.servers[kept[edge:]]), over
