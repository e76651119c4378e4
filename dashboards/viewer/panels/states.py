"""State timeline and status history: what was in which state when, as SVG that stretches to its panel."""

from __future__ import annotations

import datetime as dt
import html
from collections.abc import Sequence
from dataclasses import dataclass

from dashboards.viewer.grafana.timerange import Span
from dashboards.viewer.grafana.units import format_value
from dashboards.viewer.panels.chart import GAP_STEPS
from dashboards.viewer.panels.colours import of_series, steps_of, threshold_colour
from dashboards.viewer.panels.field import mapped
from dashboards.viewer.panels.frames import Frame

MAX_ROWS = 60
MAX_CELLS = 120  # of a status history; of more, the last of each group stands for it
MAX_LEGEND = 12  # more are numbers, not states
_TICKS = 5


@dataclass(frozen=True, slots=True)
class Stretch:
    """A state, from when to when, in Unix seconds."""

    start: float
    end: float
    text: str
    colour: str


def stretches(frame: Frame, span: Span, step: float, *, merge: bool = True) -> list[Stretch]:
    """In order. A gap in the samples is a gap between stretches."""
    found: list[Stretch] = []
    points = frame.points
    for place, (at, value) in enumerate(points):
        following = points[place + 1][0] if place + 1 < len(points) else at + step
        end = min(span.end, following if following - at <= GAP_STEPS * step else at + step)
        text, shade = shown(frame, value)
        before = found[-1] if found else None
        if merge and before and before.text == text and before.colour == shade and before.end >= at - 1e-6:
            found[-1] = Stretch(before.start, end, text, shade)
        elif end > at:
            found.append(Stretch(at, end, text, shade))
    return found


def shown(frame: Frame, value: float) -> tuple[str, str]:
    """The words for a value and their colour: by mappings, else by thresholds, else by the palette."""
    config = frame.config
    text, shade = mapped(value, config.defaults)
    if shade is None:
        shade = config.colour or threshold_colour(value, steps_of(config.defaults))
        if shade == "inherit":
            shade = of_series(int(value) % 12 if value == value else 0)
    return text if text is not None else format_value(value, config.unit, config.decimals), shade


def drawn(frames: Sequence[Frame], span: Span, step: float, *, history: bool) -> str:
    """HTML: a row for each series, the axis of time, and what the colours mean."""
    meanings: dict[str, str] = {}
    lines = []
    for frame in frames[:MAX_ROWS]:
        thinned = _thinned(frame, MAX_CELLS) if history else frame
        wide = step if not history else max(step, span.seconds / MAX_CELLS)
        bars = []
        for each in stretches(thinned, span, wide, merge=not history):
            if each.colour != "transparent":
                meanings.setdefault(each.text, each.colour)
            left, width = (each.start - span.start) / span.seconds, (each.end - each.start) / span.seconds
            title = f"{frame.config.name}: {each.text}, {_clock(each.start)} to {_clock(each.end)}"
            inset = ";border-right:1px solid var(--surface)" if history else ""
            bars.append(
                f'<i style="left:{left:.3%};width:{width:.3%};background:{each.colour}{inset}" '
                f'title="{html.escape(title)}"></i>'
            )
        name = html.escape(frame.config.name)
        lines.append(f'<div class="who" title="{name}">{name}</div><div class="lane">{"".join(bars)}</div>')
    if not lines:
        return '<div class="none">No data</div>'
    more = f'<div class="none">{len(frames) - MAX_ROWS} more rows are not shown</div>' if len(frames) > MAX_ROWS else ""
    shares = [place / (_TICKS - 1) for place in range(_TICKS)]
    ticks = "".join(
        f'<span style="left:{share:.0%}">{_clock(span.start + span.seconds * share)}</span>' for share in shares
    )
    longest = max(len(frame.config.name) for frame in frames[:MAX_ROWS])
    legend = "".join(
        f'<span class="entry"><i style="background:{shade}"></i>{html.escape(text)}</span>'
        for text, shade in (meanings.items() if len(meanings) <= MAX_LEGEND else ())
    )
    return (
        f'<div class="lanes" style="--who:{longest}">{"".join(lines)}<div class="axis">{ticks}</div></div>'
        f'{more}<div class="legend">{legend}</div>'
    )


def _thinned(frame: Frame, cells: int) -> Frame:
    every = max(1, -(-len(frame.points) // cells))
    return Frame(frame.config, frame.labels, list(frame.points)[::-1][::every][::-1], frame.ref_id)


def _clock(at: float) -> str:
    return dt.datetime.fromtimestamp(at, dt.UTC).astimezone().strftime("%H:%M:%S")
