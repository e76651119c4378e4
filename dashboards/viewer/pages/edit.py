"""A dashboard as its JSON: changed and saved, or brought along from elsewhere."""

from __future__ import annotations

import html
import json
from typing import Any, Literal

from nicegui import events, ui

from dashboards.errors import DashboardError
from dashboards.folder import MAX_BYTES
from dashboards.viewer.auth.permission import perform
from dashboards.viewer.auth.roles import Act
from dashboards.viewer.grafana.dashboard import Dashboard
from dashboards.viewer.library import Library
from dashboards.viewer.pages.acting import act_button
from dashboards.viewer.pages.shell import is_dark, page


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
        theme: Literal["vscodeDark", "vscodeLight"] = "vscodeDark" if is_dark() else "vscodeLight"
        with page(self._title, "dashboards"):
            with ui.element("div").classes("bar-top"):
                ui.html(f'<h1 class="title">{html.escape(self._title)}</h1>', sanitize=False)
                ui.element("div").classes("grow")
                act_button("Save", Act.SAVE_DASHBOARD, self._save, icon="save", look="good")
            if not self._text:
                ui.label("Grafana's JSON, exported or downloaded: as a file, or pasted below.").classes("soft q-mb-sm")
                ui.upload(
                    label="A file",
                    auto_upload=True,
                    max_file_size=MAX_BYTES,
                    on_upload=self._take,
                    on_rejected=lambda: ui.notify(f"A dashboard has at most {MAX_BYTES} bytes.", type="warning"),
                ).props('accept=".json" flat bordered')
            self._editor = ui.codemirror(self._text, language="JSON", theme=theme).classes("editor-text q-mt-sm")
            self._editor.props('aria-label="JSON of the dashboard"')

    async def _take(self, event: events.UploadEventArguments) -> None:
        try:
            self._editor.value = (await event.file.read()).decode("utf-8")
        except UnicodeDecodeError:
            ui.notify("The file is no text in UTF-8.", type="negative")

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
