"""
What it costs to encrypt, to export and to import: the processor's time for each span, and bytes on disk.

    python bench/data.py                200,000 spans
    python bench/data.py --spans 1000000

In one process, without a receiver: commits of 8,192 spans as bench/traces.py makes them, decoded before the clock runs;
then a scan of all of them after the file was opened again; then an export to Parquet and an import into an empty store,
by parts as the API moves them. Every step is done without a key and with one, in turn, so that what else the machine
does falls on both. Figures are the process's own processor time.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pyarrow as pa
from traces import BATCH, requests

from collector.pipeline.archived import batch_of
from collector.pipeline.spans import decode_spans
from collector.storage.encryption import EncryptionKey
from collector.storage.traces.archive import SPANS, read_part
from collector.storage.traces.archive_reader import ArchiveReader
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.parquet import read_files, write_files
from collector.storage.traces.search import Range

TOGETHER = 16  # requests in a commit
_EVER = Range(0, 2**64 - 1)
_SCAN = "SELECT count(*), max(name), max(attributes[1].v), max(duration_nano) FROM spans"


@dataclass
class Costs:
    name: str
    key: EncryptionKey | None
    cpu_s: dict[str, float] = field(default_factory=dict)
    spans: dict[str, int] = field(default_factory=dict)
    disk_bytes: int = 0
    parquet_bytes: int = 0

    @contextmanager
    def taking(self, what: str, spans: int) -> Iterator[None]:
        began = time.process_time()
        yield
        self.cpu_s[what] = self.cpu_s.get(what, 0.0) + time.process_time() - began
        self.spans[what] = self.spans.get(what, 0) + spans


def measure(count: int, folder: Path) -> list[Costs]:
    both = [Costs("plain", None), Costs("encrypted", EncryptionKey(bytes(range(32))))]
    stores = [TelemetryDatabase.open(folder / each.name / "telemetry.duckdb", key=each.key) for each in both]
    group = []
    for request in requests(count, 1):
        group.append(decode_spans(request, received_ms=1))
        if len(group) == TOGETHER:
            for costs, store in zip(both, stores, strict=True):
                with costs.taking("commit", TOGETHER * BATCH):
                    store.write(group)
            group = []
    for costs, store in zip(both, stores, strict=True):
        with costs.taking("commit", 0):
            store.close()  # with what a checkpoint costs
        home = folder / costs.name
        costs.disk_bytes = sum(path.stat().st_size for path in home.iterdir() if path.is_file())
        store = TelemetryDatabase.open(home / "telemetry.duckdb", key=costs.key)
        spans = costs.spans["commit"]
        for what in ("scan, first", "scan, again"):
            with costs.taking(what, spans), store.reading() as cursor:
                cursor.execute(_SCAN).fetchall()
        with costs.taking("export", spans):
            write_files(home / "archive", SPANS, ArchiveReader(store, SPANS, _EVER).parts())
        costs.parquet_bytes = sum(path.stat().st_size for path in (home / "archive").iterdir())
        store.close()
        target = TelemetryDatabase.open(home / "again.duckdb", key=costs.key)
        for what in ("import", "import again"):
            with costs.taking(what, spans):
                for part in read_files(home / "archive", SPANS):
                    target.restore(batch_of(read_part(pa.BufferReader(part.encoded()), SPANS), SPANS, received_ms=1))
        target.close()
    return both


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=200_000)
    with tempfile.TemporaryDirectory() as folder:
        plain, encrypted = measure(parser.parse_args().spans, Path(folder))
    print(f"{'µs of processor a span':24}{'plain':>10}{'encrypted':>12}")
    for what, spans in plain.spans.items():
        print(f"{what:24}{plain.cpu_s[what] / spans * 1e6:>10.2f}{encrypted.cpu_s[what] / spans * 1e6:>12.2f}")
    spans = plain.spans["commit"]
    print(f"{'bytes on disk a span':24}{plain.disk_bytes / spans:>10.1f}{encrypted.disk_bytes / spans:>12.1f}")
    print(f"{'bytes of Parquet a span':24}{plain.parquet_bytes / spans:>10.1f}{encrypted.parquet_bytes / spans:>12.1f}")
    print(f"memory at most {psutil.Process().memory_info().rss / 1e6:.0f} MB at the end, {spans:,} spans")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
