"""
Conditions on a span, as SQL over the columns of `spans`.

What comes from a user is bound, never written into the text. Whoever puts conditions together takes all from one
`Parameters`, so that the names of what is bound do not meet.
"""

from __future__ import annotations


class Parameters:
    """What is bound, by name; `bind` gives the name to write into the SQL. Two in one statement differ by prefix."""

    def __init__(self, prefix: str = "p") -> None:
        self.values: dict[str, object] = {}
        self._prefix = prefix

    def bind(self, value: object) -> str:
        name = f"{self._prefix}{len(self.values)}"
        self.values[name] = value
        return f"${name}"


def has(attributes: str, condition: str) -> str:
    """One of a list of attributes satisfies `condition`, which speaks of `a.k`, `a.t` and `a.v`."""
    return f"len(list_filter({attributes}, lambda a: {condition})) > 0"


def on_resource(condition: str) -> str:
    """The span's resource, whose columns are service and attributes, satisfies `condition`."""
    return f"resource_id IN (SELECT id FROM resources WHERE {condition})"  # noqa: S608  (ours)


def on_scope(condition: str) -> str:
    """The span's instrumentation scope, whose columns are name and version, satisfies `condition`."""
    return f"scope_id IN (SELECT id FROM scopes WHERE {condition})"  # noqa: S608  (ours)


def on_event(condition: str) -> str:
    """One event, `e` with name and attributes, satisfies `condition`."""
    return f"len(list_filter(events, lambda e: {condition})) > 0"
