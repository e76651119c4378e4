"""A browser on the viewer: pages as people see them, pictures kept, faults of accessibility found."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM = "chromium"
DESKTOP, PHONE = (1440, 900), (390, 844)
# Where pictures of pages are kept, to be looked at; among what is never committed.
PICTURES = Path(os.environ.get("STEERSMAN_PICTURES", Path(__file__).parents[2] / ".steersman" / "pictures"))
GRAVE = ("serious", "critical")
# On a test machine that a whole stack keeps busy; a quiet one needs under two seconds.
WITHIN_MS = 1000 * int(os.environ.get("STEERSMAN_BROWSER_S", "30"))

# What each panel of a dashboard shows: drawn, or the words that stand in for a drawing.
_PANELS = """() => [...document.querySelectorAll('section.panel')].map(panel => {
  const text = selector => [...panel.querySelectorAll(selector)].map(each => each.textContent.trim()).join(' ').trim();
  const box = panel.querySelector('.panel-chart');
  const chart = box && getElement(Number(box.id.slice(1))).chart;
  const option = chart && chart.getOption();
  const series = option ? option.series || [] : [];
  const words = option && option.title && option.title[0] && option.title[0].show !== false ? option.title[0].text : '';
  const drawn = series.some(each => (each.data || []).length) || !!panel.querySelector(
    '.stat .value, .bar .value, table tbody td, svg.map, .lane i, .text *');
  return {title: text('.head .title'), drawn, told: [words || '', text('.none'), text('.error')].join(' ').trim()};
})"""
# The middle of the slowest exemplar's diamond of those since then, in the window, and the trace that it stands for.
_EXEMPLAR = """([title, since_ms]) => {
  const panel = [...document.querySelectorAll('section.panel')].find(
    each => each.querySelector('.head .title').textContent.trim() === title);
  const box = panel && panel.querySelector('.panel-chart');
  const chart = box && getElement(Number(box.id.slice(1))).chart;
  if (!chart) return null;
  box.scrollIntoView({block: 'center'});
  const place = (chart.getOption().series || []).findIndex(each => each.name === 'exemplars');
  if (place < 0) return null;
  const recent = chart.getOption().series[place].data.filter(each => each.value[0] >= since_ms);
  if (!recent.length) return null;
  const worst = recent.reduce((a, b) => a.value[1] >= b.value[1] ? a : b);
  const [x, y] = chart.convertToPixel({seriesIndex: place}, worst.value);
  const at = box.getBoundingClientRect();
  return {x: at.x + x, y: at.y + y, seconds: worst.value[1], trace: worst.name};
}"""


@dataclass
class Visit:
    """One window. What the browser complains of is gathered in `complaints`."""

    page: Page
    url: str
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str, *, shows: str = "main .page") -> None:
        """
        Args:
            shows: A selector of what must be seen before the page counts as shown.
        """
        self.page.goto(self.url + path, wait_until="domcontentloaded")
        self.page.locator(shows).first.wait_for(timeout=WITHIN_MS)

    def panels(self) -> list[dict[str, Any]]:
        """`title`, whether something is `drawn`, and what is `told` instead."""
        found: list[dict[str, Any]] = self.page.evaluate(_PANELS)
        return found

    def all_panels_filled(self) -> list[dict[str, Any]]:
        self.page.wait_for_function(
            f"() => {{ const all = ({_PANELS})(); return all.length && all.every(each => each.drawn || "
            "(each.told && each.told !== '…')); }",
            timeout=WITHIN_MS,
            polling=200,
        )
        return self.panels()

    def slowest_exemplar(self, title: str, since_unix_ms: int) -> dict[str, Any] | None:
        """Of the chart with that title, which is scrolled to: `x`, `y`, `seconds`, `trace`."""
        found: dict[str, Any] | None = self.page.evaluate(_EXEMPLAR, [title, since_unix_ms])
        return found

    def keep(self, name: str) -> Path:
        """A picture of the whole page."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        self.page.screenshot(path=path, full_page=True)
        return path

    def too_wide(self) -> int:
        """By how many pixels the page is wider than its window: what is cut off, or makes the whole page scroll."""
        wide: int = self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        return wide

    def grave_faults(self) -> list[str]:
        """Serious and critical faults that axe finds, with where they are."""
        options = {"resultTypes": ["violations"]}
        found = Axe().run(self.page, options=options).response["violations"]
        return [
            f"{each['id']} ({each['impact']}): {node['html'][:160]}"
            for each in found
            if each["impact"] in GRAVE
            for node in each["nodes"][:3]
        ]


@contextmanager
def browser() -> Iterator[Browser]:
    """Debian's Chromium; skips where there is none, and fails there in CI."""
    program = shutil.which(CHROMIUM)
    if program is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have Debian's chromium")
        pytest.skip("there is no chromium on this machine")
    expect.set_options(timeout=WITHIN_MS)
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield launched
        finally:
            launched.close()


@contextmanager
def window(browser: Browser, url: str, size: tuple[int, int] = DESKTOP, *, dark: bool = True) -> Iterator[Visit]:
    """A visitor of its own: no cookies of others, and the theme that is wanted."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        is_mobile=size == PHONE,
        has_touch=size == PHONE,
        color_scheme="dark" if dark else "light",
    )
    visit = Visit(context.new_page(), url)
    visit.page.set_default_timeout(WITHIN_MS)
    visit.page.on("console", lambda said: visit.complaints.append(said.text) if said.type == "error" else None)
    visit.page.on("pageerror", lambda error: visit.complaints.append(str(error)))
    try:
        if not dark:
            visit.go("/")
            visit.page.get_by_label("Light or dark").click()
            visit.page.locator("body.body--light").wait_for()
        yield visit
    finally:
        context.close()
