"""
The workflow: plan, act, verify; undo and escalate, or wait and scale in.

It only orders the steps. Everything that touches the world is a durable step, so that after `kill -9` the finished
ones are remembered and the interrupted one is repeated. Between steps there is no clock, no I/O and no randomness.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from dbos import DBOS, DBOSConfiguredInstance, error
from opentelemetry import trace
from sqlalchemy.exc import DBAPIError

from remediation import wording
from remediation.policy.policy import LEVER_KINDS, QUIET_KINDS, Policy, Step
from remediation.store.record import State
from remediation.workflow.acting import Deed
from remediation.workflow.deeds import Deeds
from remediation.workflow.ending import Ending
from remediation.workflow.homecoming import Homecoming, Next
from remediation.workflow.journal import Journal
from remediation.workflow.moves import Aim, Moves
from remediation.workflow.patience import end_if_broken, patiently
from remediation.workflow.planning import Plan, Planning
from remediation.workflow.scale import Scaling
from remediation.workflow.verification import Verdict, Verification

tracer = trace.get_tracer("remediation")

# A scale-in that brought the alert back this often will do so again.
MAX_GO_BACKS = 3

P = ParamSpec("P")
R = TypeVar("R")


def durable(step: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `step` once in the life of the workflow; a resumed workflow gets the result that was stored."""

    def patient() -> R:
        return patiently(step, *args, **kwargs)

    try:
        return DBOS.run_step({"name": step.__name__}, patient)
    except DBAPIError as unremembered:  # what became of the step could not be written down
        end_if_broken(unremembered, step.__name__)
        raise


