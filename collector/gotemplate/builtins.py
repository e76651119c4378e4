"""
The functions that every Go template may call.

Source: Go text/template/funcs.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote_plus

from collector.gotemplate.goformat import format_value, sprintf, type_name
from collector.gotemplate.text_functions import text_of
from collector.gotemplate.values import Struct

Function = Callable[..., object]


def truth(value: object) -> bool:
    """Go's truth: zero, the empty text, the empty collection and nil are false. NaN is true."""
    return bool(value)


def _index(item: object, *keys: object) -> object:
    for key in keys:
        if isinstance(item, Mapping) and not isinstance(item, Struct):
            item = item.get(key, "")
        elif isinstance(item, str | Sequence) and isinstance(key, int):
            if not 0 <= key < len(item):
                raise ValueError(f"index out of range: {key}")
            item = item[key]
        else:
            raise ValueError(f"can't index item of type {type_name(item)}")
    return item


def _slice(item: object, first: object = 0, last: object = None) -> object:
    if not isinstance(item, str | list):
        raise ValueError(f"can't slice item of type {type_name(item)}")
    last = len(item) if last is None else last
    if not isinstance(first, int) or not isinstance(last, int) or not 0 <= first <= last <= len(item):
        raise ValueError(f"index out of range: {format_value(first)}:{format_value(last)}")
    return item[first:last]


def _length(item: object) -> int:
    if not isinstance(item, str | Sequence | Mapping) or isinstance(item, Struct):
        raise ValueError(f"len of type {type_name(item)}")
    return len(item.encode()) if isinstance(item, str) else len(item)


def _kind(value: object) -> str:
    for kind in (str, bool, float, int):
        if isinstance(value, kind):
            return kind.__name__
    return type(value).__name__


def _ordered(compare: Callable[[float | str, float | str], bool]) -> Callable[[object, object], bool]:
    def function(left: object, right: object) -> bool:
        if _kind(left) != _kind(right):
            raise ValueError("incompatible types for comparison")
        if not isinstance(left, int | float | str) or not isinstance(right, int | float | str):
            raise ValueError("invalid type for comparison")
        return compare(left, right)

    return function


def _equal(left: object, *others: object) -> bool:
    if not others:
        raise ValueError("missing argument for comparison")
    if any(_kind(left) != _kind(other) for other in others if None not in (left, other)):
        raise ValueError("incompatible types for comparison")
    return any(left == other for other in others)


def _print(*values: object) -> str:
    out = ""
    for position, value in enumerate(values):
        spaced = position and not isinstance(value, str) and not isinstance(values[position - 1], str)
        out += (" " if spaced else "") + format_value(value)
    return out


def _html(*values: object) -> str:
    table: dict[str, str | int | None] = {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        '"': "&#34;",
        "'": "&#39;",
        "\0": "\ufffd",
    }
    return _print(*values).translate(str.maketrans(table))


# Go text/template/funcs.go, JSEscape.
_JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}


def _js(*values: object) -> str:
    return "".join(
        _JS.get(sign, f"\\u{ord(sign):04X}" if ord(sign) < 0x20 or not sign.isprintable() else sign)
        for sign in _print(*values)
    )


BUILTINS: Mapping[str, Function] = {
    "print": _print,
    "printf": lambda text, *values: sprintf(text_of(text), values),
    "println": lambda *values: " ".join(map(format_value, values)) + "\n",
    "html": _html,
    "js": _js,
    "urlquery": lambda *values: quote_plus(_print(*values)),
    "len": _length,
    "index": _index,
    "slice": _slice,
    "not": lambda value: not truth(value),
    # When an argument is piped to them; else the execution stops at the first that decides.
    "and": lambda *values: next((value for value in values if not truth(value)), values[-1]),
    "or": lambda *values: next((value for value in values if truth(value)), values[-1]),
    "eq": _equal,
    "ne": lambda left, right: not _equal(left, right),
    "lt": _ordered(lambda left, right: left < right),  # type: ignore[operator]
    "le": _ordered(lambda left, right: left <= right),  # type: ignore[operator]
    "gt": _ordered(lambda left, right: left > right),  # type: ignore[operator]
    "ge": _ordered(lambda left, right: left >= right),  # type: ignore[operator]
}
