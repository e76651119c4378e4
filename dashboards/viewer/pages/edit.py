"""A dashboard as its JSON: changed and saved, or brought along from elsewhere."""

from __future__ import annotations

import html
import json
from typing import Any

from nicegui import events, ui

from dashboards.errors import DashboardError
from dashboards.viewer.auth.permission import perform
from dashboards.viewer.auth.roles import Act
from dashboards.viewer.grafana.dashboard import Dashboard
from dashboards.viewer.library import Library
from dashboards.viewer.pages.acting import act_button
from dashboards.viewer.pages.editor import editor
from dashboards.viewer.pages.shell import page

MAX_FILE = 900_000  # what one message of the page's socket carries is a million
_READ = (
    "async (event) => { const file = event.target.files[0]; "
    f"if (file) emit(file.size > {MAX_FILE} ? null : await file.text()); }}"
)


class EditPage:
    def __init__(self, library: Library, title: str, text: str) -> None:
        """
        Args:
            text: What it begins with; "": a dashboard is to be brought along.
        """
        self._library = library
        self._title = title
        self._text = text

    def build(self) -> None:
        with page(self._title, "dashboards"):
            with ui.element("div").classes("bar-top"):
                ui.html(f'<h1 class="title">{html.escape(self._title)}</h1>', sanitize=False)
                ui.element("div").classes("grow")
                act_button("Save", Act.SAVE_DASHBOARD, self._save, icon="save", look="good")
            if not self._text:
                ui.label("Grafana's JSON, exported or downloaded: as a file, or pasted below.").classes("soft q-mb-sm")
                ui.element("input").props('type=file accept=".json" aria-label="A file with a dashboard"').on(
                    "change", self._take, js_handler=_READ
                )
            self._editor = editor(self._text, "JSON", "JSON of the dashboard").classes(
                "whole" if self._text else "whole below q-mt-sm"
            )

    def _take(self, event: events.GenericEventArguments) -> None:
        if isinstance(event.args, str):
            self._editor.value = event.args
        else:
            ui.notify(f"A file has at most {MAX_FILE} bytes here; send a larger one by the API.", type="warning")

    async def _save(self) -> None:
        kept: list[Dashboard] = []

        async def keep(_who: str) -> None:
            kept.append(self._library.save(document_of(str(self._editor.value or ""))))

        if await perform(Act.SAVE_DASHBOARD, self._title, keep):
            ui.navigate.to(f"/d/{kept[0].uid}")


def document_of(text: str) -> dict[str, Any]:
    """
    Raises:
        DashboardError: no JSON, or no object.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DashboardError(f"not JSON: {error}") from error
    if not isinstance(document, dict):
        raise DashboardError("not a Grafana dashboard: it needs a title and panels")
    return document
