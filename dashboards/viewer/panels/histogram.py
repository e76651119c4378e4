"""A histogram: how often which values came; or the buckets of a classic one, over the whole range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from dashboards.viewer.grafana.dashboard import Panel
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.panels.colours import of_series
from dashboards.viewer.panels.frames import Answer

DEFAULT_BUCKETS = 30  # Grafana's
_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


def bucket_size(low: float, high: float, count: int) -> float:
    """A round width that makes about so many buckets between the two."""
    exact = (high - low) / max(1, count)
    if exact <= 0 or not math.isfinite(exact):
        return 1.0
    power = 10.0 ** math.floor(math.log10(exact))
    return next(power * factor for factor in _ROUND if power * factor >= exact * 0.999999)


def counted(values: Sequence[float], size: float, first: float) -> dict[int, int]:
    """By the number of the bucket; bucket n holds from first + n * size on, its upper end left out."""
    found: dict[int, int] = {}
    for value in values:
        place = math.floor((value - first) / size + 1e-9)
        found[place] = found.get(place, 0) + 1
    return found


def histogram_options(panel: Panel, answer: Answer, *, dark: bool) -> dict[str, Any]:
    ink, faint = ("#c9d1dc", "#2a313c") if dark else ("#4a5363", "#e3e7ed")
    unit = str(panel.defaults.get("unit") or "")
    per_frame = [[value for _, value in frame.points if math.isfinite(value)] for frame in answer.frames]
    everything = [value for values in per_frame for value in values]
    labels: list[str] = []
    series: list[dict[str, Any]] = []
    if everything:
        low, high = min(everything), max(everything)
        asked, wanted = panel.options.get("bucketSize"), panel.options.get("bucketCount")
        count = wanted if isinstance(wanted, int) and wanted > 0 else DEFAULT_BUCKETS
        size = float(asked) if isinstance(asked, int | float) and asked > 0 else bucket_size(low, high, count)
        if (high - low) / size > 10 * DEFAULT_BUCKETS:  # a size that somebody asked for, on other data
            size = bucket_size(low, high, DEFAULT_BUCKETS)
        first = math.floor(low / size) * size
        buckets = range(math.floor((high - first) / size + 1e-9) + 1)
        labels = [format_value(first + number * size, unit) for number in buckets]
        if panel.options.get("combine"):
            per_frame = [everything]
        for place, values in enumerate(per_frame):
            found = counted(values, size, first)
            config = answer.frames[place].config
            series.append(
                {
                    "type": "bar",
                    "name": "all" if panel.options.get("combine") else config.name,
                    "stack": "all",
                    "barCategoryGap": "4%",
                    "itemStyle": {"color": config.colour or of_series(place)},
                    "data": [found.get(number, 0) for number in buckets],
                }
            )
    return {
        "animation": False,
        "textStyle": {"fontFamily": "inherit", "color": ink},
        "grid": {"left": 8, "right": 12, "top": 12, "bottom": 4, "containLabel": True},
        "tooltip": {
            "trigger": "axis",
            "confine": True,
            "backgroundColor": "#171b22" if dark else "#ffffff",
            "borderColor": faint,
            "textStyle": {"color": ink, "fontSize": 12},
        },
        "xAxis": {
            "type": "category",
            "data": labels,
            "axisLabel": {"color": ink, "fontSize": 11, "hideOverlap": True},
            "axisTick": {"show": False},
            "axisLine": {"lineStyle": {"color": faint}},
        },
        "yAxis": {
            "type": "value",
            "minInterval": 1,
            "axisLabel": {"color": ink, "fontSize": 11},
            "splitLine": {"lineStyle": {"color": faint}},
            "splitNumber": 4,
        },
        "series": series,
    }
