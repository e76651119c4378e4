"""
GET /api/v1/rules and /api/v1/alerts, in Prometheus's shapes.

Source: prometheus/web/api/v1/api.go, rules and alerts.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse

from collector.model.alert import GO_ZERO_TIME, rfc3339
from collector.rules.alert_state import ActiveAlert, AlertState
from collector.rules.evaluated_rule import EvaluatedAlerting, EvaluatedRule
from collector.rules.goformat import format_exponent
from collector.rules.group import RuleGroup
from collector.rules.manager import RuleManager
from steersman.runtime.http import error_response

JsonObject = dict[str, object]
_TYPES = {"": {"alerting", "recording"}, "alert": {"alerting"}, "record": {"recording"}}
_FLAGS = {"": False} | dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "false", "FALSE", "False"), False
)  # Go's strconv.ParseBool  # fmt: skip


def rules_router(manager: RuleManager) -> APIRouter:
    router = APIRouter()

    @router.get("/api/v1/rules")
    async def rules(
        type_: Annotated[str, Query(alias="type")] = "",
        rule_name: Annotated[list[str], Query(alias="rule_name[]")] = [],  # noqa: B006  (FastAPI copies it)
        rule_group: Annotated[list[str], Query(alias="rule_group[]")] = [],  # noqa: B006
        file: Annotated[list[str], Query(alias="file[]")] = [],  # noqa: B006
        match: Annotated[list[str], Query(alias="match[]")] = [],  # noqa: B006
        exclude_alerts: str = "",
    ) -> JSONResponse:
        if (kinds := _TYPES.get(type_.lower())) is None:
            return error_response(400, f'invalid parameter "type": not supported value "{type_}"')
        if (without_alerts := _FLAGS.get(exclude_alerts)) is None:
            return error_response(400, f'invalid parameter "exclude_alerts": not a boolean: "{exclude_alerts}"')
        if match:
            return error_response(400, 'the parameter "match[]" is not built yet')
        groups = []
        for group in manager.groups:
            if (rule_group and group.spec.name not in rule_group) or (file and group.spec.file not in file):
                continue
            shown = [
                rule
                for one in group.rules
                if (rule := _rule(one, with_alerts=not without_alerts))["type"] in kinds
                and (not rule_name or one.rule.name in rule_name)
            ]
            if shown:
                groups.append(_group(group, shown))
        return _success({"groups": groups})

    @router.get("/api/v1/alerts")
    async def alerts() -> JSONResponse:
        found = [_alert(alert) for group in manager.groups for rule in group.alerting for alert in rule.table.active()]
        return _success({"alerts": found})

    return router


def _success(data: JsonObject) -> JSONResponse:
    return JSONResponse({"status": "success", "data": data})


def _time(unix_ms: int | None) -> str:
    return GO_ZERO_TIME if unix_ms is None else rfc3339(unix_ms)


def _group(group: RuleGroup, rules: list[JsonObject]) -> JsonObject:
    return {
        "name": group.spec.name,
        "file": group.spec.file,
        "rules": rules,
        "interval": group.interval_ms / 1000,
        "limit": group.spec.limit,
        "evaluationTime": group.duration_s,
        "lastEvaluation": _time(group.evaluated_at_ms),
    }


def _rule(one: EvaluatedRule, *, with_alerts: bool) -> JsonObject:
    outcome = one.outcome
    error: JsonObject = {"lastError": outcome.error} if outcome.error else {}
    tail: JsonObject = {
        "health": outcome.health,
        **error,
        "evaluationTime": outcome.duration_s,
        "lastEvaluation": _time(outcome.evaluated_at_ms),
    }
    if not isinstance(one, EvaluatedAlerting):
        labels: JsonObject = {"labels": dict(one.rule.labels)} if one.rule.labels else {}
        return {"name": one.rule.name, "query": one.rule.expr, **labels, **tail, "type": "recording"}
    rule = one.rule
    return {
        "state": one.table.state.value,
        "name": rule.name,
        "query": rule.expr,
        "duration": rule.for_ms / 1000,
        "keepFiringFor": rule.keep_firing_for_ms / 1000,
        "labels": dict(rule.labels),
        "annotations": dict(rule.annotations),
        "alerts": [_alert(alert) for alert in one.table.active()] if with_alerts else [],
        **tail,
        "type": "alerting",
    }


def _alert(alert: ActiveAlert) -> JsonObject:
    kept: JsonObject = {}
    if alert.state is AlertState.FIRING and alert.keep_firing_since_ms is not None:
        kept = {"keepFiringSince": rfc3339(alert.keep_firing_since_ms)}
    return {
        "labels": dict(alert.labels),
        "annotations": dict(alert.annotations),
        "state": alert.state.value,
        "activeAt": rfc3339(alert.active_at_ms),
        **kept,
        "value": format_exponent(alert.value),
    }
