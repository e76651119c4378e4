from __future__ import annotations

import pytest
from trace_builder import Builder

from collector.storage.traces.database import TelemetryDatabase


@pytest.fixture(scope="module")
def builder(tmp_path_factory):
    database = TelemetryDatabase.open(tmp_path_factory.mktemp("traces") / "telemetry.duckdb")
    yield Builder(database)
    database.close()
