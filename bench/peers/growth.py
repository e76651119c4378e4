"""How ingest and a few queries grow with the number of series, over a shorter time."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peers import ingest, queries
from peers.dataset import fleet
from peers.servers import Server


def measure(
    servers: Sequence[Server],
    folder: Path,
    *,
    sizes: Sequence[int],
    minutes: float,
    interval_ms: int,
    runs: int,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """By size: what `ingest.measure` and `queries.measure` find."""
    chosen = [query for query in queries.QUERIES if query.title in queries.GROWTH_TITLES]
    ticks = max(8, round(minutes * 60_000) // interval_ms)
    found: dict[str, Any] = {}
    for size in sizes:
        say(f"  {size} series")
        place = folder / "growth"
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        end_ms = int(time.time() // 60) * 60_000
        data = fleet(series=size, ticks=ticks, end_ms=end_ms, interval_ms=interval_ms)
        sent = ingest.measure(servers, data, place, say=say)
        with contextlib.ExitStack() as stack:
            running = {server.name: ingest.restarted(server, place, stack) for server in servers}
            asked = queries.measure(running, data, chosen, runs=runs, say=say)
        found[str(size)] = {"samples": data.samples, "ingest": sent, "queries": asked}
        shutil.rmtree(place, ignore_errors=True)
    return found
