"""An OTLP trace request, decoded: bytes in, columns out. Pure."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from collector.model.ids import SPAN_ID_BYTES, TRACE_ID_BYTES
from collector.model.telemetry import SpanBatch
from collector.pipeline.columns import numbers, parents_of, relisted, words
from collector.pipeline.intake import AS_SENT, Intake
from collector.pipeline.origins import Records, unfold
from collector.pipeline.wire import resource_spans


def decode_spans(request: bytes, *, received_ms: int, intake: Intake = AS_SENT) -> SpanBatch:
    """
    Decode a serialised ExportTraceServiceRequest.

    A span whose trace, span or parent id, or a link's, cannot be one is left out and counted; the others of its batch
    stay. One that ends before it starts is kept, as the OpenTelemetry Collector does.

    Args:
        received_ms: Unix milliseconds; what retention goes by, since a sender's clock may be wrong.

    Raises:
        BadRequestError: not that message, or a part of it is malformed.
    """
    unfolded = unfold(resource_spans(request), intake, scopes_field="scope_spans", records_field="spans")
    table, faults = _table(unfolded, received_ms, intake)
    refused = np.zeros(len(table), np.bool_)
    counts: dict[str, int] = {}
    for reason, rows in faults.items():  # a span with several faults counts for the first
        if found := int(np.count_nonzero(rows & ~refused)):
            counts[reason] = found
            refused |= rows
    return SpanBatch(
        table=table if not counts else _kept(table, ~refused),
        resources=unfolded.resources,
        scopes=unfolded.scopes,
        rejected=counts,
    )


def _table(unfolded: Records, received_ms: int, intake: Intake) -> tuple[pa.Table, dict[str, NDArray[np.bool_]]]:
    """All spans, and which of them are to be refused for which reason."""
    spans = unfolded.records
    trace_ids, trace_fits, _ = words(spans.field("trace_id"), TRACE_ID_BYTES)
    span_ids, span_fits, _ = words(spans.field("span_id"), SPAN_ID_BYTES)
    parent_ids, parent_fits, parent_empty = words(spans.field("parent_span_id"), SPAN_ID_BYTES)
    faults = {
        "invalid trace id": ~(trace_fits & trace_ids.any(axis=1)),
        "invalid span id": ~(span_fits & (span_ids[:, 0] != 0)),
        "invalid parent span id": ~(parent_fits | parent_empty),
        "invalid id in a link": _with_wrong_links(spans.field("links")),
    }
    attributes, dropped = intake.lists(spans.field("attributes"), spans.field("dropped_attributes_count"))
    start = numbers(spans.field("start_time_unix_nano"))
    end = numbers(spans.field("end_time_unix_nano"))
    status = spans.field("status")
    columns = {
        "trace_hi": trace_ids[:, 0].copy(),
        "trace_lo": trace_ids[:, 1].copy(),
        "span_id": span_ids[:, 0],
        "parent_span_id": parent_ids[:, 0],
        "service": unfolded.services,
        "name": intake.text(spans.field("name")),
        "kind": spans.field("kind"),
        "start_unix_nano": start,
        "duration_nano": (end - start).view(np.int64),  # wraps to a negative number if the end is before the start
        "status_code": status.field("code"),
        "status_message": intake.text(status.field("message")),
        "trace_state": intake.text(spans.field("trace_state")),
        "flags": spans.field("flags"),
        "attributes": attributes,
        "events": _events(spans.field("events"), intake),
        "links": _links(spans.field("links"), intake),
        "dropped_attributes": dropped,
        "dropped_events": spans.field("dropped_events_count"),
        "dropped_links": spans.field("dropped_links_count"),
        "resource_id": unfolded.resource_ids,
        "scope_id": unfolded.scope_ids,
        "received_ms": np.full(len(spans), received_ms, np.int64),
    }
    return pa.table(columns), faults


def _with_wrong_links(lists: pa.ListArray) -> NDArray[np.bool_]:
    """An empty id may stand: an SDK records links to contexts that are not valid (OpenTelemetry, "Link")."""
    found = np.zeros(len(lists), np.bool_)
    if len(links := lists.values):
        _, trace_fits, trace_empty = words(links.field("trace_id"), TRACE_ID_BYTES)
        _, span_fits, span_empty = words(links.field("span_id"), SPAN_ID_BYTES)
        found[parents_of(lists)[~((trace_fits | trace_empty) & (span_fits | span_empty))]] = True
    return found


def _events(lists: pa.ListArray, intake: Intake) -> pa.ListArray:
    events = lists.values
    attributes, dropped = intake.lists(events.field("attributes"), events.field("dropped_attributes_count"))
    columns = {
        "time_unix_nano": events.field("time_unix_nano"),
        "name": intake.text(events.field("name")),
        "attributes": attributes,
        "dropped_attributes": dropped,
    }
    return relisted(lists, pa.StructArray.from_arrays(list(columns.values()), names=list(columns)))


def _links(lists: pa.ListArray, intake: Intake) -> pa.ListArray:
    links = lists.values
    attributes, dropped = intake.lists(links.field("attributes"), links.field("dropped_attributes_count"))
    columns = {
        "trace_id": links.field("trace_id"),
        "span_id": links.field("span_id"),
        "trace_state": intake.text(links.field("trace_state")),
        "attributes": attributes,
        "dropped_attributes": dropped,
        "flags": links.field("flags"),
    }
    return relisted(lists, pa.StructArray.from_arrays(list(columns.values()), names=list(columns)))


def _kept(table: pa.Table, valid: NDArray[np.bool_]) -> pa.Table:
    """The rows that are valid, as slices of the runs of them."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], valid.view(np.int8), [0]))))
    runs = [table.slice(begin, end - begin) for begin, end in edges.reshape(-1, 2).tolist()]
    return pa.concat_tables(runs) if runs else table.slice(0, 0)
