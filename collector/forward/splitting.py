"""A request in two, for a destination to which it is too large. Pure."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from collector.receivers.otlp_ingest import REQUEST_TYPES, Signal

# The lists within one another, from the request down to what is counted.
_LISTS = {
    Signal.TRACES: ("resource_spans", "scope_spans", "spans"),
    Signal.LOGS: ("resource_logs", "scope_logs", "log_records"),
    Signal.METRICS: ("resource_metrics", "scope_metrics", "metrics"),
}


def halves(signal: Signal, request: bytes) -> tuple[bytes, bytes] | None:
    """
    Two requests that together say what `request` says, in its order; None if it cannot be divided: it holds one span,
    log record or metric. A request is always divided alike, so that a half that is sent again is known.

    Args:
        request: Serialised.
    """
    message = REQUEST_TYPES[signal].FromString(request)
    first, second = REQUEST_TYPES[signal](), REQUEST_TYPES[signal]()
    first.CopyFrom(message)
    second.CopyFrom(message)
    if not _divide(message, first, second, _LISTS[signal]):
        return None
    return bytes(first.SerializeToString()), bytes(second.SerializeToString())


def count(signal: Signal, request: Message) -> int:
    """Its spans, log records or data points."""
    of_resource, of_scope, of_item = _LISTS[signal]
    items = [
        item
        for resource in getattr(request, of_resource)
        for scope in getattr(resource, of_scope)
        for item in getattr(scope, of_item)
    ]
    if signal is not Signal.METRICS:
        return len(items)
    return sum(len(getattr(metric, kind).data_points) for metric in items if (kind := metric.WhichOneof("data")))


def _divide(whole: Message, first: Message, second: Message, lists: tuple[str, ...]) -> bool:
    """Leave the first half in `first` and the rest in `second`, which both begin as copies of `whole`."""
    if not lists:
        return False
    name, *inner = lists
    items: Any = getattr(whole, name)
    if len(items) == 1:
        return _divide(items[0], getattr(first, name)[0], getattr(second, name)[0], tuple(inner))
    middle = len(items) // 2
    del getattr(first, name)[middle:]
    del getattr(second, name)[:middle]
    return middle > 0
