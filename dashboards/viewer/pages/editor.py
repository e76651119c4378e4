"""The editor of texts: dashboards as JSON, rules and their tests as YAML."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

from nicegui import ui

from dashboards.viewer.pages.shell import is_dark

# CodeMirror makes its own elements and names none of them; they come some moments after the page, or with their tab.
_NAMES = """<script>
new MutationObserver(() => {
  for (const text of document.querySelectorAll('.cm-content:not([aria-label])')) {
    const named = text.closest('[data-name]');
    if (!named) continue;
    text.setAttribute('aria-label', named.dataset.name);
    text.closest('.cm-scroller').setAttribute('tabindex', '0');
  }
}).observe(document, {childList: true, subtree: true});
</script>"""


def editor(
    text: str,
    language: Literal["JSON", "YAML"],
    name: str,
    *,
    on_change: Callable[[], Awaitable[None]] | None = None,
) -> ui.codemirror:
    """
    Args:
        name: What screen readers call it; of letters and spaces.
    """
    theme: Literal["vscodeDark", "vscodeLight"] = "vscodeDark" if is_dark() else "vscodeLight"
    made = ui.codemirror(text, language=language, theme=theme, on_change=on_change).classes("editor-text")
    ui.add_head_html(_NAMES)
    return made.props(f'data-name="{name}"')
