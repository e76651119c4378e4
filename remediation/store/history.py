"""What was done before, as the guards count it. Each function reads within the caller's transaction."""

from __future__ import annotations

import itertools

import sqlalchemy as sa

from remediation.store.record import (
    AUTOSCALING,
    RETURNING,
    FleetHistory,
    KillSwitch,
    ScalingHistory,
    State,
    TargetHistory,
)
from remediation.store.tables import actions, kill_switch, runs

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
GIVEN_BACK_MS = 6 * HOUR_MS  # how far back it is looked at what autoscaling took away too soon: a part of a day
_DONE = actions.c.status.in_(("intended", "done"))  # what was intended may have been done
# So may what failed: a command that ended with 1 has run, an answer that did not come was lost on its way back. Only
# what somebody else was found to have changed was left alone. An autoscaler asks again every few seconds: what failed
# of it is not counted, or an outage of the scaler would use up the limits over everything.
_MAY_BE_DONE = actions.c.status != "conflict"
_REPAIR = actions.c.action.notin_(RETURNING | AUTOSCALING)
_COUNTED = _REPAIR & _MAY_BE_DONE
_COUNTED_IN_ALL = actions.c.action.notin_(RETURNING) & sa.or_(_DONE, _REPAIR & _MAY_BE_DONE)


def target_history(
    connection: sa.Connection, service: str, run_id: str, now_unix_ms: int, looking_back_ms: float = DAY_MS
) -> TargetHistory:
    """
    Args:
        looking_back_ms: What was before is not told; without a bound, the search for the last of what never happened
            would read all that was ever done to the target.
    """
    since_unix_ms = now_unix_ms - looking_back_ms
    here = _COUNTED & (actions.c.target == service)
    # Putting back changes the target as much: who acted right after it would swing it by the worker's own hand.
    undone = (actions.c.action == "undo") & (actions.c.target == service) & _MAY_BE_DONE
    # Not max(): it would read all that was ever done here.
    latest = sa.select(actions.c.at_unix_ms).order_by(actions.c.at_unix_ms.desc()).limit(1)
    latest = latest.where(actions.c.at_unix_ms > since_unix_ms)
    # One list of what is left out, not two alternatives: of those SQLite would read everything, and sort it.
    left_out = (RETURNING | AUTOSCALING) - {"undo"}
    done_here = _MAY_BE_DONE & (actions.c.target == service) & actions.c.action.notin_(left_out)
    last = latest.where(done_here, actions.c.run_id != run_id)
    shrunk = actions.c.to_replicas < actions.c.from_replicas
    taken_back = connection.execute(latest.add_columns(actions.c.from_replicas).where(undone, shrunk)).first()
    recent = sa.select(sa.func.count()).where(here, actions.c.at_unix_ms > now_unix_ms - HOUR_MS)
    others = (runs.c.service == service) & (runs.c.id != run_id)
    # Only of a run that acted: one that was itself held off must not prolong the hold-off.
    others &= sa.exists().where(actions.c.run_id == runs.c.id, actions.c.action.notin_(AUTOSCALING))
    ended = sa.select(runs.c.id, runs.c.finished_at_unix_ms).where(others, runs.c.finished_at_unix_ms > since_unix_ms)
    escalated = connection.execute(
        ended.where(runs.c.state == State.ESCALATED.value).order_by(runs.c.finished_at_unix_ms.desc()).limit(1)
    ).first()
    repairs = connection.execute(ended.where(runs.c.state == State.RESOLVED.value))
    return TargetHistory(
        last_action_unix_ms=connection.execute(last).scalar_one_or_none(),
        actions_last_hour=connection.execute(recent).scalar_one(),
        last_escalation=None if escalated is None else (escalated[0], escalated[1]),
        repairs_unix_ms=tuple(sorted(row[1] for row in repairs)),
        last_undo=None if taken_back is None else (taken_back[0], taken_back[1]),
    )


def replaced_since(connection: sa.Connection, service: str, since_unix_ms: float) -> int:
    """Replicas of the service that were replaced one by one since then."""
    here = _COUNTED & (actions.c.target == service) & (actions.c.action == "replace")
    count: int = connection.execute(
        sa.select(sa.func.count()).where(here, actions.c.at_unix_ms > since_unix_ms)
    ).scalar_one()
    return count


