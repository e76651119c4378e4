"""
The course of a drill, as a state machine without I/O.

    STEADY_STATE ─ held ─▶ INJECTING ─ injected() ─▶ WATCHING ─ end event ─▶ ENDING ─ ended() ─▶ RETURNING ─▶ DONE
          └─────────── deadline, stop condition, failure, interruption: ──────────────▶ DONE (the edge rolls back)

The edge polls, hands in what it saw and the time, and carries out the command that comes back. Times are seconds of
any clock that only moves forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from remediation.drills.changes import changes
from remediation.drills.checks import AlertCheck, Baseline, ChangeOf, Facts, PromQL, Restarted, mark, number
from remediation.drills.definition import (
    END_INJECTION,
    INJECTION,
    Definition,
)
from remediation.drills.injection import MAX_ARRIVALS_PER_S, Injection
from remediation.drills.observation import Observation
from remediation.drills.schedule import Schedule
from remediation.drills.steps import SetLoad, Step
from remediation.drills.timeline import Timeline
from remediation.drills.tracker import Status, Tracker, Watch, event_words

# The TTL outlives the drill by this much, so that it is the drill that ends its injection, unless it was killed.
TTL_MARGIN_S = 15.0
# A killed process of the stack is back in seconds (docs/architecture.md); what is unreadable for longer is broken.
PATIENCE_S = 30.0


class Phase(StrEnum):
    STEADY_STATE = "steady state"
    INJECTING = "injecting"
    WATCHING = "watching"
    ENDING = "ending the injection"
    RETURNING = "returning"
    DONE = "done"


@dataclass(frozen=True, slots=True)
class Inject:
    """Carry these out, then call `injected`."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class EndTheInjection:
    """Undo the injection, then call `ended`."""


Command = Inject | EndTheInjection


def replica_capacity_query(service: str) -> str:
    """Requests a second that one replica serves (docs/architecture.md, Telemetry of the shop)."""
    selector = f'{{job="{service}"}}'
    return f"avg(worker_pool_size{selector} / worker_pool_service_time_seconds{selector})"


