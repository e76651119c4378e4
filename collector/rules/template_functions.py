"""
The functions that an alert's template may call: Prometheus's own, and Go's built-in ones.

Source: prometheus/template/template.go; Go text/template/funcs.go.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus, urlsplit

import re2

from collector.model.duration import parse_duration_ms
from collector.rules.goformat import format_value, not_finite, sprintf, type_name
from collector.rules.gotime import GoDuration, GoTime

_LARGE = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_LARGE_1024 = ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_SMALL = ("m", "u", "n", "p", "f", "a", "z", "y")


def to_float(value: object) -> float:
    """Numbers, and text that reads as one; everything else is refused (convertToFloat)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"can't convert {type_name(value)} to float")
    try:
        return float(value)
    except ValueError:
        raise ValueError(f'strconv.ParseFloat: parsing "{value}": invalid syntax') from None


def _general(value: float) -> str:
    return not_finite(value) or f"{value:.4g}"


def _scaled(value: float, prefixes: Sequence[str], base: float, *, down: bool) -> tuple[float, str]:
    prefix = ""
    for candidate in prefixes:
        if abs(value) >= 1 if down else abs(value) < base:
            break
        prefix = candidate
        value = value * base if down else value / base
    return value, prefix


def humanize(argument: object) -> str:
    value = to_float(argument)
    if value == 0 or not math.isfinite(value):
        return _general(value)
    small = abs(value) < 1
    value, prefix = _scaled(value, _SMALL if small else _LARGE, 1000, down=small)
    return _general(value) + prefix


def humanize1024(argument: object) -> str:
    value = to_float(argument)
    if abs(value) <= 1 or not math.isfinite(value):
        return _general(value)
    value, prefix = _scaled(value, _LARGE_1024, 1024, down=False)
    return _general(value) + prefix


def humanize_duration(argument: object) -> str:
    value = to_float(argument)
    if not math.isfinite(value):
        return _general(value)
    if value == 0:
        return "0s"
    if abs(value) < 1:
        value, prefix = _scaled(value, _SMALL, 1000, down=True)
        return f"{_general(value)}{prefix}s"
    sign, value = ("-", -value) if value < 0 else ("", value)
    minutes, seconds = divmod(int(value), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {seconds}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {seconds}s"
    if minutes:
        return f"{sign}{minutes}m {seconds}s"
    return f"{sign}{_general(value)}s"  # below a minute, four significant digits


def humanize_percentage(argument: object) -> str:
    return f"{_general(to_float(argument) * 100)}%"


def humanize_timestamp(argument: object) -> str:
    value = to_float(argument)
    if not math.isfinite(value):
        return _general(value)
    when = datetime.fromtimestamp(math.floor(value * 1000) / 1000, UTC)
    fraction = f".{when.microsecond // 1000:03d}".rstrip("0").rstrip(".")
    return f"{when:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def to_time(argument: object) -> GoTime:
    value = to_float(argument)
    if not math.isfinite(value) or abs(value) > GoTime.MAX_S:
        raise ValueError(f"cannot convert {_general(value)} to a time")
    return GoTime(math.floor(value * 1000) * 1_000_000)  # Prometheus's times have milliseconds


def to_duration(argument: object) -> GoDuration:
    value = to_float(argument)
    if not math.isfinite(value) or abs(value) > GoDuration.MAX_S:
        raise ValueError(f"cannot convert {_general(value)} to a duration")
    return GoDuration(int(value * 1e9))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"wrong type for value; expected string; got {type_name(value)}")
    return value


@lru_cache(maxsize=256)  # templates use the same few at every evaluation
def _compiled(pattern: str) -> Any:  # re2 has no types
    """
    Raises:
        ValueError: worded as Go words it.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        reason = error.args[0]
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"error parsing regexp: {text}") from error


def re_replace_all(pattern: object, replacement: object, text: object) -> str:
    """Go's ReplaceAllString: `$1`, `${1}` and `$name` refer to groups, `$$` is a dollar sign."""
    wanted = _text(replacement)

    def expand(match: Any) -> str:
        def group(reference: re.Match[str]) -> str:
            name = reference[1] or reference[2]
            if name is None:
                return "$"
            try:
                return match.group(int(name) if name.isdigit() else name) or ""
            except (IndexError, KeyError):
                return ""

        return re.sub(r"\$(?:\{(\w+)\}|(\w+)|\$)", group, wanted)

    return str(_compiled(_text(pattern)).sub(expand, _text(text)))


def title(text: object) -> str:
    return re.sub(r"(?<!\w)([^\W\d_])", lambda match: match[1].upper(), _text(text))


