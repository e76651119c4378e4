"""An OTLP log request, decoded: bytes in, columns out. Pure."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from collector.model.ids import SPAN_ID_BYTES, TRACE_ID_BYTES
from collector.model.telemetry import LogBatch
from collector.pipeline.columns import words
from collector.pipeline.intake import AS_SENT, Intake
from collector.pipeline.origins import unfold
from collector.pipeline.wire import resource_logs


def decode_logs(request: bytes, *, received_ms: int, intake: Intake = AS_SENT) -> LogBatch:
    """
    Decode a serialised ExportLogsServiceRequest. An invalid trace or span id is stored as none: logs.proto says that
    receivers should not drop a record for it.

    Raises:
        BadRequestError: not that message, or a part of it is malformed.
    """
    unfolded = unfold(resource_logs(request), intake, scopes_field="scope_logs", records_field="log_records")
    logs = unfolded.records
    trace_ids, _, _ = words(logs.field("trace_id"), TRACE_ID_BYTES)
    span_ids, _, _ = words(logs.field("span_id"), SPAN_ID_BYTES)
    body_type, body = intake.value(logs.field("body"))
    attributes, dropped = intake.lists(logs.field("attributes"), logs.field("dropped_attributes_count"))
    columns = {
        "time_unix_nano": logs.field("time_unix_nano"),
        "observed_unix_nano": logs.field("observed_time_unix_nano"),
        "service": unfolded.services,
        "severity_number": logs.field("severity_number"),
        "severity_text": intake.text(logs.field("severity_text")),
        "body_type": body_type,
        "body": body,
        "attributes": attributes,
        "dropped_attributes": dropped,
        "flags": logs.field("flags"),
        "trace_hi": trace_ids[:, 0].copy(),
        "trace_lo": trace_ids[:, 1].copy(),
        "span_id": span_ids[:, 0],
        "event_name": intake.text(logs.field("event_name")),
        "resource_id": unfolded.resource_ids,
        "scope_id": unfolded.scope_ids,
        "received_ms": np.full(len(logs), received_ms, np.int64),
    }
    return LogBatch(table=pa.table(columns), resources=unfolded.resources, scopes=unfolded.scopes)
