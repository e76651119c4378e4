"""The controller against a service whose replicas take time to start: steps, ramps, noise, flapping, and what may."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from remediation.policy.autoscaler import Autoscaler
from remediation.scalers.scaler import Replicas
from remediation.scaling.controller import Controller, Floor, Seen
from remediation.store.record import ScalingHistory

EVERY_S = 5
START_S = 10  # from being asked for to being ready
TARGET = 0.6
MAXIMUM = 12


def autoscaler(**changed):
    given = {
        "name": "catalog",
        "services": ["catalog"],
        "tracking": [{"utilisation": "x", "per": "instance", "target": TARGET, "warm_up": "10s"}],
        "scale_in": {"stabilisation": "120s", "cooldown": "30s", "maximum_step": 2},
        "maximum": MAXIMUM,
    }
    return Autoscaler.model_validate(given | changed)


@dataclass
class Service:
    """Load is in replicas that are wholly busy; what cannot be served is lost, so that utilisation ends at one."""

    load: Callable[[float], float]
    autoscaler: Autoscaler = field(default_factory=autoscaler)
    saturates: bool = True
    noise: Callable[[], float] = lambda: 1.0
    tells: Callable[[float, int], bool] = lambda now, replica: True
    floors: Callable[[float], list[Floor]] = lambda now: []
    ready_at: list[float] = field(default_factory=lambda: [-math.inf])
    last_change: float | None = None
    taken: list[tuple[float, int]] = field(default_factory=list)  # when, and how many there were before
    changes: list[tuple[float, int, int]] = field(default_factory=list)  # when, from, to
    now: float = 0.0

    def __post_init__(self) -> None:
        self.controller = Controller(self.autoscaler)

    @property
    def desired(self) -> int:
        return len(self.ready_at)

    def utilisation(self) -> float:
        ready = sum(at <= self.now for at in self.ready_at)
        return self.load(self.now) / max(1, ready)

    def run(self, until: float) -> Service:
        while self.now < until:
            ready = [number for number, at in enumerate(self.ready_at) if at <= self.now]
            each = min(1.0, self.utilisation()) if self.saturates else self.utilisation()
            told = {f"r{one}": each * self.noise() for one in ready if self.tells(self.now, one)}
            within = self.autoscaler.guards.blast_radius.within
            recent = [peak for at, peak in self.taken if self.now - at <= within]
            history = ScalingHistory(
                last_change_unix_ms=None if self.last_change is None else round(self.last_change * 1000),
                peak_in_window=max(recent, default=0),
                given_back=self.given_back(),
            )
            replicas = Replicas(service="catalog", desired=self.desired, ready=len(ready), minimum=1, maximum=20)
            what = Seen(replicas=replicas, utilisations=[told], floors=self.floors(self.now), history=history)
            decision = self.controller.observe(self.now, what)
            assert decision.before == self.desired
            if decision.kind != "hold":
                self._change(decision.to)
            self.now += EVERY_S
        return self

    def _change(self, to: int) -> None:
        assert 1 <= to <= MAXIMUM
        self.changes.append((self.now, self.desired, to))
        if to < self.desired:
            self.taken.append((self.now, self.desired))
        self.ready_at = self.ready_at[:to] + [self.now + START_S] * (to - self.desired)
        self.last_change = self.now

    def given_back(self) -> int:
        ways = [to > before for at, before, to in self.changes if self.now - at < 6 * 3600]
        return sum(later and not former for former, later in itertools.pairwise(ways))

    def turns(self, since: float = 0.0) -> int:
        """How often it went the other way than before."""
        ways = [to > before for at, before, to in self.changes if at >= since]
        return sum(one != other for one, other in itertools.pairwise(ways))


def test_step_of_the_load_is_followed_within_a_few_starts_and_then_nothing_moves():
    service = Service(lambda now: 0.5 if now < 100 else 4.0).run(400)
    assert service.desired == 7  # 4.0 / 0.6 is 6.7
    assert service.changes[-1][0] - 100 <= 60
    assert service.turns() == 0


def test_step_of_a_load_that_is_told_beyond_one_is_followed_at_once():
    service = Service(lambda now: 0.5 if now < 100 else 2.9, saturates=False).run(400)
    assert [to for _, _, to in service.changes] == [5]
    assert service.changes[0][0] == 100


def test_ramp_up_and_down_is_followed_without_turning_on_the_way():
    service = Service(lambda now: 0.3 + 4 * (1 - abs(now - 1200) / 1200), saturates=False).run(1200)
    assert service.turns() == 0
    assert abs(service.utilisation() - TARGET) <= 0.15
    service.run(4200 - 1800)
    assert service.turns() == 1  # up, then down
    service.run(4200)
    assert service.turns() == 1


def test_overloads_of_a_ramp_are_short():
    service = Service(lambda now: 0.3 + now / 300, saturates=False)
    over = 0
    for second in range(5, 1200, EVERY_S):
        service.run(second)
        over += service.utilisation() > 0.8
    assert over * EVERY_S <= 60


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("load", [0.55, 1.8, 2.4, 3.3])
def test_noise_on_a_constant_load_moves_nothing_back_and_forth(seed, load):
    generator = random.Random(seed)
    service = Service(lambda now: load, noise=lambda: generator.gauss(1, 0.12), saturates=False).run(4 * 3600)
    # One replica alone, at 0.92 of its target, measures above the tolerance now and then: it is added to and taken
    # from, ever more slowly. The others never are.
    assert service.turns() <= (7 if load == 0.55 else 0)
    assert service.turns(since=3600) <= (3 if load == 0.55 else 0)
    assert load / TARGET <= service.desired * 1.1 + 1e-9
    assert service.desired <= math.ceil(load / TARGET) + 1


def test_flapping_load_is_met_once_and_held():
    service = Service(lambda now: 3.0 if (now // 60) % 2 else 0.5, saturates=False).run(3600)
    assert service.turns() == 0
    assert service.desired == 5


def test_surge_that_ends_gives_its_replicas_back_slowly_and_never_more_than_the_share():
    service = Service(lambda now: 6.0 if now < 300 else 0.5, saturates=False).run(1800)
    downs = [(at, before, to) for at, before, to in service.changes if to < before]
    assert all(before - to <= 2 for _, before, to in downs)
    assert all(later[0] - former[0] >= 30 for former, later in itertools.pairwise(downs))
    for at, _, _ in downs:
        lost = [one for one in downs if at - 600 <= one[0] <= at]
        assert lost[0][1] - lost[-1][2] <= math.floor(lost[0][1] * 0.5)
    assert service.run(3600).desired == 1


loads = st.lists(st.tuples(st.integers(20, 400), st.floats(0, 9)), min_size=1, max_size=8)


@settings(max_examples=40, deadline=None)
@given(loads, st.integers(0, 2**32 - 1), st.floats(0, 0.3), st.floats(0, 0.5))
def test_however_load_and_telemetry_fall_bounds_hold_and_who_is_not_known_to_be_idle_is_kept(plan, seed, noise, lost):
    generator = random.Random(seed)
    silent_until: dict[int, float] = {}

    def tells(now: float, replica: int) -> bool:
        if generator.random() < lost / 10:
            silent_until[replica] = now + generator.uniform(5, 120)
        return silent_until.get(replica, -1.0) <= now

    ends, end = [], 0.0
    for seconds, load in plan:
        end += seconds
        ends.append((end, load))

    def load(now: float) -> float:
        return next((one for until, one in ends if now < until), ends[-1][1])

    floor = generator.randint(1, 4)
    service = Service(
        load,
        noise=lambda: max(0.0, generator.gauss(1, noise)),
        tells=tells,
        floors=lambda now: [Floor(floor, "a schedule")] if 200 <= now < 500 else [],
        saturates=generator.random() < 0.5,
    )
    while service.now < end + 600:
        before, at = service.desired, service.now
        starting = sum(ready > at for ready in service.ready_at)
        service.run(at + EVERY_S)
        silent = sum(silent_until.get(one, -1.0) > at for one in range(before - starting))
        assert service.desired <= MAXIMUM
        assert service.desired - before <= max(service.autoscaler.scale_out.maximum_step, floor - before)
        if service.desired < before:
            assert before - service.desired <= 2
            assert service.desired >= silent + starting, "each of them may be busy"
        if 200 <= at < 500:
            assert service.desired >= floor


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 9), st.integers(1, MAXIMUM), st.booleans())
def test_constant_load_settles_and_stays(load, start, saturates):
    service = Service(lambda now: load, saturates=saturates, ready_at=[-math.inf] * start)
    service.run(3600)
    settled = len(service.changes)
    service.run(3600 + 1200)
    assert len(service.changes) == settled
    assert service.turns() <= 1  # up too far while the load could not be measured beyond one, and back
    wanted = min(MAXIMUM, max(1, load / TARGET))
    assert service.desired * 1.1 + 1e-6 >= wanted
    assert service.desired <= math.ceil(wanted / 0.9) + 1