class Engine:
    def __init__(self, definition: Definition, *, keep_going: bool = False) -> None:
        self.definition = definition
        self.keep_going = keep_going
        self.phase = Phase.STEADY_STATE
        self.timeline = Timeline()
        self.reasons: list[str] = []  # why it failed; empty means PASS
        self.injected_at: float | None = None
        self.ended_at: float | None = None
        self.trackers = tuple(_trackers(definition))
        self._steady = tuple(Watch(each) for each in definition.steady_state.conditions)
        self._stops = tuple(Watch(each) for each in definition.stop_conditions)
        self._sized = tuple(dict.fromkeys(i.load.service for i in definition.inject if i.load and i.load.service))
        self._watched = _alertnames(definition)
        self._started_at = 0.0
        self._steady_since: float | None = None
        self._events: dict[str, float] = {}
        self._baseline = Baseline()
        self._scale_outs: dict[str, int] = {}
        self._previous: Observation | None = None
        self._unreadable_since: float | None = None
        self._schedule = Schedule(definition.inject, definition.timeout + TTL_MARGIN_S)

    # ── what the edge asks ──────────────────────────────────────────────────────────────────────────────────────────

    @property
    def done(self) -> bool:
        return self.phase is Phase.DONE

    @property
    def passed(self) -> bool:
        return self.done and not self.reasons

    @property
    def needs_pids(self) -> bool:
        """Whether the next observation must carry the processes."""
        return any(isinstance(tracker.check, Restarted) and not tracker.decided for tracker in self.trackers)

    def queries(self) -> list[str]:
        """The PromQL that the next observation must carry; nothing that is not needed now."""
        wanted: dict[str, None] = {}
        checks = [watch.check for watch in self._stops]
        if self.phase is Phase.STEADY_STATE:
            checks += [watch.check for watch in self._steady]
            wanted.update(dict.fromkeys(map(replica_capacity_query, self._capacities())))
            wanted.update(dict.fromkeys(self._changing()))
        else:
            checks += [tracker.check for tracker in self.trackers if not tracker.decided]
        for check in checks:
            if isinstance(check, PromQL):
                wanted[check.query(self._baseline.variables)] = None
            elif isinstance(check, ChangeOf):
                wanted[check.promql] = None
        return list(wanted)

    def put_variables(self, promql: str) -> str:
        """`$capacity` and `$rate` as they were at the injection."""
        return PromQL(promql=promql).query(self._baseline.variables)

    def waiting_for(self, now: float) -> list[str]:
        """What stands out, one line each, for whoever watches."""
        if self.phase is Phase.STEADY_STATE:
            return [f"{w.condition.name}: {w.last.got}" for w in self._steady if w.last.holds is not True]
        return [
            f"{tracker.name}: {tracker.last.got} ({max(0.0, now - tracker.started):.0f}s)"
            for tracker in self.trackers
            if tracker.status is Status.ACTIVE and tracker.started is not None
        ]

    # ── what a dry run asks ─────────────────────────────────────────────────────────────────────────────────────────

    def facts(self, seen: Observation) -> Facts:
        """As if the injection came now."""
        return Facts(seen, self._taken_from(seen, {}, []), {}, {})

    def would_serve(self, service: str, seen: Observation) -> float | None:
        """The service's capacity in requests a second, from `queries` before the injection; None if it is not known."""
        return self._capacity(service, self.facts(seen))

    def step(self, injection: Injection, seen: Observation) -> Step:
        """What would be injected now."""
        capacity = {name: self.would_serve(name, seen) or 0.0 for name in self._capacities()}
        return self._schedule.step(injection, capacity)

    # ── what the edge tells ─────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, now: float) -> None:
        self._started_at = now
        self.timeline.add(now, "drill", f"{self.definition.name} begins", "checking the steady state")

    def observe(self, seen: Observation, now: float) -> Command | None:
        """Take one observation; the command, if any, is to be carried out before the next one."""
        if self.done:
            return None
        self._note_changes(seen, now)
        if not self._readable(seen, now):
            return None
        # Before the injection nothing has begun since it: what earlier drills left in the records is not this one's.
        before = self.phase is Phase.STEADY_STATE
        facts = self.facts(seen) if before else Facts(seen, self._baseline, dict(self._scale_outs), {})
        if self._stopped(facts, now):
            return None
        if self.phase is Phase.STEADY_STATE:
            return self._observe_steady_state(facts, now)
        return self._observe_expectations(facts, now)

    def injected(self, now: float, details: list[str]) -> None:
        """What `Inject` asked for was sent; `now` is when, and deadlines run from the first time."""
        if self.injected_at is None:
            self.injected_at = self._events[INJECTION] = now
            self.phase = Phase.WATCHING
            self.timeline.zero = now
        for detail in details:
            self.timeline.add(now, "inject", "injection", detail)

    def ended(self, now: float, details: list[str]) -> None:
        self.ended_at = self._events[END_INJECTION] = now
        self.phase = Phase.RETURNING
        for detail in details:
            self.timeline.add(now, "inject", "injection ended", detail)

    def abort(self, reason: str, now: float) -> None:
        """End now, as FAIL: an interruption, a failed injection, an error of the edge."""
        self.reasons.append(reason)
        if not self.done:
            self._finish(now)

    # ── steady state ────────────────────────────────────────────────────────────────────────────────────────────────

    def _capacities(self) -> tuple[str, ...]:
        """The services whose capacity must be known: `$capacity`, and what the loads are sized by."""
        uses = any("$capacity" in (tracker.expectation.promql or "") for tracker in self.trackers)
        own = (self.definition.service,) if uses else ()
        return tuple(dict.fromkeys((*own, *self._sized)))

    def _observe_steady_state(self, facts: Facts, now: float) -> Command | None:
        steady = self.definition.steady_state
        holding = [watch.observe(facts, now) for watch in self._steady]  # all, so that each knows what it saw
        capacity = {name: self._capacity(name, facts) for name in self._capacities()}
        # What a change is counted from must be known: unread, it would pass for "there was none".
        known = all(query in facts.now.samples for query in self._changing())
        if all(holding) and all(capacity.values()) and known:
            self._steady_since = now if self._steady_since is None else self._steady_since
            if now - self._steady_since >= steady.hold:
                return self._start_injecting(facts, {n: c for n, c in capacity.items() if c}, now)
        else:
            self._steady_since = None
        if now - self._started_at > steady.within + steady.hold:
            self._unsteady(capacity, now)
        return None

    def _changing(self) -> list[str]:
        """The queries whose value before the injection must be known."""
        return [tracker.check.promql for tracker in self.trackers if isinstance(tracker.check, ChangeOf)]

    def _capacity(self, service: str, facts: Facts) -> float | None:
        values = facts.now.samples.get(replica_capacity_query(service), ())
        replicas = facts.service(service)
        return values[0] * replicas.desired if values and values[0] > 0 and replicas and replicas.desired else None

    def _unsteady(self, capacity: dict[str, float | None], now: float) -> None:
        waited = now - self._started_at
        for watch in self._steady:
            if watch.last.holds is not True:
                self.reasons.append(
                    f'the steady state does not hold: "{watch.condition.name}": '
                    f"wanted {watch.check.wanted}, got {watch.last.got} after {waited:.1f}s"
                )
        for name in (name for name, value in capacity.items() if not value):
            self.reasons.append(f"the steady state does not hold: the capacity of {name} is not in telemetry")
        if not self.reasons:
            self.reasons.append(
                f"the steady state never held for {number(self.definition.steady_state.hold)}s together"
            )
        self._finish(now)

    def _start_injecting(self, facts: Facts, capacity: dict[str, float], now: float) -> Command | None:
        steps = self._schedule.start(capacity)
        if (rate := self._schedule.highest_rate()) > MAX_ARRIVALS_PER_S:
            self.abort(f"a load of {number(rate)}/s is above the limit of {number(MAX_ARRIVALS_PER_S)}/s", now)
            return None
        self._baseline = self._taken_from(facts.now, capacity, steps)
        self.phase = Phase.INJECTING
        self.timeline.add(now, "drill", "the steady state holds", _capacity_in_words(capacity))
        return Inject(tuple(steps))

    def _taken_from(self, seen: Observation, capacity: dict[str, float], steps: list[Step]) -> Baseline:
        variables = {}
        if self.definition.service in capacity:
            variables["capacity"] = capacity[self.definition.service]
        loads = [step for step in steps if isinstance(step, SetLoad)]
        if loads:
            variables["rate"] = loads[0].rate
        return Baseline(
            desired={name: service.desired for name, service in (seen.services or {}).items()},
            remediation_ids=frozenset(each.id for each in seen.remediations or ()),
            variables=variables,
            pids=dict(seen.pids or {}),
            values={query: values[0] for query, values in seen.samples.items() if values},
        )

    # ── expectations ────────────────────────────────────────────────────────────────────────────────────────────────

    def _observe_expectations(self, facts: Facts, now: float) -> Command | None:
        for tracker in self.trackers:
            self._begin_if_due(tracker, facts)
            if tracker.status is Status.ACTIVE:
                tracker.observe(Facts(facts.now, facts.baseline, facts.scale_outs, tracker.mark), now)
                self._note_decision(tracker, now)
                if self.done:
                    return None
        if self.phase is Phase.WATCHING and self._may_end_injection():
            self.phase = Phase.ENDING
            return EndTheInjection()
        if self.phase is Phase.WATCHING and (due := self._schedule.due(self._events, now)):
            return Inject(tuple(due))
        if self.injected_at is not None and now - self.injected_at > self.definition.timeout:
            self._time_out(now)
        elif self.phase is Phase.RETURNING and all(tracker.decided for tracker in self.trackers):
            self._finish(now)
        return None

    def _begin_if_due(self, tracker: Tracker, facts: Facts) -> None:
        if tracker.status is not Status.WAITING:
            return
        statuses = {each.name: each.status for each in self.trackers}
        if any(statuses.get(event) in (Status.FAILED, Status.SKIPPED) for event in tracker.after):
            tracker.skip()
        elif all(event in self._events for event in tracker.after):
            marks = mark(facts)
            if marks or tracker.expectation.no_new_action is None:  # without a mark it could not be judged
                tracker.begin(max(self._events[event] for event in tracker.after), marks)

    def _note_decision(self, tracker: Tracker, now: float) -> None:
        if tracker.status is Status.MET and tracker.met_at is not None:
            self._events[tracker.name] = tracker.met_at
            self.timeline.add(tracker.met_at, "met", tracker.name, _how_met(tracker))
        elif tracker.status is Status.FAILED:
            self.reasons.append(f'expectation "{tracker.name}" failed: {tracker.reason}')
            self.timeline.add(now, "failed", tracker.name, tracker.reason)
            if not self.keep_going:
                self._finish(now)

    def _may_end_injection(self) -> bool:
        end = self.definition.end_injection
        watched = [tracker for tracker in self.trackers if tracker.section != "then"]
        if end and all(event in self._events for event in end.after_events):
            return True
        return all(tracker.decided for tracker in watched)

    def _time_out(self, now: float) -> None:
        unmet = [tracker for tracker in self.trackers if not tracker.decided]
        self.reasons.append(
            f"the drill's timeout of {number(self.definition.timeout)}s has passed; still open: "
            + (", ".join(f'"{tracker.name}" ({tracker.last.got})' for tracker in unmet) or "nothing")
        )
        self._finish(now)

    def _finish(self, now: float) -> None:
        for tracker in self.trackers:
            if not tracker.decided:
                tracker.skip()
        self.phase = Phase.DONE
        verdict = "FAIL" if self.reasons else "PASS"
        # The whole reason stands in the report, and in the timeline where it arose.
        why = self.reasons[0].partition(": wanted")[0] if self.reasons else "every expectation was met"
        self.timeline.add(now, "verdict", verdict, why)

    # ── all along ───────────────────────────────────────────────────────────────────────────────────────────────────

    def _readable(self, seen: Observation, now: float) -> bool:
        """False once the drill cannot go on for want of answers. A short outage is borne."""
        for query, why in seen.refused.items():
            self.abort(f"the query {query!r} was refused: {why}", now)
            return False
        if not seen.troubles:
            self._unreadable_since = None
            return True
        if self._unreadable_since is None:
            self._unreadable_since = now
            self.timeline.add(now, "trouble", "could not read", seen.troubles[0])
        elif now - self._unreadable_since > PATIENCE_S:
            self.abort(f"unreadable for {number(PATIENCE_S)}s: {'; '.join(seen.troubles)}", now)
            return False
        return True

    def _stopped(self, facts: Facts, now: float) -> bool:
        for watch in self._stops:
            if watch.observe(facts, now):
                self.abort(
                    f'stop condition "{watch.condition.name}": {watch.check.wanted}; got {watch.last.got}',
                    now,
                )
                return True
        return False

    def _note_changes(self, seen: Observation, now: float) -> None:
        if self._previous is not None:
            for change in changes(self._previous, seen, self._watched):
                self.timeline.add(now, change.kind, change.event, change.detail)
                if change.raised and self.injected_at is not None:
                    self._scale_outs[change.raised] = self._scale_outs.get(change.raised, 0) + 1
        self._previous = _last_known(self._previous, seen)


