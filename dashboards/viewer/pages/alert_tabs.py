"""The three pages about alerts, and the way between them."""

from __future__ import annotations

from nicegui import ui

TABS = (("alerts", "Alerts", "/alerts"), ("silences", "Silences", "/silences"), ("rules", "Edit rules", "/rules"))


def alert_tabs(here: str) -> None:
    with ui.element("nav").classes("board-links sub").props('aria-label="Alerts"'):
        for key, text, target in TABS:
            link = ui.link(text, target)
            if key == here:
                link.classes("here").props('aria-current="page"')
