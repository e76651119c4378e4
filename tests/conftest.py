"""One embedded stack serves all end-to-end tests of a session; it is started when the first of them asks for it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from embedded_stack import Stack, start_stack


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    running = start_stack(tmp_path_factory.mktemp("stack") / "data")
    try:
        yield running
    finally:
        running.stop()
        running.http.close()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the whole stack comes last: a mistake shows within seconds, and kills disturb nothing else."""

    def late(item: pytest.Item) -> int:
        if item.get_closest_marker("prompt"):
            return -1
        return 2 if item.get_closest_marker("chaos") else 1 if item.get_closest_marker("e2e") else 0

    items.sort(key=late)