def _trackers(definition: Definition) -> Iterator[Tracker]:
    for section, begins in (("confirm", INJECTION), ("expect", INJECTION), ("then", END_INJECTION)):
        for expectation in getattr(definition, section):
            yield Tracker(expectation, section, expectation.after_events or (begins,))


def _alertnames(definition: Definition) -> frozenset[str]:
    conditions = (*definition.confirm, *definition.expect, *definition.then, *definition.stop_conditions)
    checks = [each.check for each in conditions]
    return frozenset(check.labels.get("alertname", "") for check in checks if isinstance(check, AlertCheck))


def _last_known(previous: Observation | None, seen: Observation) -> Observation:
    """What to compare the next observation with: what was not read now is still as it was."""
    if previous is None:
        return seen
    return Observation(
        alerts=previous.alerts if seen.alerts is None else seen.alerts,
        remediations=previous.remediations if seen.remediations is None else seen.remediations,
        services=previous.services if seen.services is None else seen.services,
        pids=previous.pids if seen.pids is None else seen.pids,
    )


def _how_met(tracker: Tracker) -> str:
    if tracker.expectation.stays is not None:
        return f"stayed so for {number(tracker.expectation.stays)}s"
    took = (tracker.met_at or 0.0) - (tracker.started or 0.0)
    held = f", held {number(tracker.expectation.hold)}s" if tracker.expectation.hold else ""
    return f"{tracker.last.got}, {took:.1f}s after {event_words(tracker.after)}{held}"


def _capacity_in_words(capacity: dict[str, float]) -> str:
    return ", ".join(f"{name} can serve {number(value)}/s" for name, value in capacity.items())
