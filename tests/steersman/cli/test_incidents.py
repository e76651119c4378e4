from __future__ import annotations

import io

from rich.console import Console

from steersman.cli.incidents import records_table

RECORD = {
    "id": "catalog-latency-1",
    "service": "catalog",
    "alertname": "HighLatency",
    "state": "resolved",
    "started_at_unix_ms": 1_790_000_000_000,
    "finished_at_unix_ms": 1_790_000_042_500,
}


def test_table_shows_brackets_as_they_are():
    console = Console(file=io.StringIO(), width=200)
    console.print(records_table([RECORD | {"service": "[red]catalog[/red]"}]))
    assert "[red]catalog[/red]" in console.file.getvalue()  # type: ignore[attr-defined]
