"""The contract of every scaler. A new one adds itself to the fixture `subject`: a service, 2 of 1..6 replicas."""

import time

import pytest

from remediation.errors import PermanentScalerError, TemporaryScalerError
from remediation.levers.lever import Controls
from remediation.scalers.change import change_replicas
from remediation.scalers.connection import ABILITIES
from remediation.scalers.scaler import Replicas

# The client of the docker package leaves the socket of a streamed answer (build, wait) to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def now_unix_ms() -> int:
    return time.time_ns() // 1_000_000


def test_replicas_are_told_with_their_bounds_and_the_service_by_name(subject):
    assert subject.scaler.get(subject.name) == Replicas(service=subject.name, desired=2, ready=2, minimum=1, maximum=6)
    services = subject.scaler.services()
    assert subject.name in services
    assert subject.unknown not in services


def test_policy_check_knows_what_it_supports(subject):
    assert isinstance(subject.scaler, Controls) == ("rollback" in ABILITIES[subject.kind])
    assert {"scale", "restart", "replace"} <= ABILITIES[subject.kind]


def test_replicas_come_and_go_and_a_number_may_be_set_twice(subject):
    assert subject.scaler.set_desired(subject.name, 4).desired == 4
    assert subject.scaler.set_desired(subject.name, 4).desired == 4
    subject.wait_settled(4)
    assert subject.scaler.set_desired(subject.name, 1).desired == 1
    subject.wait_settled(1)
    assert subject.scaler.get(subject.name) == Replicas(service=subject.name, desired=1, ready=1, minimum=1, maximum=6)


def test_number_out_of_bounds_is_refused_and_changes_nothing(subject):
    for desired in (0, 7, -1, 1_000_000):
        with pytest.raises(PermanentScalerError, match=r"out of bounds|must be between|1.*6"):
            subject.scaler.set_desired(subject.name, desired)
    assert subject.scaler.get(subject.name).desired == 2


def test_change_is_done_once_and_never_over_somebody_elses(subject):
    def change(before, to):
        return change_replicas(subject.scaler, subject.name, before, to, patience_s=5.0)

    assert change(2, 3) == ("done", "")
    assert change(2, 3) == ("done", ""), "a worker that died before it had noted it does it again"
    assert subject.scaler.get(subject.name).desired == 3
    status, why = change(2, 4)
    assert (status, subject.scaler.get(subject.name).desired) == ("conflict", 3)
    assert f"somebody else set {subject.name} to 3" in why
    status, why = change(3, 7)
    assert (status, subject.scaler.get(subject.name).desired) == ("failed", 3), why


def test_unknown_service_is_a_permanent_error(subject):
    for ask in (
        lambda: subject.scaler.get(subject.unknown),
        lambda: subject.scaler.set_desired(subject.unknown, 2),
        lambda: subject.scaler.restart(subject.unknown, now_unix_ms()),
    ):
        with pytest.raises(PermanentScalerError, match="nothing"):
            ask()


def test_name_cannot_reach_another_path(subject):
    for name in ("../services/shop", "shop/../shop", "shop?x=", "", "SHOP\n", "x" * 300):
        with pytest.raises(PermanentScalerError):
            subject.scaler.set_desired(name, 5)
    assert subject.scaler.get(subject.name).desired == 2


def test_restart_replaces_in_turn_what_started_before_and_nothing_twice(subject):
    before = subject.marks
    if subject.knows_ages:
        subject.scaler.restart(subject.name, now_unix_ms() - 24 * 3_600_000)
        assert subject.marks == before, "nothing had started by then"
    time.sleep(0.002)  # what has just started, has started before
    began = now_unix_ms()
    subject.scaler.restart(subject.name, began)
    subject.wait(lambda: not subject.marks & before and subject.settled(2), "everything is another")
    after = subject.marks
    subject.scaler.restart(subject.name, began)
    assert subject.marks == after


def test_replace_takes_one_replica_away_once(subject):
    before = subject.running()
    one, *others = sorted(before)
    time.sleep(0.002)
    began = now_unix_ms()
    subject.scaler.restart(subject.name, began, one)
    subject.wait(lambda: subject.running().get(one) != before[one] and subject.settled(2), f"{one} is another")
    after = subject.running()
    assert {name: after[name] for name in others} == {name: before[name] for name in others}
    subject.scaler.restart(subject.name, began, one)
    assert subject.running() == after
    assert subject.scaler.get(subject.name).desired == 2


def test_system_that_is_not_there_is_a_temporary_error(subject):
    absent = subject.absent()
    with pytest.raises(TemporaryScalerError):
        absent.get(subject.name)
    status, why = change_replicas(absent, subject.name, 2, 3, patience_s=0.0)
    assert status == "failed", why
    absent.close()
