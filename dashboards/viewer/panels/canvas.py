"""
A chart on the page, drawn anew at every refresh.

NiceGUI's own way to change a chart watches every point of it for changes here, and again in the browser, and keeps them
all: half of a refresh went into that. Here the options go to the browser as text and are forgotten.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nicegui import events, json, ui

# Served once with every page. `:key` holds JavaScript, as in NiceGUI's own charts; never among points.
SCRIPT = """
Object.assign(window.steersman, {
  draw(id, text, tries = 400) {
    let chart;
    try { chart = getElement(id).chart; } catch { /* its element is not there yet */ }
    if (!chart) { if (tries) setTimeout(() => this.draw(id, text, tries - 1), 25); return; }
    const options = JSON.parse(text), count = (options.series || []).length;
    this.revive(options);
    chart.setOption(options, {notMerge: chart.drawnSeries !== count});
    chart.drawnSeries = count;
  },
  revive(value) {
    if (Array.isArray(value)) { value.forEach(each => this.revive(each)); return; }
    if (typeof value !== 'object' || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      if (key[0] === ':') { value[key.slice(1)] = new Function('return (' + inner + ')')(); delete value[key]; }
      else if (key !== 'data') this.revive(inner);
    }
  },
});
"""


class Canvas:
    def __init__(
        self,
        first: Mapping[str, Any] | None = None,
        *,
        on_point_click: events.Handler[events.EChartPointClickEventArguments] | None = None,
    ) -> None:
        """
        Args:
            first: What is seen before the first drawing.
        """
        self.element = ui.echart(dict(first or {}), on_point_click=on_point_click)

    def draw(self, options: Mapping[str, Any]) -> None:
        """
        Args:
            options: ECharts' own. A drawing with another number of series than the one before begins anew; else what
                is not named stays as it was.
        """
        text = json.dumps(json.dumps(options))
        self.element.client.run_javascript(f"window.steersman.draw({self.element.id}, {text})")
