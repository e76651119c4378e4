"""Documents are followed after the drills of tests/e2e: they show reports, and a stack with something to tell."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    later = [item for item in items if item.path.is_relative_to(HERE) and item.get_closest_marker("e2e")]
    last = max((at for at, item in enumerate(items) if item.get_closest_marker("e2e")), default=-1)
    kept = [item for item in items[: last + 1] if item not in later]
    items[: last + 1] = [*kept, *later]
