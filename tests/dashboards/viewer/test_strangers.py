"""Dashboards in the form of well-known ones: drawn on real data, and what cannot be drawn is named in its panel."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from community_dashboards import ALL, UNDRAWN, panels_of, write_call, write_samples
from playwright.sync_api import Browser
from viewer_browser import Visit, browser, window
from viewer_process import TOKEN, OnCollector, viewer_on_collector

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnCollector]:
    with viewer_on_collector(tmp_path_factory.mktemp("viewer")) as running:
        write_samples(running.collector)
        write_call(running.otlp)
        for make in ALL:
            body = {"dashboard": make(), "overwrite": True}
            headers = {"Authorization": f"Bearer {TOKEN}"}
            httpx.post(f"{running.url}/api/dashboards/db", json=body, headers=headers).raise_for_status()
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as launched:
        yield launched


@pytest.fixture(scope="module")
def visit(served: OnCollector, chromium: Browser) -> Iterator[Visit]:
    with window(chromium, served.url) as opened:
        yield opened


@pytest.mark.parametrize("make", ALL, ids=lambda make: make.__name__)
def test_a_strangers_dashboard_shows_all_that_it_asks_and_names_what_it_cannot(
    visit: Visit, make: Callable[[], dict[str, Any]]
) -> None:
    board = make()
    visit.go(f"/d/{board['uid']}?refresh=", shows="section.panel")
    shown = visit.all_panels_filled()
    visit.keep(f"strangers-{board['uid']}")
    titles = [each["title"] for each in shown]
    for panel in panels_of(board):
        assert any(title.startswith(panel["title"].partition(" $")[0]) for title in titles), panel["title"]
    others = [each for each in shown if each["title"] not in UNDRAWN.values()]
    assert [each for each in others if not each["drawn"]] == []
    assert all("does not draw" in each["told"] for each in shown if each not in others)
    assert visit.complaints == []
    assert visit.too_wide() == 0


def test_markup_of_a_stranger_does_not_act(visit: Visit) -> None:
    acted: list[str] = []
    visit.page.on("dialog", lambda dialog: (acted.append(dialog.message), dialog.dismiss()))
    visit.go("/d/community-python?refresh=", shows="section.panel .text h2")
    visit.all_panels_filled()
    assert visit.page.locator("section.panel script").count() == 0
    assert acted == []
