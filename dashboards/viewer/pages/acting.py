"""Buttons for what changes something, and the question before it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal
from urllib.parse import quote

from nicegui import ui

from dashboards.viewer.auth.permission import visitor
from dashboards.viewer.auth.roles import Act, needed_for

MAX_REASON = 1000  # the worker's own bound
Look = Literal["plain", "good", "bad"]
_LOOKS = {"plain": "outline color=primary", "good": "unelevated color=positive", "bad": "unelevated color=negative"}


def act_button(
    text: str, act: Act, do: Callable[[], Awaitable[object] | None], *, icon: str = "", look: Look = "plain"
) -> ui.button:
    """A button for who may; for others one that leads to signing in. (What it calls asks again who may.)"""
    who = visitor()
    if who.may(act):
        return ui.button(text, icon=icon or None, on_click=do).props(f"no-caps dense padding='4px 12px' {_LOOKS[look]}")
    button = ui.button(text, icon="lock").props("no-caps dense padding='4px 12px' outline color=grey-6")
    if who.name == "anonymous":
        url = ui.context.client.request.url
        here = f"{url.path}?{url.query}" if url.query else url.path
        button.props(f'href="/sign-in?next={quote(here, safe="")}"')  # a plain link, which needs no script to act
    else:
        button.disable()
    return button.tooltip(f"needs the role {needed_for(act)}")


async def ask_reason(title: str, text: str, confirm: str, *, typed: str = "", bad: bool = False) -> str | None:
    """
    The reason that was given, or None: not to be done.

    Args:
        typed: What has to be typed before it can be confirmed, for what should not be done by a slip.
    """
    with ui.dialog() as dialog, ui.card().classes("ask"):
        ui.label(title).classes("text-weight-bold text-subtitle1")
        ui.label(text).classes("soft")
        reason = ui.input("Reason").props(f"outlined dense autofocus maxlength={MAX_REASON}").style("width: 100%")
        word = ui.input(f"Type {typed} to confirm").props("outlined dense").style("width: 100%") if typed else None

        def done() -> None:
            if not (reason.value or "").strip():
                ui.notify("Say why: it stands in the record.", type="warning")
            elif word is not None and (word.value or "").strip().lower() != typed.lower():
                ui.notify(f"Type {typed} to confirm.", type="warning")
            else:
                dialog.submit(str(reason.value).strip()[:MAX_REASON])

        (word or reason).on("keydown.enter", done)
        with ui.row().classes("q-mt-sm"):
            ui.button(confirm, on_click=done).props(f"no-caps {_LOOKS['bad' if bad else 'plain']}")
            ui.button("Cancel", on_click=lambda: dialog.submit(None)).props("no-caps flat")
    answer = await dialog
    dialog.delete()
    return answer if isinstance(answer, str) else None