@dataclass(slots=True)
class Attempt:
    """Where a run stands after acting."""

    verdict: str  # helped, not_helped, unknown, failed
    current: int  # replicas desired now, as far as this run set them
    before: int  # replicas before this attempt
    reason: str
    load_wants: int = 0  # replicas that the load itself asks for, whatever latency says; 0 if unknown


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What a run consists of; each method that the workflow calls is a durable step."""

    planning: Planning
    scaling: Scaling
    deeds: Deeds
    moves: Moves
    verification: Verification
    homecoming: Homecoming
    ending: Ending


@DBOS.dbos_class()
class Remediator(DBOSConfiguredInstance):
    def __init__(self, steps: Steps, journal: Journal, on_running: Callable[[int], None]) -> None:
        super().__init__("remediator")
        self._steps = steps
        self._journal = journal
        self._on_running = on_running

    @DBOS.workflow()
    def remediate(self, run_id: str) -> str:
        """Answer one alert to its end. Returns the run's last state."""
        self._on_running(1)
        try:
            with tracer.start_as_current_span("remediation.run") as span:
                span.set_attribute("remediation.id", run_id)
                state = self._remediate(run_id)
                span.set_attribute("remediation.state", state.value)
        except error.DBOSException:
            raise  # the machinery's own: cancelled, shutting down
        except Exception as unexpected:  # nothing may end a run without a record of it
            state = self._finish(run_id, State.FAILED, f"unexpected: {unexpected!r}")
        finally:
            self._on_running(-1)
        return state.value

    def _remediate(self, run_id: str) -> State:
        policy = Policy.model_validate_json(patiently(self._journal.policy_json, run_id))
        reasons: list[str] = []
        acted = False
        for index, step in enumerate(policy.steps):
            if step.kind in QUIET_KINDS:
                if (ended := self._quietly(run_id, step, index, reasons)) is not None:
                    return ended
                continue
            plan = durable(self._steps.planning.plan, run_id, f"plan:{index}", index, again=acted)
            if plan["verdict"] in ("resolved", "failed"):
                return self._finish(run_id, State(plan["verdict"]), plan["reason"])
            if plan["verdict"] == "escalated":
                return self._escalate(run_id, "; ".join([*reasons, plan["reason"]]))
            if plan["verdict"] == "refused":
                reasons.append(f"{step.name}: refused: {plan['reason']}")
                if index == 0:
                    return self._finish(run_id, State.REFUSED, plan["reason"])
                continue
            if step.kind in LEVER_KINDS:
                ended, moved = self._lever(run_id, policy, index, reasons)
                acted = acted or moved
                if ended is not None:
                    return ended
                continue
            acted = True
            if step.scale is None:
                if (ended := self._deed(run_id, step, index, reasons)) is not None:
                    return ended
                continue
            attempt = self._attempt(run_id, policy, index, f"{index}", plan)
            if attempt.verdict == "helped":
                return self._bring_home(run_id, policy, index, plan, attempt)
            if attempt.verdict == "failed":
                return self._finish(run_id, State.FAILED, attempt.reason)
            if attempt.verdict == "refused" and index == 0 and attempt.current == attempt.before:
                return self._finish(run_id, State.REFUSED, attempt.reason)
            if attempt.verdict in ("unknown", "refused"):
                return self._escalate(run_id, f"{attempt.reason}; the replicas are left as they are")
            undone = self._undo(run_id, f"{index}.undo", attempt, keep=step.on_failure == "keep")
            reasons.append(
                f"{step.name}: {attempt.before} → {attempt.current} did not help: {attempt.reason}; {undone}"
            )
        return self._escalate(run_id, "; ".join(reasons) or "the policy's steps are at their end")

    def _quietly(self, run_id: str, step: Step, index: int, reasons: list[str]) -> State | None:
        """A step that changes nothing. Returns the state if it ended the run."""
        key = f"{index}"
        if step.snapshot is not None:
            durable(self._steps.ending.explain, run_id, f"{key}.snapshot")
        elif step.notify is not None:
            durable(self._steps.deeds.tell_people, run_id, key, index)
        else:
            answer = durable(self._steps.deeds.ask, run_id, key, index)
            if answer["verdict"] == "resolved":
                return self._finish(run_id, State.RESOLVED, answer["reason"])
            if answer["verdict"] == "refused":
                return self._escalate(run_id, "; ".join([*reasons, f"{step.name}: {answer['reason']}"]))
        return None

    def _deed(self, run_id: str, step: Step, index: int, reasons: list[str]) -> State | None:
        """Act without counting replicas, and verify. Returns the state if it ended the run."""
        key = f"{index}"
        done = durable(self._steps.deeds.perform, run_id, key, index)
        durable(self._steps.ending.explain, run_id, f"{key}.explain")
        if done["status"] == "refused" and index == 0:
            return self._finish(run_id, State.REFUSED, done["detail"])
        if done["status"] == "unknown":
            return self._escalate(run_id, "; ".join([*reasons, f"{step.name}: {done['detail']}"]))
        if done["status"] != "done":
            reasons.append(f"{step.name}: {done['status']}: {done['detail']}")
            return None
        verdict = self._verify(run_id, key, index, done["at_unix_ms"], 0, 0)
        if verdict["verdict"] == "helped":
            return self._finish(run_id, State.RESOLVED, f"{step.name}: {verdict['reason']}")
        if verdict["verdict"] == "unknown":
            return self._escalate(run_id, "; ".join([*reasons, f"{step.name}: {verdict['reason']}"]))
        reasons.append(f"{step.name} did not help: {verdict['reason']}")
        return None

    def _lever(self, run_id: str, policy: Policy, index: int, reasons: list[str]) -> tuple[State | None, bool]:
        """
        Set one absolute value, and verify; put it back if it did not help. Returns the state if that ended the run, and
        whether anything was done.
        """
        key, step = f"{index}", policy.steps[index]
        aim = durable(self._steps.moves.aim, run_id, f"{key}.aim", index)
        if aim["verdict"] != "act":
            if len(policy.steps) == 1:
                return self._finish(run_id, State(aim["verdict"]), aim["reason"]), False
            reasons.append(f"{step.name}: {aim['verdict']}: {aim['reason']}")
            return None, False  # the next step may be the answer
        done = durable(self._steps.moves.move, run_id, key, index, aim)
        if done["status"] == "refused" and index == 0:
            return self._finish(run_id, State.REFUSED, done["detail"]), False
        durable(self._steps.ending.explain, run_id, f"{key}.explain")
        if done["status"] in ("conflict", "unknown"):
            return self._escalate(run_id, "; ".join([*reasons, f"{step.name}: {done['detail']}"])), True
        if done["status"] != "done":
            reasons.append(f"{step.name}: {done['status']}: {done['detail']}")
            return None, True
        verdict = self._verify(run_id, key, index, done["at_unix_ms"], 0, 0)
        told = f"{step.name}: {aim['was']} → {aim['becomes']}"
        if verdict["verdict"] == "helped":
            return self._finish(run_id, State.RESOLVED, f"{told}: {verdict['reason']}"), True
        if verdict["verdict"] == "unknown":
            return self._escalate(run_id, "; ".join([*reasons, f"{told}: {verdict['reason']}; left as it is"])), True
        undone = self._put_back(run_id, step, index, aim, verdict["reason"])
        reasons.append(f"{told} did not help: {verdict['reason']}; {undone}")
        return None, True

    def _put_back(self, run_id: str, step: Step, index: int, aim: Aim, why: str) -> str:
        if not self._steps.moves.undoable(step):
            return f"{aim['becomes']} is kept"
        undone = durable(self._steps.moves.move, run_id, f"{index}.undo", index, aim, f"it did not help: {why}")
        return f"{aim['was']} is back" if undone["status"] == "done" else f"not undone: {undone['detail']}"

    def _attempt(self, run_id: str, policy: Policy, index: int, key: str, plan: Plan) -> Attempt:
        """Scale out and verify; scale out further while the load asks for it."""
        before, current, to, reason = plan["before"], plan["before"], plan["to"], plan["reason"]
        raises = policy.steps[index].scaling.raises
        for turn in range(raises + 1):
            done = self._act(run_id, f"{key}.{turn}", "scale_out", current, to, reason)
            if done["status"] != "done":
                verdict_now = {"failed": "failed", "refused": "refused"}.get(done["status"], "unknown")
                reason = f"could not scale from {current} to {to}: {done['detail']}"
                return Attempt(verdict_now, current, before, reason)
            current = to
            if turn == 0:
                durable(self._steps.ending.explain, run_id, f"{key}.explain")
            verdict = self._verify(run_id, f"{key}.{turn}", index, done["at_unix_ms"], current, raises - turn)
            if verdict["verdict"] != "more":
                return Attempt(verdict["verdict"], current, before, verdict["reason"], verdict["to"])
            to, reason = verdict["to"], verdict["reason"]
        return Attempt("not_helped", current, before, f"raised {raises} times")

    def _undo(self, run_id: str, key: str, attempt: Attempt, *, keep: bool) -> str:
        """
        Back to what ran before, but not into an overload: what the load itself asks for stays, even if it alone did
        not bring latency down.
        """
        to = min(attempt.current, max(attempt.before, attempt.load_wants))
        if keep or to == attempt.current:
            return f"kept at {wording.replicas(attempt.current)}" + ("" if keep else ", the load wants them")
        done = self._act(run_id, key, "undo", attempt.current, to, attempt.reason)
        if done["status"] != "done":
            return f"not undone: {done['detail']}"
        return f"restored {wording.replicas(to)}" + ("" if to == attempt.before else ", the load wants them")

    def _bring_home(self, run_id: str, policy: Policy, index: int, plan: Plan, attempt: Attempt) -> State:
        """It helped: wait for alert and load to go, step down; answer demand that rises again."""
        to_minimum = policy.scale_in is not None and policy.scale_in.to_minimum
        floor = plan["minimum"] if to_minimum else max(plan["minimum"], attempt.before)
        current, previous, rounds, go_backs, turn = attempt.current, None, 0, 0, 0
        while True:
            turn += 1
            step = self._watch(run_id, f"watch:{turn}", index, current, floor, previous)
            if step["do"] == "finish":
                return self._finish(run_id, State.RESOLVED, f"{step['reason']}; {wording.replicas(current)}")
            if step["do"] == "scale_out":
                rounds += 1
                if rounds > policy.further_rounds:
                    return self._escalate(
                        run_id, f"{step['reason']}, {rounds} times; kept at {wording.replicas(current)}"
                    )
                ended, current = self._again(run_id, policy, index, f"again:{rounds}", current)
                if ended is not None:
                    return ended
                previous = None
                continue
            kind = "scale_in" if step["do"] == "scale_in" else "undo"
            go_backs += kind == "undo"
            done = self._act(run_id, f"watch:{turn}", kind, current, step["to"], step["reason"])
            if done["status"] != "done":
                return self._escalate(run_id, f"could not scale from {current} to {step['to']}: {done['detail']}")
            previous, current = (current if kind == "scale_in" else None), step["to"]
            if go_backs >= MAX_GO_BACKS:
                return self._escalate(
                    run_id, f"{step['reason']}, {go_backs} times; kept at {wording.replicas(current)}"
                )

    def _again(self, run_id: str, policy: Policy, index: int, key: str, current: int) -> tuple[State | None, int]:
        """Scale out once more. Returns the state if that ended the run, and the replicas desired now."""
        plan = durable(self._steps.planning.plan, run_id, f"plan:{key}", index, again=True)
        if plan["verdict"] != "act":
            return self._escalate(
                run_id, f"demand rose again, and: {plan['reason']}; kept at {wording.replicas(current)}"
            ), current
        attempt = self._attempt(run_id, policy, index, key, plan)
        if attempt.verdict == "helped":
            return None, attempt.current
        if attempt.verdict == "not_helped":
            undone = self._undo(run_id, f"{key}.undo", attempt, keep=policy.steps[index].on_failure == "keep")
            return self._escalate(run_id, f"demand rose again: {attempt.reason}; {undone}"), current
        return self._escalate(run_id, f"demand rose again: {attempt.reason}"), current

    # The steps, each with its span

    def _act(self, run_id: str, key: str, kind: str, before: int, to: int, reason: str) -> Deed:
        return durable(self._steps.scaling.act, run_id, key, kind, before, to, reason)

    def _verify(self, run_id: str, key: str, index: int, acted_at: int, current: int, raises_left: int) -> Verdict:
        with tracer.start_as_current_span("remediation.verify") as span:
            verdict = durable(
                self._steps.verification.verify, run_id, f"verify:{key}", index, acted_at, current, raises_left
            )
            span.set_attributes({"remediation.verdict": verdict["verdict"], "remediation.reason": verdict["reason"]})
        return verdict

    def _watch(self, run_id: str, key: str, index: int, current: int, floor: int, previous: int | None) -> Next:
        with tracer.start_as_current_span("remediation.watch"):
            return durable(self._steps.homecoming.watch, run_id, key, index, current, floor, previous)

    def _escalate(self, run_id: str, reason: str) -> State:
        durable(self._steps.ending.escalate, run_id, reason)
        return State.ESCALATED

    def _finish(self, run_id: str, state: State, outcome: str) -> State:
        durable(self._steps.ending.finish, run_id, state.value, outcome)
        return state
