"""The published JSON Schema is the one that the code makes."""

from __future__ import annotations

import re
from pathlib import Path

from remediation.drills import schema
from remediation.drills.duration import seconds

PUBLISHED = Path(__file__).parents[3] / "docs" / "drill.schema.json"


def test_the_published_schema_is_what_the_code_says():
    again = "python -m remediation.drills.schema > docs/drill.schema.json"
    assert PUBLISHED.read_text() == schema.text(), f"make it again: {again}"


def test_its_durations_are_those_that_are_parsed():
    pattern = schema.schema()["properties"]["timeout"]["pattern"]
    for text in ("500ms", "20s", "1m30s", "1h", "", "20", "20 s", "s", "1d"):
        try:
            seconds(text)
            parsed = True
        except ValueError:
            parsed = False
        assert bool(re.search(pattern, text)) is parsed, text
