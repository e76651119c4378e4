"""Values as templates see them that are more than text, numbers, lists and maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

Method = Callable[..., object]


class Struct(dict[str, Any]):
    """
    Fields by name. Another field is an error, where a map has an empty text for a key that it does not have.

    Args:
        go_type: What errors call it, e.g. `template.Alert`.
    """

    __slots__ = ("go_type",)

    def __init__(self, go_type: str, fields: Mapping[str, object]) -> None:
        super().__init__(fields)
        self.go_type = go_type


class SafeHtml(str):
    """Text that is HTML already (html/template, HTML)."""

    __slots__ = ()


class SafeUrl(str):
    """A URL of any scheme that the template's author vouches for (html/template, URL)."""

    __slots__ = ()


def method_of(value: object, name: str) -> Method | None:
    """A method that a template may call; None if the value has none of that name. Types list them in `GO_METHODS`."""
    method = getattr(type(value), "GO_METHODS", {}).get(name)
    return None if method is None else partial(method, value)
