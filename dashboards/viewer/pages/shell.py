"""What every page stands in: the navigation, the theme, the styles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from urllib.parse import quote

from nicegui import app, ui

from dashboards.viewer.auth.permission import visitor
from dashboards.viewer.auth.roles import Act, Identity
from dashboards.viewer.pages.stylesheet import STYLE
from dashboards.viewer.panels import canvas, chart

NAVIGATION = (
    ("dashboards", "Dashboards", "/dashboards"),
    ("map", "Map", "/map"),
    ("explore", "Explore", "/explore"),
    ("traces", "Traces", "/traces"),
    ("alerts", "Alerts", "/alerts"),
    ("remediations", "Remediations", "/remediations"),
    ("drills", "Drills", "/drills"),
)


def is_dark() -> bool:
    return bool(app.storage.user.get("dark", True))


@contextmanager
def page(title: str, here: str) -> Iterator[None]:
    """
    Args:
        here: The first word of the entry of NAVIGATION that is current.
    """
    ui.page_title(f"{title} · Steersman")
    ui.add_css(STYLE)
    ui.add_head_html(f"<script>{chart.SCRIPT}{canvas.SCRIPT}</script>")
    # Told apart well (WCAG AA): the first as text on either ground, the others under white text.
    primary = "#7aa8ff" if is_dark() else "#1f5fd0"
    ui.colors(primary=primary, positive="#1f7a45", negative="#b3262b", warning="#8a5a00")
    dark = ui.dark_mode(value=is_dark())

    def turn() -> None:
        dark.value = not dark.value
        app.storage.user["dark"] = dark.value
        ui.navigate.reload()  # charts are drawn in the colours of one theme

    with ui.header().classes("shell"):
        ui.link("Steersman", "/").classes("brand")
        with ui.element("nav").props('aria-label="Main"'):
            for key, name, target in NAVIGATION:
                link = ui.link(name, target)
                if key == here:
                    link.classes("here").props('aria-current="page"')
        ui.space()
        ui.button(icon="light_mode" if dark.value else "dark_mode", on_click=turn).props(
            'flat round dense aria-label="Light or dark"'
        )
        _account(visitor())
    with ui.element("div").classes("page"):  # the framework puts it into a main of its own
        yield


def _account(who: Identity) -> None:
    if who.name == "anonymous":
        url = ui.context.client.request.url
        here = f"{url.path}?{url.query}" if url.query else url.path
        ui.link("Sign in", f"/sign-in?next={quote(here)}").classes("account")
        return
    person = ui.button(icon="person").props(f'flat round dense aria-label="Signed in as {escape(who.name)}"')
    with person, ui.menu(), ui.element("div").classes("q-pa-md"):
        ui.label(who.name).classes("text-weight-bold")
        ui.label(str(who.role)).classes("soft q-mb-sm")
        if who.may(Act.READ_AUDIT):
            ui.link("Audit log", "/audit")
        ui.html(
            '<form method="post" action="/sign-out"><button class="linklike">Sign out</button></form>',
            sanitize=False,
        )
