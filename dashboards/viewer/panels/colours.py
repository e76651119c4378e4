"""Colours: of series, of thresholds by Grafana's names, of the threshold that a value has passed, and of words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

# Ours; told apart by people who see red and green alike, on light and on dark.
PALETTE = (
    "#4c8dff", "#ff9830", "#4bbf9b", "#f2637e", "#a97bff", "#e3c438", "#38b6d8", "#c98a5c",
    "#8bc34a", "#e879c7", "#7f8ea3", "#f26b3a",
)  # fmt: skip
_NAMED = {
    "green": "#4cae6e",
    "dark-green": "#2f8f56",
    "semi-dark-green": "#3f9f62",
    "light-green": "#86d39c",
    "super-light-green": "#b7e6c4",
    "red": "#e5484d",
    "dark-red": "#b3262b",
    "semi-dark-red": "#cf3b41",
    "light-red": "#f28589",
    "super-light-red": "#f9c6c8",
    "orange": "#f5902f",
    "dark-orange": "#cf6a0c",
    "semi-dark-orange": "#e27d1e",
    "light-orange": "#ffb866",
    "super-light-orange": "#ffdcb3",
    "yellow": "#e3c438",
    "dark-yellow": "#b99a12",
    "semi-dark-yellow": "#cfb028",
    "light-yellow": "#f2df85",
    "super-light-yellow": "#fbf3cc",
    "blue": "#4c8dff",
    "dark-blue": "#2563d9",
    "semi-dark-blue": "#3a78ec",
    "light-blue": "#8cb6ff",
    "super-light-blue": "#c9ddff",
    "purple": "#a97bff",
    "dark-purple": "#7d4fd6",
    "semi-dark-purple": "#9365eb",
    "light-purple": "#cbb0ff",
    "super-light-purple": "#e6daff",
    "text": "inherit",
    "transparent": "transparent",
}
# What may stand in a style of ours: a name, `#…`, or a function of numbers. A stranger's dashboard may hold anything.
_CSS = re.compile(r"#[0-9a-fA-F]{3,8}|[a-zA-Z-]+|[a-z]+\([0-9a-z.,%/ +-]*\)")
_HEX = re.compile(r"#([0-9a-fA-F]{3}|[0-9a-fA-F]{6})")
_RGB = re.compile(r"rgba?\(\s*(\d{1,3})[\s,]+(\d{1,3})[\s,]+(\d{1,3})\b[^)]*\)")
CONTRAST = 4.5  # WCAG 2.2, 1.4.3, level AA, for text of any size
# Of style.css, the grounds that text stands on, the one nearest to the text's own colours: `--raised` and `--ground`.
GROUND_DARK, GROUND_LIGHT = "#1d232c", "#f3f5f8"
_STEPS = 20  # from a colour to black or white
THRESHOLDS_DEFAULT: tuple[tuple[float, str], ...] = ((float("-inf"), "green"), (80.0, "red"))


def colour(name: str) -> str:
    """A CSS colour; names that are none of Grafana's are taken as CSS, and what is no colour at all as `inherit`."""
    return _NAMED.get(name) or (name if _CSS.fullmatch(name) else "inherit")


def of_series(number: int) -> str:
    return PALETTE[number % len(PALETTE)]


def steps_of(defaults: Mapping[str, Any]) -> list[tuple[float, str]]:
    """The thresholds of a field configuration: from which value on, which colour; the first has no lower end."""
    thresholds = defaults.get("thresholds")
    steps = thresholds.get("steps") if isinstance(thresholds, dict) else None
    if not isinstance(steps, list) or not steps:
        return []
    found = []
    for step in steps:
        if isinstance(step, dict):
            value = step.get("value")
            at = float("-inf") if not isinstance(value, int | float) else float(value)
            found.append((at, colour(str(step.get("color") or "green"))))
    return sorted(found, key=lambda step: step[0])


def threshold_colour(value: float | None, steps: Sequence[tuple[float, str]]) -> str:
    """The colour of the highest threshold passed; `inherit` without thresholds or value."""
    if value is None:
        return "inherit"
    passed = [shade for at, shade in steps if value >= at]
    return passed[-1] if passed else "inherit"


@lru_cache(maxsize=256)
def as_text(shade: str, *, dark: bool) -> str:
    """
    The colour for words: as it is where it can be read, else as little nearer to white (dark) or black as is enough.

    What cannot be told from the colour's name (`hsl(…)`, `rebeccapurple`) is written in the ink of the page.
    """
    parts = _parts(shade)
    if parts is None:
        return "inherit"
    ground, end = (GROUND_DARK, 255) if dark else (GROUND_LIGHT, 0)
    for step in range(_STEPS + 1):
        mixed = _hex([part + (end - part) * step / _STEPS for part in parts])
        if contrast(mixed, ground) >= CONTRAST:
            return mixed
    return "inherit"


def text_on(shade: str) -> str:
    """Black or white, whichever is read better on that colour: one of them reaches CONTRAST on any."""
    if _parts(shade) is None:
        return "inherit"
    return "#ffffff" if contrast("#ffffff", shade) >= contrast("#000000", shade) else "#000000"


def contrast(one: str, other: str) -> float:
    """From 1 (the same) to 21 (black and white), by WCAG 2.2; both as `#rrggbb`, `#rgb` or `rgb(…)`."""
    dim, bright = sorted((_luminance(one), _luminance(other)))
    return (bright + 0.05) / (dim + 0.05)


def _luminance(shade: str) -> float:
    """Source: WCAG 2.2, relative luminance."""
    parts = _parts(shade)
    if parts is None:
        raise ValueError(f"not a colour of three numbers: {shade}")
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (each / 255 for each in parts)
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _parts(shade: str) -> list[float] | None:
    """Red, green and blue, 0 to 255; None for what is written in another way."""
    if found := _HEX.fullmatch(shade):
        digits = found[1] if len(found[1]) == 6 else "".join(digit * 2 for digit in found[1])
        return [float(int(digits[at : at + 2], 16)) for at in (0, 2, 4)]
    if found := _RGB.fullmatch(shade):
        return [min(255.0, float(part)) for part in found.groups()]
    return None


def _hex(parts: Sequence[float]) -> str:
    return "#" + "".join(f"{round(part):02x}" for part in parts)
