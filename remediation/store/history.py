"""What was done before, as the guards count it. Each function reads within the caller's transaction."""

from __future__ import annotations

import sqlalchemy as sa

from remediation.store.record import RETURNING, FleetHistory, KillSwitch, State, TargetHistory
from remediation.store.tables import actions, kill_switch, runs

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
# An action that was intended may have been done; one that was refused or overtaken by others was not.
_COUNTED = actions.c.action.notin_(RETURNING) & actions.c.status.in_(("intended", "done"))


def target_history(connection: sa.Connection, service: str, run_id: str, now_unix_ms: int) -> TargetHistory:
    here = _COUNTED & (actions.c.target == service)
    last = sa.select(sa.func.max(actions.c.at_unix_ms)).where(here, actions.c.run_id != run_id)
    recent = sa.select(sa.func.count()).where(here, actions.c.at_unix_ms > now_unix_ms - HOUR_MS)
    others = (runs.c.service == service) & (runs.c.id != run_id)
    # Only of a run that acted: one that was itself held off must not prolong the hold-off.
    others &= sa.exists().where(actions.c.run_id == runs.c.id)
    ended = sa.select(runs.c.id, runs.c.finished_at_unix_ms).where(others)
    escalated = connection.execute(
        ended.where(runs.c.state == State.ESCALATED.value).order_by(runs.c.finished_at_unix_ms.desc()).limit(1)
    ).first()
    repairs = connection.execute(
        ended.where(runs.c.state == State.RESOLVED.value, runs.c.finished_at_unix_ms > now_unix_ms - DAY_MS)
    )
    return TargetHistory(
        last_action_unix_ms=connection.execute(last).scalar_one(),
        actions_last_hour=connection.execute(recent).scalar_one(),
        last_escalation=None if escalated is None else (escalated[0], escalated[1]),
        repairs_unix_ms=tuple(sorted(row[1] for row in repairs)),
    )


def fleet_history(
    connection: sa.Connection, run_id: str, policy: str, now_unix_ms: int, radius_ms: float
) -> FleetHistory:
    """Args: radius_ms: the window of the blast radius."""
    # Each asks in the order in which little is read: the few recent actions, or the few unfinished runs, come first.
    lately = sa.select(sa.func.count()).where(_COUNTED, actions.c.at_unix_ms > now_unix_ms - HOUR_MS)
    of_policy = sa.exists().where(runs.c.id == actions.c.run_id, runs.c.policy == policy)
    acted = sa.exists().where(actions.c.run_id == runs.c.id, _COUNTED)
    acting = sa.select(sa.func.count()).where(runs.c.finished_at_unix_ms.is_(None), runs.c.id != run_id, acted)
    # Not DISTINCT: SQLite would read all actions in the order of their targets.
    targets = sa.select(actions.c.target).where(
        _COUNTED, actions.c.at_unix_ms > now_unix_ms - radius_ms, actions.c.run_id != run_id
    )
    return FleetHistory(
        kill_switch=switched_off(connection),
        actions_last_hour=connection.execute(lately).scalar_one(),
        policy_actions_last_hour=connection.execute(lately.where(of_policy)).scalar_one(),
        other_runs_acting=connection.execute(acting).scalar_one(),
        other_services_acted_on=frozenset(connection.execute(targets).scalars()),
    )


def switched_off(connection: sa.Connection) -> KillSwitch | None:
    row = connection.execute(sa.select(kill_switch)).mappings().first()
    return None if row is None else KillSwitch(reason=row["reason"], by=row["by"], at_unix_ms=row["at_unix_ms"])
