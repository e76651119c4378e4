"""
The course of a drill, as a state machine without I/O.

    STEADY_STATE ─ held ─▶ INJECTING ─ injected() ─▶ WATCHING ─ end event ─▶ ENDING ─ ended() ─▶ RETURNING ─▶ DONE
          └─────────── deadline, stop condition, failure, interruption: ──────────────▶ DONE (the edge rolls back)

The edge polls, hands in what it saw and the time, and carries out the command that comes back. Times are seconds of
any clock that only moves forward.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum

from remediation.drills import capacity
from remediation.drills.bounds import number
from remediation.drills.changes import Changes
from remediation.drills.command import Command, EndTheInjection, Inject
from remediation.drills.definition import END_INJECTION, INJECTION, Definition
from remediation.drills.disturbances import Disturbance, SetLoad
from remediation.drills.facts import Baseline, Facts, mark
from remediation.drills.fleet_checks import Restarted
from remediation.drills.injection import MAX_ARRIVALS_PER_S, Injection
from remediation.drills.observation import Observation
from remediation.drills.schedule import Schedule
from remediation.drills.steadiness import Steadiness
from remediation.drills.telemetry_checks import AlertCheck, ChangeOf, PromQL
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
        self._stops = tuple(Watch(each) for each in definition.stop_conditions)
        self._steady = Steadiness(definition, [tracker.check for tracker in self.trackers])
        self._changes = Changes(_alertnames(definition))
        self._events: dict[str, float] = {}
        self._baseline = Baseline()
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
            checks += self._steady.checks
            wanted.update(dict.fromkeys(self._steady.queries))
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
            return self._steady.waiting_for()
        return [
            f"{tracker.name}: {tracker.last.got} ({max(0.0, now - tracker.started):.0f}s)"
            for tracker in self.trackers
            if tracker.status is Status.ACTIVE and tracker.started is not None
        ]

    # ── what a dry run asks ─────────────────────────────────────────────────────────────────────────────────────────

    def facts(self, seen: Observation) -> Facts:
        """As if the injection came now."""
        return Facts(seen, self._taken_from(seen, {}, []), {}, {})

    def disturbance(self, injection: Injection, seen: Observation) -> Disturbance:
        """What would be injected now."""
        capacities = {name: capacity.of(name, seen) or 0.0 for name in self._steady.services}
        return self._schedule.disturbance(injection, capacities)

    # ── what the edge tells ─────────────────────────────────────────────────────────────────────────────────────────

    def begin(self, now: float) -> None:
        self._steady.begin(now)
        self.timeline.add(now, "drill", f"{self.definition.name} begins", "checking the steady state")

    def observe(self, seen: Observation, now: float) -> Command | None:
        """Take one observation; the command, if any, is to be carried out before the next one."""
        if self.done:
            return None
        for change in self._changes.note(seen, counting=self.injected_at is not None):
            self.timeline.add(now, change.kind, change.event, change.detail)
        if not self._readable(seen, now):
            return None
        # Before the injection nothing has begun since it: what earlier drills left in the records is not this one's.
        before = self.phase is Phase.STEADY_STATE
        facts = self.facts(seen) if before else Facts(seen, self._baseline, dict(self._changes.scale_outs), {})
        if self._stopped(facts, now):
            return None
        if self.phase is Phase.STEADY_STATE:
            capacities = self._steady.observe(facts, now)
            if capacities is not None:
                return self._start_injecting(facts, capacities, now)
            if reasons := self._steady.given_up(now):
                self.reasons += reasons
                self._finish(now)
            return None
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

    def _start_injecting(self, facts: Facts, capacities: dict[str, float], now: float) -> Command | None:
        disturbances = self._schedule.start(capacities)
        if (rate := self._schedule.highest_rate()) > MAX_ARRIVALS_PER_S:
            self.abort(f"a load of {number(rate)}/s is above the limit of {number(MAX_ARRIVALS_PER_S)}/s", now)
            return None
        self._baseline = self._taken_from(facts.now, capacities, disturbances)
        self.phase = Phase.INJECTING
        self.timeline.add(now, "drill", "the steady state holds", capacity.in_words(capacities))
        return Inject(tuple(disturbances))

    def _taken_from(self, seen: Observation, capacities: dict[str, float], disturbances: list[Disturbance]) -> Baseline:
        variables = {}
        if self.definition.service in capacities:
            variables["capacity"] = capacities[self.definition.service]
        loads = [disturbance for disturbance in disturbances if isinstance(disturbance, SetLoad)]
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


def _trackers(definition: Definition) -> Iterator[Tracker]:
    for section, begins in (("confirm", INJECTION), ("expect", INJECTION), ("then", END_INJECTION)):
        for expectation in getattr(definition, section):
            yield Tracker(expectation, section, expectation.after_events or (begins,))


def _alertnames(definition: Definition) -> frozenset[str]:
    conditions = (*definition.confirm, *definition.expect, *definition.then, *definition.stop_conditions)
    checks = [each.check for each in conditions]
    return frozenset(check.labels.get("alertname", "") for check in checks if isinstance(check, AlertCheck))


def _how_met(tracker: Tracker) -> str:
    if tracker.expectation.stays is not None:
        return f"stayed so for {number(tracker.expectation.stays)}s"
    took = (tracker.met_at or 0.0) - (tracker.started or 0.0)
    held = f", held {number(tracker.expectation.hold)}s" if tracker.expectation.hold else ""
    return f"{tracker.last.got}, {took:.1f}s after {event_words(tracker.after)}{held}"
