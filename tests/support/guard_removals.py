"""
Each guard, how the worker would be without it, and the shortest way to where it is missed.

The way is tried with the guard, which must refuse and say why, and without it, which the oracle must see.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

from guard_oracle import HOUR_MS, MINUTE_MS, Rules
from guard_world import WELL, Telemetry, wants

from remediation import guards
from remediation.errors import ScalerError
from remediation.guards import Passed, Refusal
from remediation.scaling import execution
from remediation.scaling import guards as scaling_guards
from remediation.scaling.execution import Execution
from remediation.store import history, scalings
from remediation.store.record import State
from remediation.store.scalings import Scalings
from remediation.store.tables import actions, runs
from remediation.watch import Condition
from remediation.workflow import gate, planning, scale, verification
from remediation.workflow.case import Case
from remediation.workflow.gate import Gate

Patch = Callable[[], contextlib.AbstractContextManager[Any]]
AWAY = Telemetry(away=True)
BLIND = Telemetry(fresh=None)
UNRULED = Telemetry(rule=False)


@dataclass(frozen=True)
class Without:
    patch: Patch
    overrun: str  # what the oracle calls it
    told: str  # how the refusal begins that stands in its way
    rules: Rules
    moves: tuple[tuple[Any, ...], ...]


def answers(owner: Any, name: str, answer: Any = None) -> Patch:
    return lambda: mock.patch.object(owner, name, return_value=answer)


def passes(owner: Any, name: str, guard: str) -> Patch:
    """What tells verdicts tells that this guard has passed."""
    original = getattr(owner, name)

    def verdicts(*arguments: Any, **named: Any) -> Iterator[Any]:
        for one in original(*arguments, **named):
            yield Passed(guard, "") if isinstance(one, Refusal) and one.guard == guard else one

    return lambda: mock.patch.object(owner, name, verdicts)


def counts_not(owner: Any, what: str) -> Patch:
    """A rate of which what is told has these words."""
    original = owner._rate

    def rate(count: int, limit: int, told: str) -> Any:
        return original(0 if what in told else count, limit, told)

    return lambda: mock.patch.object(owner, "_rate", rate)


def wider(**changed: Any) -> Patch:
    """Targets without some bound."""
    original = planning.target_replicas

    def target(scaling: Any, bounds: Any, *, wanted: Any, replicas: Any, undone: Any) -> Any:
        if "unknown" in changed and (wanted is None or not 0 <= wanted < 100):
            wanted = changed["unknown"]
        if "maximum" in changed:
            replicas = dataclasses.replace(replicas, maximum=changed["maximum"])
        bounds = bounds.model_copy(update={"maximum_replicas": changed.get("own", bounds.maximum_replicas)})
        scaling = scaling.model_copy(update={"maximum_step": changed.get("step", scaling.maximum_step)})
        return original(scaling, bounds, wanted=wanted, replicas=replicas, undone=undone)

    return lambda: mock.patch.object(planning, "target_replicas", target)


def nobody_needs_to_tell() -> Patch:
    original = Case.verified

    def verified(self: Case, verify: Any) -> Condition:
        found = original(self, verify)
        return Condition.FIRING if found is Condition.UNKNOWN else found

    return lambda: mock.patch.object(Case, "verified", verified)


def services_do_not_matter() -> Patch:
    """A scaler that does not answer has a thousand services, as far as the gate is concerned."""
    original = Gate.__init__

    class Answering:
        def __init__(self, scaler: Any) -> None:
            self._scaler = scaler

        def services(self) -> list[str]:
            try:
                return list(self._scaler.services())
            except ScalerError:
                return ["x"] * 1000

    def made(self: Gate, store: Any, scaler: Any, limits: Any, metrics: Any) -> None:
        original(self, store, Answering(scaler), limits, metrics)

    return lambda: mock.patch.object(Gate, "__init__", made)


def scaling_without(**changed: Any) -> Patch:
    original = Execution.act

    def act(self: Execution, *arguments: Any, **named: Any) -> Any:
        return original(self, *arguments, **{**named, **changed})

    return lambda: mock.patch.object(Execution, "act", act)


def scaling_services_do_not_matter() -> Patch:
    original = Execution._services

    def services(self: Execution, kind: str) -> int:
        try:
            return original(self, kind)
        except ScalerError:
            return 1000

    return lambda: mock.patch.object(Execution, "_services", services)


def every_pending_one(**changed: Any) -> Patch:
    original = Scalings.unconcluded

    def unconcluded(self: Scalings) -> Any:
        return [dataclasses.replace(one, **changed) for one in original(self)]

    return lambda: mock.patch.object(Scalings, "unconcluded", unconcluded)


def sets_whatever_is_there(owner: Any) -> Patch:
    def set_anyway(scaler: Any, service: str, before: int, to: int, *, patience_s: float) -> tuple[str, str]:
        scaler.set_desired(service, to)
        return "done", ""

    return lambda: mock.patch.object(owner, "change_replicas", set_anyway)


def an_autoscaler_s_run_counts_for_itself() -> Patch:
    """Neither the look at who is at work, nor the index that allows one unfinished run only."""

    @contextlib.contextmanager
    def patched() -> Iterator[None]:
        index = next(one for one in runs.indexes if one.name == "remediation_one_active_run")
        runs.indexes.discard(index)
        try:
            with mock.patch.object(scalings, "_active_run", return_value=None):
                yield
        finally:
            runs.indexes.add(index)

    return patched


def only_what_is_known_to_be_done_counts() -> Patch:
    @contextlib.contextmanager
    def patched() -> Iterator[None]:
        done = actions.c.status == "done"
        with (
            mock.patch.object(history, "_COUNTED", history._REPAIR & done),
            mock.patch.object(history, "_COUNTED_IN_ALL", history._REPAIR & done),
        ):
            yield

    return patched


def freeze() -> tuple[Any, ...]:
    return ("until", "freeze")


TWICE = (("repair", "cart"), ("repair", "cart"))
FOUR = tuple(("repair", name) for name in ("cart", "catalog", "inventory", "payment"))
DYING = ("act", "cart", WELL, "before")
tight = Rules.tight

GUARDS: dict[str, Without] = {
    "kill switch": Without(
        answers(guards, "check_kill_switch"), "kill_switch", "kill_switch", Rules(), (("turn", True), ("act", "cart"))
    ),
    "kill switch, between plan and action": Without(
        answers(guards, "check_kill_switch"),
        "kill_switch",
        "kill_switch",
        Rules(),
        (("plan", "cart"), ("turn", True), ("carry_out", "cart")),
    ),
    "kill switch, undoing": Without(
        answers(gate, "check_kill_switch"),
        "kill_switch",
        "kill_switch",
        Rules(),
        (("act", "cart"), ("turn", True), ("undo", "cart")),
    ),
    "kill switch, what is taken up": Without(
        answers(gate, "check_kill_switch"),
        "kill_switch",
        "kill_switch",
        Rules(),
        (DYING, ("turn", True), ("crash",), ("resume", "cart")),
    ),
    "freeze": Without(
        answers(guards, "check_freeze"), "freeze", "freeze", tight("freezes"), (freeze(), ("act", "cart"))
    ),
    "freeze, what is taken up": Without(
        answers(gate, "check_freeze"), "freeze", "freeze", tight("freezes"), (DYING, freeze(), ("resume", "cart"))
    ),
    "escalation": Without(
        passes(guards, "history_verdicts", "escalation"),
        "escalation",
        "escalation",
        tight("hold_off_ms"),
        (("repair", "cart", State.ESCALATED), ("until", "escalation", -1), ("act", "cart")),
    ),
    "breaker": Without(
        passes(guards, "history_verdicts", "breaker"),
        "breaker",
        "breaker",
        tight("repairs"),
        (*TWICE, ("until", "breaker", -1), ("act", "cart")),
    ),
    "cooldown": Without(
        passes(guards, "history_verdicts", "cooldown"),
        "cooldown",
        "cooldown",
        tight("cooldown_ms"),
        (("repair", "cart"), ("until", "cooldown", -1), ("act", "cart")),
    ),
    "cooldown, after undoing": Without(
        passes(guards, "history_verdicts", "cooldown"),
        "cooldown",
        "cooldown",
        tight("cooldown_ms"),
        (
            ("act", "cart"),
            ("wait", MINUTE_MS),
            ("undo", "cart"),
            ("end", "cart", State.RESOLVED),
            ("until", "cooldown", -1),
            ("act", "cart"),
        ),
    ),
    "check_history": Without(
        answers(planning, "check_history"),
        "target_rate",
        "rate_limit",
        tight("target_rate"),
        (*TWICE, ("until", "hour", -1), ("act", "cart")),
    ),
    "rate of a target": Without(
        counts_not(guards, "was acted on"),
        "target_rate",
        "rate_limit",
        tight("target_rate"),
        (*TWICE, ("crash",), ("act", "cart")),
    ),
    "rate of a target, again": Without(
        answers(planning, "check_rate"),
        "target_rate",
        "rate_limit",
        tight("target_rate"),
        (("act", "cart"), ("act", "cart"), ("act", "cart")),
    ),
    "rate of a target, further": Without(
        answers(verification, "check_rate"),
        "target_rate",
        "further",
        tight("target_rate"),
        (("act", "cart"), ("further", "cart", wants(4)), ("further", "cart", wants(5))),
    ),
    "rate of a policy": Without(
        counts_not(guards, "this policy acted"),
        "policy_rate",
        "rate_limit",
        tight("policy_rate"),
        (*TWICE, ("repair", "catalog"), ("until", "hour", -1), ("act", "checkout")),
    ),
    "rate in all": Without(
        counts_not(guards, "all policies acted"),
        "rate",
        "rate_limit",
        tight("rate"),
        (*FOUR, ("until", "hour", -1), ("act", "cart")),
    ),
    "concurrency": Without(
        passes(guards, "fleet_verdicts", "concurrency"),
        "concurrency",
        "concurrency",
        tight("concurrent"),
        (("act", "cart"), ("act", "catalog"), ("wait", 5 * HOUR_MS), ("act", "payment")),
    ),
    "blast radius": Without(
        passes(guards, "fleet_verdicts", "blast_radius"),
        "blast_radius",
        "blast_radius",
        tight("radius"),
        (("repair", "cart"), ("repair", "catalog"), ("until", "radius", -1), ("act", "payment")),
    ),
    "what was only intended counts": Without(
        only_what_is_known_to_be_done_counts(),
        "concurrency",
        "concurrency",
        tight("concurrent"),
        (DYING, ("crash",), ("act", "catalog"), ("act", "payment"), ("resume", "cart")),
    ),
    "undo_hold_off": Without(
        answers(planning, "undone_lately"),
        "undone",
        "not_needed",
        tight("undo_ms"),
        (("repair", "cart", State.RESOLVED, WELL, True), ("until", "undone", -1), ("act", "cart", wants(1.0))),
    ),
    "maximum of the policy": Without(
        wider(own=None), "maximum", "maximum", tight("maximum"), (("meddle", "cart", 4), ("act", "cart", wants(6)))
    ),
    "maximum of the scaler": Without(
        wider(own=None, maximum=100), "maximum", "maximum", Rules(), (("meddle", "cart", 6), ("act", "cart", wants(9)))
    ),
    "largest step": Without(wider(step=10), "step", "", tight("step"), (("act", "cart", wants(6)),)),
    "number that nobody knows": Without(
        wider(unknown=5.0), "unknown", "telemetry", Rules(), (("act", "cart", wants(None)),)
    ),
    "telemetry": Without(
        answers(Case, "telemetry_present", True), "unknown", "telemetry", Rules(), (("act", "cart", BLIND),)
    ),
    "telemetry, between plan and action": Without(
        answers(Gate, "_blind"), "unknown", "telemetry", Rules(), (("plan", "cart"), ("carry_out", "cart", AWAY))
    ),
    "telemetry, what is taken up": Without(
        answers(Gate, "_blind"), "unknown", "telemetry", Rules(), (DYING, ("resume", "cart", BLIND))
    ),
    "label that is missing": Without(
        answers(Case, "telemetry_present", True),
        "unknown",
        "telemetry",
        Rules(),
        (("alert", "cart", False), ("act", "cart")),
    ),
    "nobody could tell": Without(nobody_needs_to_tell(), "unknown", "telemetry", Rules(), (("act", "cart", UNRULED),)),
    "nobody could tell, again": Without(
        nobody_needs_to_tell(), "unknown", "telemetry", Rules(), (("act", "cart"), ("act", "cart", UNRULED))
    ),
    "nobody could tell, further": Without(
        nobody_needs_to_tell(),
        "unknown",
        "further",
        Rules(),
        (("act", "cart"), ("further", "cart", Telemetry(rule=False, wanted=5))),
    ),
    "services that nobody counts": Without(
        services_do_not_matter(),
        "unknown",
        "unreachable",
        tight("radius"),
        (("plan", "cart"), ("carry_out", "cart", WELL, True)),
    ),
    "what somebody else has set": Without(
        sets_whatever_is_there(scale),
        "conflict",
        "",
        Rules(),
        (("plan", "cart"), ("meddle", "cart", 5), ("carry_out", "cart")),
    ),
    "once": Without(
        sets_whatever_is_there(scale), "once", "", Rules(), (("act", "cart", WELL, "after"), ("resume", "cart"))
    ),
    "autoscaling: kill switch": Without(
        answers(scaling_guards, "check_kill_switch"),
        "kill_switch",
        "kill_switch",
        Rules(),
        (("turn", True), ("scale", "cart", "out")),
    ),
    "autoscaling: kill switch, what is taken up": Without(
        answers(execution, "check_kill_switch"),
        "kill_switch",
        "kill_switch",
        Rules(),
        (("scale", "cart", "out", False, False, "before"), ("turn", True), ("settle",)),
    ),
    "autoscaling: freeze": Without(
        answers(scaling_guards, "check_freeze"),
        "freeze",
        "freeze",
        tight("freezes"),
        (freeze(), ("scale", "cart", "out")),
    ),
    "autoscaling: freeze, what is taken up": Without(
        answers(execution, "check_freeze"),
        "freeze",
        "settle",
        tight("freezes"),
        (("until", "freeze", -1), ("scale", "cart", "out", False, False, "before"), freeze(), ("settle",)),
    ),
    "autoscaling: what is decided long ago": Without(
        every_pending_one(at_unix_ms=10**15),
        "stale",
        "settle",
        Rules(),
        (("scale", "cart", "out", False, False, "before"), ("wait", 2 * MINUTE_MS), ("settle",)),
    ),
    "autoscaling: rate": Without(
        counts_not(scaling_guards, "was scaled"),
        "scaling_rate",
        "rate_limit",
        tight("scaling_rate"),
        (("scale", "cart", "out"), ("scale", "cart", "out"), ("until", "hour", -1), ("scale", "cart", "in")),
    ),
    "autoscaling: rate in all": Without(
        counts_not(scaling_guards, "all policies and autoscalers"),
        "rate",
        "rate_limit",
        tight("rate"),
        (*FOUR, ("until", "hour", -1), ("scale", "checkout", "out")),
    ),
    "autoscaling: escalation": Without(
        passes(execution, "scaling_verdicts", "escalation"),
        "escalation",
        "escalation",
        tight("scaling_hold_off_ms"),
        (("repair", "cart", State.ESCALATED), ("scale", "cart", "in")),
    ),
    "autoscaling: blast radius": Without(
        passes(execution, "scaling_verdicts", "blast_radius"),
        "blast_radius",
        "blast_radius",
        tight("radius"),
        (("repair", "cart"), ("scale", "catalog", "in"), ("until", "radius", -1), ("scale", "payment", "in")),
    ),
    "autoscaling: telemetry": Without(
        scaling_without(missing=None), "unknown", "telemetry", Rules(), (("scale", "cart", "out", True),)
    ),
    "autoscaling: services that nobody counts": Without(
        scaling_services_do_not_matter(),
        "unknown",
        "unreachable",
        tight("radius"),
        (("scale", "cart", "in", False, True),),
    ),
    "autoscaling: an alert's run is at work": Without(
        an_autoscaler_s_run_counts_for_itself(),
        "one_run",
        "run run-",
        Rules(),
        (("alert", "cart"), ("scale", "cart", "out")),
    ),
    "autoscaling: an alert's run has taken over": Without(
        every_pending_one(overtaken=False),
        "one_run",
        "settle",
        Rules(),
        (("scale", "cart", "out", False, False, "before"), ("alert", "cart"), ("settle",)),
    ),
    "autoscaling: what somebody else has set": Without(
        sets_whatever_is_there(execution),
        "conflict",
        "settle",
        Rules(),
        (("scale", "cart", "out", False, False, "before"), ("meddle", "cart", 5), ("settle",)),
    ),
}
