"""
What Grafana's published schema says against a dashboard's JSON.

The schema is the one that grafana-foundation-sdk's models are generated from: Grafana's own kinds, those of its panels
and of its data sources among them. Read into the models and written again, JSON keeps exactly what the schema knows;
each value is then held to the type, the enumeration or the literals that the schema gives its field.
"""

from __future__ import annotations

import enum
import json
import types
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard


def faults(document: Mapping[str, Any]) -> list[str]:
    """Each with its place; empty: the dashboard is one."""
    register_default_plugins()
    try:
        model = Dashboard.from_json(dict(document))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return [f"cannot be read: {error!r}"]
    again = json.loads(JSONEncoder().encode(model))
    return [*_unknown(document, again, "dashboard"), *_wrong(model, "dashboard")]


def _unknown(given: Any, kept: Any, place: str) -> Iterator[str]:
    """What was lost on the way through the models, or came back as something else."""
    if isinstance(given, Mapping) and isinstance(kept, Mapping):
        for key, value in given.items():
            if key not in kept:
                if value is not None:
                    yield f"{place}.{key}: the schema has no such field"
            else:
                yield from _unknown(value, kept[key], f"{place}.{key}")
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for number, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from _unknown(one, other, f"{place}[{number}]")
    elif given != kept:
        yield f"{place}: {given!r} came back as {kept!r}"


def _wrong(model: object, place: str) -> Iterator[str]:
    """Values of the wrong type, of this object and all within."""
    for name, wanted in _hints(type(model)).items():
        value = getattr(model, name, None)
        yield from _held(value, wanted, f"{place}.{name.removesuffix('_val')}")


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind) if kind.__module__.startswith("grafana_foundation_sdk.models") else {}


def _held(value: Any, wanted: Any, place: str) -> Iterator[str]:
    origin = get_origin(wanted)
    if wanted in (object, Any):
        yield from _wrong(value, place)
    elif origin in (Union, types.UnionType):
        tried = [list(_held(value, each, place)) for each in get_args(wanted)]
        if all(tried):
            yield from max(tried, key=lambda found: len(found[0].partition(": ")[0]))  # who came furthest
    elif origin is Literal:
        if value not in get_args(wanted):
            yield f"{place}: {value!r} is none of {get_args(wanted)}"
    elif origin is list:
        if not isinstance(value, list):
            yield f"{place}: {value!r} is no list"
        else:
            for number, each in enumerate(value):
                yield from _held(each, get_args(wanted)[0], f"{place}[{number}]")
    elif origin is dict:
        if not isinstance(value, dict):
            yield f"{place}: {value!r} is no object"
        else:
            for key, each in value.items():
                yield from _held(each, get_args(wanted)[1], f"{place}.{key}")
    elif wanted is type(None):
        if value is not None:
            yield f"{place}: {value!r} should not be there"
    elif isinstance(wanted, type) and issubclass(wanted, enum.Enum):
        if value not in {each.value for each in wanted}:
            yield f"{place}: {value!r} is no {wanted.__name__}"
    elif isinstance(value, dict) and hasattr(wanted, "from_json"):  # one that the models keep as it was written
        model = wanted.from_json(value)
        yield from _unknown(value, json.loads(JSONEncoder().encode(model)), place)
        yield from _wrong(model, place)
    elif not _is_a(value, wanted):
        yield f"{place}: {value!r} is no {getattr(wanted, '__name__', wanted)}"
    else:
        yield from _wrong(value, place)


def _is_a(value: Any, wanted: type) -> bool:
    if wanted in (int, float):
        number = (int, float) if wanted is float else int
        return isinstance(value, number) and not isinstance(value, bool)
    return isinstance(value, wanted)
