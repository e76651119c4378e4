"""
GET /api/v1/rules and /api/v1/alerts, in Prometheus's shapes.

Source: prometheus/web/api/v1/api.go, rules and alerts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence, Set
from dataclasses import dataclass

from fastapi import APIRouter

from collector.api.prometheus_encoding import plain
from collector.api.prometheus_format import one_line
from collector.api.prometheus_lookup import selections
from collector.api.prometheus_parameters import Parameters, invalid, parse_int
from collector.api.prometheus_response import Reply, endpoint
from collector.gotemplate.goformat import format_exponent
from collector.model.alert import GO_ZERO_TIME, rfc3339
from collector.model.series import Matcher
from collector.model.text import quote
from collector.rules.alert_state import ActiveAlert, AlertState
from collector.rules.evaluated_rule import EvaluatedAlerting, EvaluatedRule
from collector.rules.group import RuleGroup
from collector.rules.manager import RuleManager

JsonObject = dict[str, object]
_TYPES = {"": {"alerting", "recording"}, "alert": {"alerting"}, "record": {"recording"}}
_FLAGS = {"": False} | dict.fromkeys(("1", "t", "T", "true", "TRUE", "True"), True) | dict.fromkeys(
    ("0", "f", "F", "false", "FALSE", "False"), False
)  # Go's strconv.ParseBool  # fmt: skip
_MAX_INT32 = 2**31 - 1


def rules_router(manager: RuleManager) -> APIRouter:
    router = APIRouter()
    api = RulesApi(manager)
    router.add_route("/api/v1/rules", endpoint(None, api.rules), methods=["GET", "OPTIONS"])
    router.add_route("/api/v1/alerts", endpoint(None, api.alerts), methods=["GET", "OPTIONS"])
    return router


@dataclass(frozen=True, slots=True)
class _Filter:
    """Empty sets and selections let everything pass."""

    kinds: Set[str]
    names: Set[str]
    selections: Sequence[Sequence[Matcher]]  # ORed; of a rule's own labels
    with_alerts: bool

    def shown(self, group: RuleGroup) -> list[JsonObject]:
        return [
            rule
            for one in group.rules
            if self._passes(one) and (rule := _rule(one, with_alerts=self.with_alerts))["type"] in self.kinds
        ]

    def _passes(self, one: EvaluatedRule) -> bool:
        if self.names and one.rule.name not in self.names:
            return False
        labels = dict(one.rule.labels)
        return not self.selections or any(
            all(matcher.matches(labels.get(matcher.name, "")) for matcher in matchers) for matchers in self.selections
        )


class RulesApi:
    """Its handlers run in the event loop, where rules are evaluated."""

    def __init__(self, manager: RuleManager) -> None:
        self._manager = manager

    def rules(self, parameters: Parameters) -> Reply:
        chosen = _filter(parameters)
        groups, files = set(parameters.texts("rule_group[]")), set(parameters.texts("file[]"))
        limit, token = _page(parameters)
        found: list[JsonObject] = []
        following = ""
        begun = not token
        for group in self._manager.groups:
            begun = begun or page_token(group) == token
            if not begun or (groups and group.spec.name not in groups) or (files and group.spec.file not in files):
                continue
            rules = chosen.shown(group)
            if rules and limit and len(found) == limit:
                following = page_token(group)
                break
            if rules:
                found.append(_group(group, rules))
        if not begun:
            reason = f"invalid group_next_token '{token}'. were rule groups changed?"
            raise invalid("group_next_token", reason)
        return Reply([plain({"groups": found} | ({"groupNextToken": following} if following else {}))])

    def alerts(self, _parameters: Parameters) -> Reply:
        groups = self._manager.groups
        found = [_alert(alert) for group in groups for rule in group.alerting for alert in rule.table.active()]
        return Reply([plain({"alerts": found})])


def page_token(group: RuleGroup) -> str:
    """Names the group that a page begins with (api.go, getRuleGroupNextToken)."""
    return hashlib.sha1(f"{group.spec.file};{group.spec.name}".encode(), usedforsecurity=False).hexdigest()


def _filter(parameters: Parameters) -> _Filter:
    kind = parameters.text("type").lower()
    if (kinds := _TYPES.get(kind)) is None:
        raise invalid("type", f"not supported value {quote(kind)}")
    exclude = parameters.text("exclude_alerts")
    if (without_alerts := _FLAGS.get(exclude)) is None:
        reason = f"error converting exclude_alerts: strconv.ParseBool: parsing {quote(exclude)}: invalid syntax"
        raise invalid("exclude_alerts", reason)
    selected = selections(parameters) if parameters.texts("match[]") else []
    return _Filter(kinds, set(parameters.texts("rule_name[]")), selected, not without_alerts)


def _page(parameters: Parameters) -> tuple[int, str]:
    """(groups on a page, 0 for all; the token of the first)."""
    text, token = parameters.text("group_limit"), parameters.text("group_next_token")
    limit = 0
    if text:
        try:
            limit = parse_int(text)
        except ValueError as error:
            raise invalid("group_limit", f"group_limit needs to be a valid number: {error}") from error
        if not 0 < limit <= _MAX_INT32:
            raise invalid("group_limit", "group_limit needs to be greater than 0")
    if token and not limit:
        reason = "group_limit needs to be set in order to paginate over the groups"
        raise invalid("group_next_token", reason)
    return limit, token


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
        return {"name": one.rule.name, "query": one_line(one.rule.expr), **labels, **tail, "type": "recording"}
    rule = one.rule
    return {
        "state": one.table.state.value,
        "name": rule.name,
        "query": one_line(rule.expr),
        "duration": rule.for_ms / 1000,
        "keepFiringFor": rule.keep_firing_for_ms / 1000,
        "labels": dict(rule.labels),
        "annotations": dict(rule.annotations),
        "alerts": [_alert(alert) for alert in one.table.active()] if with_alerts else None,
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
