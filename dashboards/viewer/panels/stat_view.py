"""Large numbers on the page."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from nicegui import ui

from dashboards.viewer.grafana.dashboard import Panel
from dashboards.viewer.grafana.interpolation import Values
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.panels import reduction
from dashboards.viewer.panels.colours import as_text, steps_of, text_on, threshold_colour
from dashboards.viewer.panels.field import mapped
from dashboards.viewer.panels.frames import Answer, Frame


class StatView:
    """One large number for each series, with its recent course behind it."""

    def __init__(self, panel: Panel) -> None:
        self._panel = panel
        self._content = ui.html("", sanitize=False).classes("stats")

    def show(self, answer: Answer, values: Values, *, dark: bool) -> None:
        options = self._panel.options
        calculation = reduction.wanted(options.get("reduceOptions"))
        self._content.classes(replace="stats many" if len(answer.frames) > 4 else "stats")
        whole = options.get("colorMode") == "background"
        named = options.get("textMode") in ("name", "value_and_name") or len(answer.frames) > 1
        cells = [
            _stat(
                frame,
                reduction.reduced(frame.points, calculation),
                whole=whole,
                named=named,
                graph=_has_graph(options),
                dark=dark,
            )
            for frame in answer.frames
        ]
        self._content.content = "".join(cells) or '<div class="none">No data</div>'


def _has_graph(options: Mapping[str, Any]) -> bool:
    return bool(options.get("graphMode", "area") == "area")


def _stat(frame: Frame, value: float | None, *, whole: bool, named: bool, graph: bool, dark: bool) -> str:
    text, shade = mapped(value, frame.config.defaults)
    shade = shade or frame.config.colour or threshold_colour(value, steps_of(frame.config.defaults))
    number = html.escape(text if text is not None else format_value(value, frame.config.unit, frame.config.decimals))
    name = f'<div class="name">{html.escape(frame.config.name)}</div>' if named else ""
    ink = text_on(shade) if whole else as_text(shade, dark=dark)
    style = f"background:{shade};color:{ink}" if whole else f"color:{ink}"
    style += f";--chars:{max(4, len(number))}"
    line = sparkline(frame.points, ink if whole else shade) if graph else ""
    return f'<div class="stat" style="{style}">{line}{name}<div class="value">{number}</div></div>'


def sparkline(points: Sequence[tuple[float, float]], shade: str) -> str:
    """A small area chart as SVG, 100 by 30 units, stretched to its place."""
    finite = [(at, value) for at, value in points if math.isfinite(value)]
    if len(finite) < 2:
        return ""
    (first, _), (last, _) = finite[0], finite[-1]
    low, high = min(value for _, value in finite), max(value for _, value in finite)
    width, height = (last - first) or 1.0, (high - low) or 1.0
    places = [f"{(at - first) / width * 100:.1f},{28 - (value - low) / height * 24:.1f}" for at, value in finite]
    shade = "currentColor" if shade == "inherit" else shade
    return (
        '<svg class="spark" viewBox="0 0 100 30" preserveAspectRatio="none" aria-hidden="true">'
        f'<polygon points="0,30 {" ".join(places)} 100,30" fill="{shade}" opacity="0.14"/>'
        f'<polyline points="{" ".join(places)}" fill="none" stroke="{shade}" opacity="0.55" stroke-width="1" '
        'vector-effect="non-scaling-stroke"/></svg>'
    )
