"""What a series' number is called and coloured where it is written: legends, gauges, pies."""

from __future__ import annotations

from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.panels.colours import of_series
from dashboards.viewer.panels.field import mapped
from dashboards.viewer.panels.frames import Frame


def shade_of(frame: Frame, number: int) -> str:
    return frame.config.colour or of_series(number)


def written(frame: Frame, value: float | None) -> str:
    text, _ = mapped(value, frame.config.defaults)
    return text if text is not None else format_value(value, frame.config.unit, frame.config.decimals)
