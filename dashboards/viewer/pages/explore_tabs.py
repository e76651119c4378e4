"""Metrics, logs and traces of the same time, one click from one another."""

from __future__ import annotations

from urllib.parse import urlencode

from nicegui import ui

# How far back the search for traces looks.
LOOKBACKS = {"5m": "5 minutes", "15m": "15 minutes", "1h": "1 hour", "6h": "6 hours", "24h": "24 hours", "2d": "2 days"}


def explore_tabs(here: str, start: str, end: str, service: str = "") -> None:
    """
    Args:
        here: `metrics`, `logs` or `traces`.
        start, end: As Grafana writes them.
    """
    during = {"from": start, "to": end}
    about = {"service": service} if service else {}
    lookback = start.removeprefix("now-")
    tabs = (
        ("metrics", "Metrics", "/explore", during),
        ("logs", "Logs", "/logs", {**about, **during}),
        ("traces", "Traces", "/traces", {**about, "lookback": lookback if lookback in LOOKBACKS else "1h"}),
    )
    with ui.element("nav").classes("board-links sub").props('aria-label="Explore"'):
        for key, text, path, asked in tabs:
            link = ui.link(text, f"{path}?{urlencode(asked)}")
            if key == here:
                link.classes("here").props('aria-current="page"')
