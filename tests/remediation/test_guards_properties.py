"""However alerts, times and crashes fall, no limit is overrun; the store and the guards as the workflow uses them."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediation.annotations import Annotator
from remediation.guards import check_fleet, check_history, check_kill_switch
from remediation.metrics import Metrics
from remediation.policy.autoscaler import Autoscaler
from remediation.policy.limits import Limits
from remediation.policy.policy import Guards
from remediation.scalers.scaler import Replicas
from remediation.scaling.controller import ScalingDecision
from remediation.scaling.execution import Execution
from remediation.store.record import RETURNING, Action, Denied, Firing, KillSwitch, NewRun, State
from remediation.store.scalings import Scalings
from remediation.store.store import Store

SERVICES = ("cart", "catalog", "checkout", "inventory", "payment", "recommendation")
HOUR_MS = 3_600_000
FREEZE_MS = (11 * HOUR_MS, 11 * HOUR_MS + HOUR_MS // 2)
LIMITS = Limits(
    max_actions_per_hour=6,
    max_concurrent=2,
    blast_radius={"services": 0.5, "within": "10m"},
    freezes=[{"name": "launch", "start": "1970-01-01T11:00:00Z", "end": "1970-01-01T11:30:00Z"}],
)
AUTOSCALER = Autoscaler.model_validate(
    {
        "name": "shop",
        "services": SERVICES,
        "tracking": [{"utilisation": "x", "target": 0.5}],
        "guards": {"max_actions_per_hour": 4, "escalation_hold_off": "10m"},
    }
)
GUARDS = Guards(
    cooldown="30s",
    max_actions_per_hour=3,
    policy_max_actions_per_hour=5,
    escalation_hold_off="10m",
    breaker={"repairs": 2, "within": "1h"},
)


class WorkerDiedError(BaseException):
    """Nothing that runs in the worker catches it."""


@dataclass
class Replicated:
    """A scaler, and a worker that may die around its request."""

    desired: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SERVICES, 3))
    changed: list[tuple[str, int, int]] = field(default_factory=list)  # service, from, to
    die: str = ""  # before, after

    def services(self) -> list[str]:
        return sorted(self.desired)

    def get(self, service: str) -> Replicas:
        desired = self.desired[service]
        return Replicas(service=service, desired=desired, ready=desired, minimum=1, maximum=6)

    def set_desired(self, service: str, desired: int) -> Replicas:
        die, self.die = self.die, ""
        if die == "before":
            raise WorkerDiedError
        self.changed.append((service, self.desired[service], desired))
        self.desired[service] = desired
        if die == "after":
            raise WorkerDiedError
        return self.get(service)


@dataclass
class World:
    """What really happened, kept beside the store."""

    store: Store
    scaler: Replicated = field(default_factory=Replicated)
    scaled: list[tuple[int, str, str]] = field(default_factory=list)  # when, service, out or in
    escalated: dict[str, int] = field(default_factory=dict)  # service → when a run that had acted was escalated
    now_ms: int = 10 * HOUR_MS
    runs: dict[str, str] = field(default_factory=dict)  # service → its unfinished run
    acted: dict[str, int] = field(default_factory=dict)  # unfinished run → number of its actions
    done: list[tuple[int, str, str]] = field(default_factory=list)  # when, service, run
    undone: list[tuple[int, str, str]] = field(default_factory=list)  # the same, of what was put back
    stopped: bool = False
    count: int = 0

    def alert(self, service: str) -> None:
        if service in self.runs:
            return
        self.count += 1
        new = NewRun(
            id=f"run-{self.count}",
            service=service,
            alertname="Slow",
            fingerprint=f"f{self.count}",
            starts_at_unix_ms=self.now_ms,
            policy="scale-out",
            policy_json="{}",
            alert_json="{}",
            at_unix_ms=self.now_ms,
        )
        self.store.take([Firing(new)])
        self.runs[service] = new.id

    def act(self, service: str, kind: str, *, twice: bool) -> None:
        """Plan and act as the workflow does; `twice`: the worker died after writing, and does it again."""
        run_id = self.runs.get(service)
        if run_id is None:
            return
        history = self.store.history(service, run_id, self.now_ms)
        if kind not in RETURNING and check_history(GUARDS, history, service=service, now_unix_ms=self.now_ms):
            return
        key = f"{self.acted.get(run_id, 0)}.{kind}"
        action = Action(
            key=key, action=kind, target=service, from_replicas=1, to_replicas=2, reason="", at_unix_ms=self.now_ms
        )

        def admit(fleet, known):
            if known or kind in RETURNING:
                refusal = check_kill_switch(fleet.kill_switch)
            else:
                refusal = check_fleet(
                    LIMITS, GUARDS, fleet, service=service, services=len(SERVICES), now_unix_ms=self.now_ms
                )
            return refusal.guard if refusal else None

        for attempt in range(2 if twice else 1):
            answer = self.store.intend(run_id, State.ACTING, action, radius_ms=600_000, admit=admit)
            if isinstance(answer, Denied):
                return
            assert not self.stopped, "the kill switch is on"
            assert kind in RETURNING or not self._frozen(), "during a freeze"
            if attempt == 0 and kind == "undo":
                self.undone.append((self.now_ms, service, run_id))
            if attempt == 0 and kind not in RETURNING:
                others = [each for each in (*self.done, *self.undone) if each[1] == service and each[2] != run_id]
                assert all(self.now_ms - each[0] >= GUARDS.cooldown * 1000 for each in others), "undoing counts too"
                self.acted[run_id] = self.acted.get(run_id, 0) + 1
                self.done.append((self.now_ms, service, run_id))

    def scale(self, service: str, kind: str, *, missing: bool, die: str) -> None:
        """An autoscaler decides, and the worker may die around the request that follows."""
        before = self.scaler.desired[service]
        to = before + (1 if kind == "out" else -1)
        if not 1 <= to <= 6:
            return
        changes, self.scaler.die = len(self.scaler.changed), die
        decision = ScalingDecision(kind, before, to, "load")
        try:
            self._execution().act(
                AUTOSCALER,
                service,
                decision,
                findings=(),
                missing="telemetry is missing" if missing else None,
                now_s=self.now_ms / 1000,
            )
        except WorkerDiedError:
            assert self._execution().settle()
        self.scaler.die = ""
        made = self.scaler.changed[changes:]
        assert made in ([], [(service, before, to)]), "once at most"
        if made:
            assert not self.stopped, "the kill switch is on"
            assert not missing, "nobody acts blind"
            assert service not in self.runs, "an alert's run is at work"
            assert not self._frozen(), "during a freeze"
            if kind == "in":
                assert self.now_ms - self.escalated.get(service, -HOUR_MS) >= 600_000, "people have it"
                touched = {each[1] for each in self.scaled if each[2] == "in" and each[0] > self.now_ms - 600_000}
                touched |= {each[1] for each in self.done if each[0] > self.now_ms - 600_000} | {service}
                assert len(touched) <= len(SERVICES) * LIMITS.blast_radius.services
            self.scaled.append((self.now_ms, service, kind))

    def _execution(self) -> Execution:
        scalings = Scalings(self.store.database, "worker-1")
        return Execution(LIMITS, scalings=scalings, scaler=self.scaler, metrics=Metrics(), annotator=Annotator("", ""))

    def _frozen(self) -> bool:
        return FREEZE_MS[0] <= self.now_ms < FREEZE_MS[1]

    def end(self, service: str, state: State) -> None:
        run_id = self.runs.pop(service, None)
        if run_id is not None:
            self.store.finish(run_id, state, "", self.now_ms)
            if self.acted.pop(run_id, None) and state is State.ESCALATED:
                self.escalated[service] = self.now_ms

    def turn(self, *, on: bool) -> None:
        self.stopped = on
        if on:
            self.store.stop_all(KillSwitch(reason="r", by="b", at_unix_ms=self.now_ms))
        else:
            self.store.allow_all(by="b", reason="r", at_unix_ms=self.now_ms)

    def assert_nothing_is_overrun(self) -> None:
        lately = [each for each in self.done if each[0] > self.now_ms - HOUR_MS]
        scaled = [each for each in self.scaled if each[0] > self.now_ms - HOUR_MS]
        assert len(lately) + len(scaled) <= LIMITS.max_actions_per_hour
        assert len(lately) <= GUARDS.policy_max_actions_per_hour
        for service in SERVICES:
            assert sum(each[1] == service for each in lately) <= GUARDS.max_actions_per_hour
            assert sum(each[1] == service for each in scaled) <= AUTOSCALER.guards.max_actions_per_hour
        assert len(self.acted) <= LIMITS.max_concurrent
        recent = {each[1] for each in self.done if each[0] > self.now_ms - 600_000}
        assert len(recent) <= len(SERVICES) * LIMITS.blast_radius.services


service = st.sampled_from(SERVICES)
step = st.one_of(
    st.tuples(st.just("alert"), service),
    st.tuples(st.just("act"), service, st.sampled_from(["scale_out", "rollback", "undo", "scale_in"]), st.booleans()),
    st.tuples(
        st.just("scale"),
        service,
        st.sampled_from(["out", "in"]),
        st.booleans(),
        st.sampled_from(["", "before", "after"]),
    ),
    st.tuples(st.just("end"), service, st.sampled_from([State.RESOLVED, State.ESCALATED, State.REFUSED])),
    st.tuples(st.just("wait"), st.integers(1, 40 * 60_000)),
    st.tuples(st.just("turn"), st.booleans()),
    st.tuples(st.just("crash")),
)


@settings(
    max_examples=int(os.environ.get("STEERSMAN_GUARD_EXAMPLES", "30")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(st.lists(step, min_size=10, max_size=70))
def test_no_limit_is_ever_overrun(steps):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "store.sqlite"
        world = World(Store.in_file(path))
        try:
            for name, *arguments in steps:
                match name:
                    case "alert":
                        world.alert(*arguments)
                    case "act":
                        world.act(arguments[0], arguments[1], twice=arguments[2])
                    case "scale":
                        world.scale(arguments[0], arguments[1], missing=arguments[2], die=arguments[3])
                    case "end":
                        world.end(*arguments)
                    case "wait":
                        world.now_ms += arguments[0]
                    case "turn":
                        world.turn(on=arguments[0])
                    case "crash":
                        world.store.close()
                        world.store = Store.in_file(path)
                world.assert_nothing_is_overrun()
        finally:
            world.store.close()
