"""The tables. One file of SQLite, or one PostgreSQL for several workers; the same statements run on both."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

metadata = MetaData()
# SQLite numbers rows by itself only for a column of type INTEGER.
_Sequence = BigInteger().with_variant(Integer, "sqlite")

runs = Table(
    "remediation_runs",
    metadata,
    Column("id", String(128), primary_key=True),  # fingerprint and startsAt: the idempotency key
    Column("service", String(128), nullable=False),
    Column("alertname", Text, nullable=False),
    Column("fingerprint", String(64), nullable=False),
    Column("policy", String(64), nullable=False),
    Column("policy_json", Text, nullable=False),  # as it was when the run began: later edits do not change a run
    Column("alert_json", Text, nullable=False),
    Column("state", String(32), nullable=False),
    Column("outcome", Text),
    Column("started_at_unix_ms", BigInteger, nullable=False),
    Column("finished_at_unix_ms", BigInteger),
    Column("waited_for", String(128)),  # the run that was at work on the target when this one's alert came
)
# At most one unfinished run for each target, enforced where two workers meet.
Index(
    "remediation_one_active_run",
    runs.c.service,
    unique=True,
    sqlite_where=runs.c.finished_at_unix_ms.is_(None),
    postgresql_where=runs.c.finished_at_unix_ms.is_(None),
)
Index("remediation_runs_by_start", runs.c.started_at_unix_ms)
# What listings filter by and guards look back at, so that neither reads the whole history.
Index("remediation_runs_by_service", runs.c.service, runs.c.started_at_unix_ms)
Index("remediation_runs_by_state", runs.c.state, runs.c.started_at_unix_ms)
Index("remediation_runs_by_end", runs.c.service, runs.c.state, runs.c.finished_at_unix_ms)

alerts = Table(
    "remediation_alerts",
    metadata,
    Column("fingerprint", String(64), primary_key=True),
    Column("starts_at_unix_ms", BigInteger, primary_key=True),
    # The run that answers it; empty if it was over before anybody had heard that it fires.
    Column("run_id", String(128), nullable=False, index=True),
    Column("resolved_at_unix_ms", BigInteger),
    # Of an alert that joined a run which is not its concern: itself, to be answered when that run is over.
    Column("waiting_json", Text),
)
_waits = alerts.c.waiting_json.is_not(None)
Index("remediation_alerts_waiting", alerts.c.run_id, sqlite_where=_waits, postgresql_where=_waits)

actions = Table(
    "remediation_actions",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=True),
    Column("run_id", String(128), nullable=False),
    Column("key", String(128), nullable=False),  # which action of the run: written once, however often it is retried
    Column("action", String(32), nullable=False),
    Column("target", String(128), nullable=False),
    Column("from_replicas", Integer, nullable=False),
    Column("to_replicas", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_unix_ms", BigInteger, nullable=False),
    Column("status", String(16), nullable=False),  # intended, done, failed, conflict, unknown
    Column("before", Text),  # of a lever, in words
    Column("after", Text),
    UniqueConstraint("run_id", "key"),
)
Index("remediation_actions_by_target", actions.c.target, actions.c.at_unix_ms)
Index("remediation_actions_by_time", actions.c.at_unix_ms)

# Runs that no alert began: each is one decision of an autoscaler, begun and ended within a moment.
scalings = Table(
    "remediation_scalings",
    metadata,
    Column("run_id", String(128), primary_key=True),
    Column("service", String(128), nullable=False),
    Column("autoscaler", String(64), nullable=False),
)

# What each autoscaler decided last about each service, doing nothing included.
autoscaler_status = Table(
    "remediation_autoscaler_status",
    metadata,
    Column("service", String(128), primary_key=True),
    Column("at_unix_ms", BigInteger, nullable=False),
    Column("status_json", Text, nullable=False),
)

# What one worker does for all, until it has not been heard of for its lease.
duties = Table(
    "remediation_duties",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("holder", String(192), nullable=False),
    Column("expires_at_unix_ms", BigInteger, nullable=False),  # by the database's clock
)

timeline = Table(
    "remediation_timeline",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=True),
    Column("run_id", String(128), nullable=False),
    Column("key", String(192), nullable=False),
    Column("at_unix_ms", BigInteger, nullable=False),
    Column("event", String(64), nullable=False),
    Column("detail", Text, nullable=False),
    UniqueConstraint("run_id", "key"),
)

evidence = Table(
    "remediation_evidence",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=True),
    Column("run_id", String(128), nullable=False),
    Column("key", String(192), nullable=False),
    Column("at_unix_ms", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("query", Text, nullable=False),
    Column("value_json", Text, nullable=False),
    UniqueConstraint("run_id", "key"),
)

# One row while it is on; its history is in the audit log.
kill_switch = Table(
    "remediation_kill_switch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("reason", Text, nullable=False),
    Column("by", String(128), nullable=False),
    Column("at_unix_ms", BigInteger, nullable=False),
)

approvals = Table(
    "remediation_approvals",
    metadata,
    Column("sequence", _Sequence, primary_key=True, autoincrement=True),
    Column("run_id", String(128), nullable=False),
    Column("key", String(128), nullable=False),
    Column("question", Text, nullable=False),
    Column("asked_at_unix_ms", BigInteger, nullable=False),
    Column("expires_at_unix_ms", BigInteger, nullable=False),
    Column("verdict", String(16)),  # approved, refused, withdrawn; once
    Column("by", String(128)),
    Column("reason", Text),
    UniqueConstraint("run_id", "key"),
)

# Written only by `remediation.store.audit.append`, never changed.
audit = Table(
    "remediation_audit",
    metadata,
    Column("sequence", BigInteger, primary_key=True, autoincrement=False),
    Column("at_unix_ms", BigInteger, nullable=False),
    Column("kind", String(64), nullable=False),
    Column("run_id", String(128), nullable=False, index=True),  # empty where no run is meant
    Column("detail_json", Text, nullable=False),
    Column("previous_hash", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

# One row, always there.
audit_head = Table(
    "remediation_audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("sequence", BigInteger, nullable=False),
    Column("hash", String(64), nullable=False),
)

# Who works on this store. A worker that has not been heard of for its lease has lost its row, and with it its runs.
workers = Table(
    "remediation_workers",
    metadata,
    Column("name", String(128), primary_key=True),
    Column("incarnation", String(32), nullable=False),  # of the process: a restarted one has another
    Column("expires_at_unix_ms", BigInteger, nullable=False),  # by the database's clock
)