def strip_port(text: object) -> str:
    host, colon, port = _text(text).rpartition(":")
    return host.strip("[]") if colon and port.isdigit() and (":" not in host or host.startswith("[")) else _text(text)


def strip_domain(text: object) -> str:
    host = strip_port(text)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        port = _text(text).removeprefix(host)
        return host.split(".", 1)[0] + port
    return _text(text)


def _path_prefix(external_url: str) -> str:
    return urlsplit(external_url).path


def truth(value: object) -> bool:
    """Go's truth: zero, the empty text, the empty collection and nil are false. NaN is true."""
    return bool(value)


def _index(item: object, *keys: object) -> object:
    for key in keys:
        if isinstance(item, Mapping):
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
    if not isinstance(item, str | Sequence | Mapping):
        raise ValueError(f"len of type {type_name(item)}")
    return len(item.encode()) if isinstance(item, str) else len(item)


def _kind(value: object) -> str:
    return "float" if isinstance(value, float) else "integer" if type(value) is int else type(value).__name__


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


def _first(samples: object) -> object:
    if isinstance(samples, list) and samples:
        return samples[0]
    raise ValueError("first() called on vector with no elements")


def _sample(value: object) -> Mapping[str, object]:
    if not isinstance(value, Mapping) or "Labels" not in value:
        raise ValueError(f"wrong type for value; expected *template.sample; got {type_name(value)}")
    return value


def _label(name: object, sample: object) -> object:
    labels = _sample(sample)["Labels"]
    return labels.get(name, "") if isinstance(labels, Mapping) else ""


def _graph_link(tab: int) -> Callable[[object], str]:
    return lambda expr: graph_link(_text(expr), tab)


def graph_link(expr: str, tab: int = 1) -> str:
    """The path of Prometheus's page for an expression (util/strutil/strconv.go, TableLinkForExpression)."""
    return f"/graph?g0.expr={quote_plus(expr)}&g0.tab={tab}"


def functions(
    external_url: str, query: Callable[[str], list[dict[str, object]]], *, now_s: float = 0.0
) -> dict[str, Callable[..., object]]:
    """
    All functions by name. Not among them is `tmpl`, which Prometheus has in console templates only.

    Args:
        query: Evaluates an expression at the time of the alert; samples have the keys Labels and Value.
        now_s: That time, in Unix seconds.
    """
    return {
        "query": lambda expr: query(_text(expr)),
        "first": _first,
        "label": _label,
        "value": lambda sample: _sample(sample)["Value"],
        "strvalue": lambda sample: _label("__value__", sample),
        "sortByLabel": lambda name, samples: sorted(samples, key=lambda sample: str(_label(name, sample))),
        "args": lambda *values: {f"arg{position}": value for position, value in enumerate(values)},
        "reReplaceAll": re_replace_all,
        "match": lambda pattern, text: _compiled(_text(pattern)).search(_text(text)) is not None,
        "title": title,
        "toUpper": lambda text: _text(text).upper(),
        "toLower": lambda text: _text(text).lower(),
        "graphLink": _graph_link(0),
        "tableLink": _graph_link(1),
        "humanize": humanize,
        "humanize1024": humanize1024,
        "humanizeDuration": humanize_duration,
        "humanizePercentage": humanize_percentage,
        "humanizeTimestamp": humanize_timestamp,
        "toTime": to_time,
        "toDuration": to_duration,
        "now": lambda: now_s,
        "safeHtml": _text,
        "parseDuration": lambda text: parse_duration_ms(_text(text)) / 1000,
        "stripPort": strip_port,
        "stripDomain": strip_domain,
        "urlQueryEscape": lambda text: quote_plus(_text(text)),
        "pathPrefix": lambda: _path_prefix(external_url),
        "externalURL": lambda: external_url,
        "print": _print,
        "printf": lambda text, *values: sprintf(_text(text), values),
        "println": lambda *values: " ".join(map(format_value, values)) + "\n",
        "html": _html,
        "js": _js,
        "urlquery": lambda *values: quote_plus(_print(*values)),
        "len": _length,
        "index": _index,
        "slice": _slice,
        "not": lambda value: not truth(value),
        "and": lambda *values: next((value for value in values if not truth(value)), values[-1]),
        "or": lambda *values: next((value for value in values if truth(value)), values[-1]),
        "eq": _equal,
        "ne": lambda left, right: not _equal(left, right),
        "lt": _ordered(lambda left, right: left < right),  # type: ignore[operator]
        "le": _ordered(lambda left, right: left <= right),  # type: ignore[operator]
        "gt": _ordered(lambda left, right: left > right),  # type: ignore[operator]
        "ge": _ordered(lambda left, right: left >= right),  # type: ignore[operator]
    }


FUNCTION_NAMES = frozenset(functions("", lambda _expr: []))
