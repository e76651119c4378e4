"""`kill -9` at the worst moments: the run completes, and no action happens twice."""

import sqlite3
import threading
from contextlib import closing

import pytest

from remediation.departure import STORE_BROKEN

pytestmark = pytest.mark.chaos


class LostError(ConnectionError):
    """The request is dropped: the orchestrator never acts on it."""


@pytest.mark.parametrize("lost", [True, False], ids=["the-request-was-lost", "only-the-answer-was-lost"])
def test_worker_killed_around_the_action_acts_once_and_still_knows_what_ran_before(
    mortal_worker, orchestrator, prometheus, slow_until, alert, lost
):
    service = f"kill-{lost}".lower()
    slow_until(service, wanted=2.4, cured_by=99)
    prometheus.set("wanted", service, lambda: 2.4 if orchestrator.desired(service) == 1 else 0.2)
    reached, go_on = threading.Event(), threading.Event()

    def hold(_service):
        reached.set()
        assert go_on.wait(30)
        if lost:
            raise LostError

    orchestrator.before_put = hold
    try:
        (run_id,) = mortal_worker.post(alert(service))
        assert reached.wait(10)
        mortal_worker.kill()
    finally:
        orchestrator.before_put = lambda service: None
        go_on.set()
    if not lost:
        mortal_worker.wait_for(lambda: orchestrator.desired(service) == 3, "the request under way took effect")
    assert orchestrator.changes(service) == ([] if lost else [3])
    mortal_worker.start()
    record = mortal_worker.wait_for_state(run_id, "escalated")
    assert orchestrator.changes(service) == [3, 1]
    assert [(one["action"], one["from"], one["to"], one["status"]) for one in record["actions"]] == [
        ("scale_out", 1, 3, "done"),
        ("undo", 3, 1, "done"),
    ]


def test_worker_killed_during_verification_goes_on_with_it(mortal_worker, orchestrator, slow_until, alert):
    slow_until("kill-verify", wanted=2.0, cured_by=99)
    (run_id,) = mortal_worker.post(alert("kill-verify", name="PatientLatency"))
    mortal_worker.wait_for_state(run_id, "verifying")
    mortal_worker.kill()
    mortal_worker.start()
    assert mortal_worker.state(run_id) == "verifying"
    slow_until("kill-verify", wanted=2.0, cured_by=2, desired=2)  # it helps now
    mortal_worker.wait_for_state(run_id, "resolved_pending")
    mortal_worker.post(alert("kill-verify", name="PatientLatency", status="resolved"))
    record = mortal_worker.wait_for_state(run_id, "resolved")
    assert orchestrator.changes("kill-verify") == [2]
    assert len(record["actions"]) == 1


def test_orchestrator_that_is_away_for_a_moment_is_waited_for(mortal_worker, orchestrator, slow_until, alert):
    slow_until("away", wanted=2.0, cured_by=2)
    orchestrator.unavailable = True
    try:
        (run_id,) = mortal_worker.post(alert("away"))
        mortal_worker.kill()  # killed while it waits, before it has decided anything
        mortal_worker.start()
    finally:
        orchestrator.unavailable = False
    mortal_worker.wait_for_state(run_id, "resolved_pending")
    assert orchestrator.changes("away") == [2]


def test_second_worker_on_the_same_directory_is_refused(mortal_worker):
    first = mortal_worker.process
    with pytest.raises(AssertionError, match="in use by another worker"):
        mortal_worker.start()
    mortal_worker.process.wait(10)
    mortal_worker.process = first


def test_told_to_stop_it_stops_at_once_and_its_records_stay(mortal_worker, slow_until, alert):
    slow_until("stopped", wanted=2.0, cured_by=2)
    (run_id,) = mortal_worker.post(alert("stopped"))
    mortal_worker.wait_for_state(run_id, "resolved_pending")
    assert mortal_worker.stop() == 0
    mortal_worker.start()
    assert mortal_worker.state(run_id) == "resolved_pending"


def test_worker_whose_database_is_broken_ends_and_the_next_one_goes_on_with_its_run(
    mortal_worker, orchestrator, slow_until, alert
):
    slow_until("kill-store", wanted=2.0, cured_by=99)
    (run_id,) = mortal_worker.post(alert("kill-store", name="PatientLatency"))
    mortal_worker.wait_for_state(run_id, "verifying")
    (path,) = mortal_worker.directory.glob("data-*/remediation.sqlite")
    with closing(sqlite3.connect(path, timeout=10)) as other:
        other.execute("DROP TABLE remediation_evidence")
    slow_until("kill-store", wanted=2.0, cured_by=2, desired=2)  # it helps now, which is to be written down
    assert mortal_worker.process.wait(20) == STORE_BROKEN
    told = (mortal_worker.directory / "worker.log").read_text()
    assert "verify: the database cannot be used, and waiting mends nothing: no such table: remediation_evidence" in told
    mortal_worker.start()  # which makes the tables that are missing
    mortal_worker.wait_for_state(run_id, "resolved_pending")
    mortal_worker.post(alert("kill-store", name="PatientLatency", status="resolved"))
    record = mortal_worker.wait_for_state(run_id, "resolved")
    assert [(one["action"], one["status"]) for one in record["actions"]] == [("scale_out", "done")]
    assert orchestrator.changes("kill-store") == [2]
