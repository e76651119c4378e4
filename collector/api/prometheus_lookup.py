"""
What there is to query: labels, label/NAME/values, series, metadata.

Source: prometheus/web/api/v1/api.go.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TypeVar

from collector.api.prometheus_encoding import labels_list, plain, strings_list
from collector.api.prometheus_parameters import MAX_TIME_MS, MIN_TIME_MS, Parameters, invalid
from collector.api.prometheus_query import TRUNCATED
from collector.api.prometheus_response import Reply
from collector.errors import BadRequestError
from collector.model.series import Labels, Matcher, SeriesSource
from collector.model.text import quote
from collector.query.errors import ParseError
from collector.query.promql.syntax import matchers_of

_ESCAPED = "U__"  # prometheus/common/model/metric.go, UnescapeName: begins a name whose other characters are escaped
_ESCAPE = re.compile(r"_(?:(_)|([0-9A-Fa-f]{1,6})_)?")
_EMPTY = "must contain at least one non-empty matcher"
_Item = TypeVar("_Item")


class LookupApi:
    def __init__(self, source: SeriesSource) -> None:
        self._source = source

    def labels(self, parameters: Parameters) -> Reply:
        limit, (min_ms, max_ms) = parameters.limit(), bounds(parameters)
        names: set[str] = set()
        for matchers in selections(parameters):
            names.update(self._source.label_names(matchers, min_ms=min_ms, max_ms=max_ms))
        kept, warnings = _limited(sorted(names), limit)
        return Reply([strings_list(kept)], warnings)

    def label_values(self, parameters: Parameters) -> Reply:
        name = unescaped(parameters.path["name"])
        if not name:
            raise BadRequestError(f"invalid label name: {quote(name)}")
        limit, (min_ms, max_ms) = parameters.limit(), bounds(parameters)
        values: set[str] = set()
        for matchers in selections(parameters):
            values.update(self._source.label_values(name, matchers, min_ms=min_ms, max_ms=max_ms))
        kept, warnings = _limited(sorted(values), limit)
        return Reply([strings_list(kept)], warnings)

    def series(self, parameters: Parameters) -> Reply:
        if not parameters.texts("match[]"):
            raise BadRequestError("no match[] parameter provided")
        limit, (min_ms, max_ms) = parameters.limit(), bounds(parameters)
        try:
            chosen = selections(parameters)
        except BadRequestError as error:
            raise invalid("match[]", error) from error
        found: set[Labels] = set()
        for matchers in chosen:
            found.update(self._source.series(matchers, min_ms=min_ms, max_ms=max_ms))
        kept, warnings = _limited(sorted(found), limit)
        return Reply([labels_list(kept)], warnings)

    def metadata(self, parameters: Parameters) -> Reply:
        limit, per_metric = parameters.number("limit"), parameters.number("limit_per_metric")
        wanted = parameters.text("metric")
        found: dict[str, list[dict[str, str]]] = {}
        for one in self._source.metadata():
            if wanted and one.name != wanted:
                continue
            if limit is not None and 0 <= limit <= len(found) and one.name not in found:
                continue
            entries = found.setdefault(one.name, [])
            if not per_metric or per_metric < 0 or len(entries) < per_metric:
                entries.append({"type": one.kind, "help": one.help, "unit": one.unit})
        return Reply([plain(found)])


def selections(parameters: Parameters) -> list[tuple[Matcher, ...]]:
    """
    The matchers of each `match[]`, ORed by the caller; one empty selection, everything, when there is none.

    Raises:
        BadRequestError: one is no selector, or matches whatever there is.
    """
    return [_selection(text) for text in parameters.texts("match[]")] or [()]


def _selection(text: str) -> tuple[Matcher, ...]:
    try:
        matchers = matchers_of(text)
    except ParseError as error:
        if not error.reason.endswith(_EMPTY):
            raise
        matchers = ()
    if all(matcher.matches("") for matcher in matchers):
        raise BadRequestError(f"match[] {_EMPTY}")
    return matchers


def bounds(parameters: Parameters) -> tuple[int, int]:
    return (
        parameters.time_ms("start", default_ms=MIN_TIME_MS),
        parameters.time_ms("end", default_ms=MAX_TIME_MS),
    )


def unescaped(name: str) -> str:
    """
    A label's name out of a path: `U__http_2e_status` is `http.status`. What is not escaped rightly is left as it is.

    Source: prometheus/common/model/metric.go, UnescapeName.
    """
    if not name.startswith(_ESCAPED):
        return name
    rest = name.removeprefix(_ESCAPED)
    pieces: list[str] = []
    done = 0
    for match in _ESCAPE.finditer(rest):
        if not match[1] and not match[2]:
            return name
        code = int(match[2], 16) if match[2] else ord("_")
        if code > 0x10FFFF or 0xD800 <= code < 0xE000:
            return name
        pieces += [rest[done : match.start()], chr(code)]
        done = match.end()
    return "".join([*pieces, rest[done:]])


def _limited(items: Sequence[_Item], limit: int) -> tuple[Sequence[_Item], tuple[str, ...]]:
    if limit and len(items) > limit:
        return items[:limit], (TRUNCATED,)
    return items, ()
