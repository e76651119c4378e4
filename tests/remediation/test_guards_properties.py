"""However alerts, times and crashes fall, no limit is overrun; the store and the guards as the workflow uses them."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from remediation.guards import check_fleet, check_history, check_kill_switch
from remediation.policy.limits import Limits
from remediation.policy.policy import Guards
from remediation.store.record import RETURNING, Action, Denied, Firing, KillSwitch, NewRun, State
from remediation.store.store import Store

SERVICES = ("cart", "catalog", "checkout", "inventory", "payment", "recommendation")
HOUR_MS = 3_600_000
LIMITS = Limits(max_actions_per_hour=6, max_concurrent=2, blast_radius={"services": 0.5, "within": "10m"})
GUARDS = Guards(
    cooldown="30s",
    max_actions_per_hour=3,
    policy_max_actions_per_hour=5,
    escalation_hold_off="10m",
    breaker={"repairs": 2, "within": "1h"},
)


@dataclass
class World:
    """What really happened, kept beside the store."""

    store: Store
    now_ms: int = 10 * HOUR_MS
    runs: dict[str, str] = field(default_factory=dict)  # service → its unfinished run
    acted: dict[str, int] = field(default_factory=dict)  # unfinished run → number of its actions
    done: list[tuple[int, str, str]] = field(default_factory=list)  # when, service, run
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
            if attempt == 0 and kind not in RETURNING:
                self.acted[run_id] = self.acted.get(run_id, 0) + 1
                self.done.append((self.now_ms, service, run_id))

    def end(self, service: str, state: State) -> None:
        run_id = self.runs.pop(service, None)
        if run_id is not None:
            self.store.finish(run_id, state, "", self.now_ms)
            self.acted.pop(run_id, None)

    def turn(self, *, on: bool) -> None:
        self.stopped = on
        if on:
            self.store.stop_all(KillSwitch(reason="r", by="b", at_unix_ms=self.now_ms))
        else:
            self.store.allow_all(by="b", reason="r", at_unix_ms=self.now_ms)

    def assert_nothing_is_overrun(self) -> None:
        lately = [each for each in self.done if each[0] > self.now_ms - HOUR_MS]
        assert len(lately) <= LIMITS.max_actions_per_hour
        assert len(lately) <= GUARDS.policy_max_actions_per_hour
        for service in SERVICES:
            assert sum(each[1] == service for each in lately) <= GUARDS.max_actions_per_hour
        assert len(self.acted) <= LIMITS.max_concurrent
        recent = {each[1] for each in self.done if each[0] > self.now_ms - 600_000}
        assert len(recent) <= len(SERVICES) * LIMITS.blast_radius.services


service = st.sampled_from(SERVICES)
step = st.one_of(
    st.tuples(st.just("alert"), service),
    st.tuples(st.just("act"), service, st.sampled_from(["scale_out", "restart", "undo", "scale_in"]), st.booleans()),
    st.tuples(st.just("end"), service, st.sampled_from([State.RESOLVED, State.ESCALATED, State.REFUSED])),
    st.tuples(st.just("wait"), st.integers(1, 40 * 60_000)),
    st.tuples(st.just("turn"), st.booleans()),
    st.tuples(st.just("crash")),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(step, min_size=10, max_size=80))
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