def fleet_history(
    connection: sa.Connection, run_id: str, policy: str, now_unix_ms: int, radius_ms: float
) -> FleetHistory:
    """Args: radius_ms: the window of the blast radius."""
    # Each asks in the order in which little is read: the few recent actions, or the few unfinished runs, come first.
    lately = sa.select(sa.func.count()).where(_COUNTED_IN_ALL, actions.c.at_unix_ms > now_unix_ms - HOUR_MS)
    of_policy = sa.exists().where(runs.c.id == actions.c.run_id, runs.c.policy == policy)
    acted = sa.exists().where(actions.c.run_id == runs.c.id, _COUNTED)
    acting = sa.select(sa.func.count()).where(runs.c.finished_at_unix_ms.is_(None), runs.c.id != run_id, acted)
    # Not DISTINCT: SQLite would read all actions in the order of their targets.
    targets = sa.select(actions.c.target).where(
        _COUNTED, actions.c.at_unix_ms > now_unix_ms - radius_ms, actions.c.run_id != run_id
    )
    taken = sa.select(actions.c.target).where(
        _DONE, actions.c.action == "autoscale_in", actions.c.at_unix_ms > now_unix_ms - radius_ms
    )
    return FleetHistory(
        kill_switch=switched_off(connection),
        actions_last_hour=connection.execute(lately).scalar_one(),
        policy_actions_last_hour=connection.execute(lately.where(of_policy)).scalar_one(),
        other_runs_acting=connection.execute(acting).scalar_one(),
        other_services_acted_on=frozenset(connection.execute(targets).scalars()),
        services_taken_from=frozenset(connection.execute(taken).scalars()),
    )


def scaling_history(connection: sa.Connection, service: str, now_unix_ms: int, radius_ms: float) -> ScalingHistory:
    """Args: radius_ms: the window of the autoscaler's own blast radius."""
    here = _DONE & (actions.c.target == service)
    # Not max(): it would read all that was ever done here.
    last = sa.select(actions.c.at_unix_ms).where(here).order_by(actions.c.at_unix_ms.desc()).limit(1)
    own = connection.execute(
        sa.select(actions.c.action, actions.c.at_unix_ms, actions.c.from_replicas)
        .where(
            here,
            actions.c.action.in_(AUTOSCALING),
            actions.c.at_unix_ms > now_unix_ms - max(radius_ms, HOUR_MS, GIVEN_BACK_MS),
        )
        .order_by(actions.c.at_unix_ms, actions.c.sequence)
    ).all()
    lately = [action for action, at_unix_ms, _ in own if at_unix_ms > now_unix_ms - GIVEN_BACK_MS]
    escalated = (runs.c.service == service) & (runs.c.state == State.ESCALATED.value)
    acted = sa.exists().where(actions.c.run_id == runs.c.id)
    escalation = connection.execute(
        sa.select(runs.c.id, runs.c.finished_at_unix_ms)
        .where(escalated, acted)
        .order_by(runs.c.finished_at_unix_ms.desc())
        .limit(1)
    ).first()
    return ScalingHistory(
        last_change_unix_ms=connection.execute(last).scalar_one_or_none(),
        peak_in_window=max(
            (
                before
                for action, at_unix_ms, before in own
                if action == "autoscale_in" and at_unix_ms > now_unix_ms - radius_ms
            ),
            default=0,
        ),
        given_back=sum(pair == ("autoscale_in", "autoscale_out") for pair in itertools.pairwise(lately)),
        actions_last_hour=sum(at_unix_ms > now_unix_ms - HOUR_MS for _, at_unix_ms, _ in own),
        last_escalation=None if escalation is None else (escalation[0], escalation[1]),
    )


def switched_off(connection: sa.Connection) -> KillSwitch | None:
    row = connection.execute(sa.select(kill_switch)).mappings().first()
    return None if row is None else KillSwitch(reason=row["reason"], by=row["by"], at_unix_ms=row["at_unix_ms"])
