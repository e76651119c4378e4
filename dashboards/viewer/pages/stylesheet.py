"""The styles of every page."""

from __future__ import annotations

from pathlib import Path

STYLE = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")
