"""Ingest by remote write, one server at a time: rate, CPU, memory, disk, and whether every sample is there."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from peers.dataset import Dataset
from peers.process import Process, bytes_on_disk
from peers.queries import kept_samples
from peers.remote_write import Bodies, send, write_bodies
from peers.servers import Server

COMPLETE = "complete.json"  # beside the data of a server that has all samples: which


def measure(servers: Sequence[Server], data: Dataset, folder: Path, *, say: Callable[[str], None]) -> dict[str, Any]:
    bodies = write_bodies(data, folder / "bodies")
    say(f"  {bodies.requests} bodies, {bodies.path.stat().st_size / data.samples:.1f} bytes a sample, compressed")
    try:
        found = {server.name: _measure_one(server, data, bodies, folder / server.key) for server in servers}
    finally:
        bodies.path.unlink()
    for name, one in found.items():
        say(f"  {name}: {one['samples_per_s']:,.0f} samples/s, {one['peak_bytes'] / 2**20:.0f} MiB at most")
    return found


def _measure_one(server: Server, data: Dataset, bodies: Bodies, directory: Path) -> dict[str, Any]:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    process = server.start(directory)
    try:
        empty = process.usage()
        process.forget_peak()
        sent = send(bodies, port=process.port, path=server.write_path)
        after = process.usage()
        settled_s = process.settle()
        steady = process.usage()
        disk = bytes_on_disk(directory / "data")
        kept = kept_samples(process, data)
    finally:
        process.stop()
    if kept == data.samples:
        (directory / COMPLETE).write_text(json.dumps(_identity(data)))
    wal = sum(bytes_on_disk_of(directory / "data", pattern) for pattern in server.wal_globs)
    return {
        "samples_per_s": sent.samples / sent.seconds,
        "seconds": sent.seconds,
        "retries": sent.retries,
        "cpu_s": after.cpu_s - empty.cpu_s,
        "cpu_settled_s": steady.cpu_s - empty.cpu_s,
        "settled_s": settled_s,
        "empty_bytes": empty.rss_bytes,
        "peak_bytes": after.peak_bytes,
        "steady_bytes": steady.rss_bytes,
        "steady_anonymous_bytes": steady.anonymous_bytes,
        "disk_bytes_per_sample": disk / data.samples,
        "disk_log_bytes_per_sample": wal / data.samples,
        "kept_samples": kept,
        "sent_samples": sent.samples,
    }


def bytes_on_disk_of(directory: Path, pattern: str) -> int:
    return sum(path.stat().st_blocks * 512 for path in directory.glob(pattern) if path.is_file())


def _identity(data: Dataset) -> dict[str, int]:
    return {"series": data.series, "samples": data.samples, "start_ms": data.start_ms}


def is_complete(server: Server, folder: Path, data: Dataset) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return bool(json.loads((folder / server.key / COMPLETE).read_text()) == _identity(data))
    return False


def restarted(server: Server, folder: Path, stack: contextlib.ExitStack) -> Process:
    """The server on the samples it was sent; stops with `stack`."""
    process = server.start(folder / server.key)
    stack.callback(process.stop)
    return process
