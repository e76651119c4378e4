"""Reading log records."""

from __future__ import annotations

from dataclasses import dataclass

from collector.model.attributes import Attribute, ValueType
from collector.model.ids import SpanId, TraceId, trace_id_halves, trace_id_of
from collector.model.telemetry import LogRecord
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.rows import attributes_of_row, read_resources, read_scopes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    start_unix_nano: int  # inclusive
    end_unix_nano: int  # exclusive
    limit: int
    service: str | None = None
    min_severity: int | None = None  # SeverityNumber, 1 to 24; that or worse
    trace_id: TraceId | None = None


class LogReader:
    def __init__(self, database: TelemetryDatabase) -> None:
        self._database = database

    def find(self, query: LogQuery) -> list[LogRecord]:
        """Log records, newest first. One that carries no time counts by when it was observed."""
        conditions = ["moment >= $start", "moment < $end"]
        values: dict[str, object] = {"start": query.start_unix_nano, "end": query.end_unix_nano, "limit": query.limit}
        if query.service is not None:
            conditions.append("service = $service")
            values["service"] = query.service
        if query.min_severity is not None:
            conditions.append("severity_number >= $severity")
            values["severity"] = query.min_severity
        if query.trace_id is not None:
            conditions.append("trace_lo = $low AND trace_hi = $high")
            values["high"], values["low"] = trace_id_halves(query.trace_id)
        sql = f"""
            SELECT time_unix_nano, observed_unix_nano, severity_number, severity_text, body_type, body, attributes,
                dropped_attributes, trace_hi, trace_lo, span_id, flags, event_name, resource_id, scope_id,
                CASE time_unix_nano WHEN 0 THEN observed_unix_nano ELSE time_unix_nano END AS moment
            FROM logs WHERE {" AND ".join(conditions)} ORDER BY moment DESC LIMIT $limit
        """  # noqa: S608  (the conditions are ours, the values are bound)
        with self._database.reading() as cursor:
            rows = cursor.execute(sql, values).fetchall()
            resources = read_resources(cursor, {row[13] for row in rows})
            scopes = read_scopes(cursor, {row[14] for row in rows})
        return [
            LogRecord(
                time_unix_nano=row[0],
                observed_unix_nano=row[1],
                severity_number=row[2],
                severity_text=row[3],
                body=Attribute("", ValueType(row[4]), row[5] or ""),
                attributes=attributes_of_row(row[6]),
                dropped_attributes=row[7],
                trace_id=trace_id_of(row[8], row[9]),
                span_id=SpanId(row[10]),
                flags=row[11],
                event_name=row[12],
                resource=resources[row[13]],
                scope=scopes[row[14]],
            )
            for row in rows
        ]
