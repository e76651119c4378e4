"""An OTLP trace request, decoded: bytes in, columns out. Pure."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collector.model.ids import SPAN_ID_BYTES, TRACE_ID_BYTES
from collector.model.telemetry import SpanBatch
from collector.pipeline.columns import attribute_lists, numbers, relisted, words
from collector.pipeline.origins import Records, unfold
from collector.pipeline.wire import resource_spans


def decode_spans(request: bytes, *, received_ms: int) -> SpanBatch:
    """
    Decode a serialised ExportTraceServiceRequest.

    A span whose trace, span or parent id cannot be one is left out and counted; the others of its batch stay.

    Args:
        received_ms: Unix milliseconds; what retention goes by, since a sender's clock may be wrong.

    Raises:
        BadRequestError: not that message, or a part of it is malformed.
    """
    unfolded = unfold(resource_spans(request), scopes_field="scope_spans", records_field="spans")
    table, valid = _table(unfolded, received_ms)
    rejected = len(valid) - int(valid.sum())
    return SpanBatch(
        table=table if not rejected else _kept(table, valid),
        resources=unfolded.resources,
        scopes=unfolded.scopes,
        rejected=rejected,
        reason=f"{rejected} spans have an invalid trace id, span id or parent span id" if rejected else "",
    )


def _table(unfolded: Records, received_ms: int) -> tuple[pa.Table, NDArray[np.bool_]]:
    spans = unfolded.records
    trace_ids, trace_fits, _ = words(spans.field("trace_id"), TRACE_ID_BYTES)
    span_ids, span_fits, _ = words(spans.field("span_id"), SPAN_ID_BYTES)
    parent_ids, parent_fits, parent_empty = words(spans.field("parent_span_id"), SPAN_ID_BYTES)
    valid = trace_fits & span_fits & (parent_fits | parent_empty) & trace_ids.any(axis=1) & (span_ids[:, 0] != 0)
    start = numbers(spans.field("start_time_unix_nano"))
    end = numbers(spans.field("end_time_unix_nano"))
    status = spans.field("status")
    columns = {
        "trace_hi": trace_ids[:, 0].copy(),
        "trace_lo": trace_ids[:, 1].copy(),
        "span_id": span_ids[:, 0],
        "parent_span_id": parent_ids[:, 0],
        "service": unfolded.services,
        "name": spans.field("name"),
        "kind": spans.field("kind"),
        "start_unix_nano": start,
        "duration_nano": (end - start).view(np.int64),  # wraps to a negative number if the end is before the start
        "status_code": status.field("code"),
        "status_message": status.field("message"),
        "trace_state": spans.field("trace_state"),
        "flags": spans.field("flags"),
        "attributes": attribute_lists(spans.field("attributes")),
        "events": _events(spans.field("events")),
        "links": _links(spans.field("links")),
        "dropped_attributes": spans.field("dropped_attributes_count"),
        "dropped_events": spans.field("dropped_events_count"),
        "dropped_links": spans.field("dropped_links_count"),
        "resource_id": unfolded.resource_ids,
        "scope_id": unfolded.scope_ids,
        "received_ms": np.full(len(spans), received_ms, np.int64),
    }
    return pa.table(columns), valid


def _events(lists: pa.ListArray) -> pa.ListArray:
    events = lists.values
    columns = {
        "time_unix_nano": events.field("time_unix_nano"),
        "name": events.field("name"),
        "attributes": attribute_lists(events.field("attributes")),
        "dropped_attributes": events.field("dropped_attributes_count"),
    }
    return relisted(lists, pa.StructArray.from_arrays(list(columns.values()), names=list(columns)))


def _links(lists: pa.ListArray) -> pa.ListArray:
    links = lists.values
    columns = {
        "trace_id": links.field("trace_id"),
        "span_id": links.field("span_id"),
        "trace_state": links.field("trace_state"),
        "attributes": attribute_lists(links.field("attributes")),
        "dropped_attributes": links.field("dropped_attributes_count"),
        "flags": links.field("flags"),
    }
    return relisted(lists, pa.StructArray.from_arrays(list(columns.values()), names=list(columns)))


def _kept(table: pa.Table, valid: NDArray[np.bool_]) -> pa.Table:
    """The rows that are valid, as slices of the runs of them."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], valid.view(np.int8), [0]))))
    runs = [table.slice(begin, end - begin) for begin, end in edges.reshape(-1, 2).tolist()]
    return pa.concat_tables(runs) if runs else table.slice(0, 0)
