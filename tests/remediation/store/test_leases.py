import pytest

from remediation.errors import LeaseLostError
from remediation.store.leases import Lease
from remediation.store.record import KillSwitch
from remediation.store.store import Store

SWITCH = KillSwitch(reason="r", by="b", at_unix_ms=1)


@pytest.fixture
def store(postgres):
    url = postgres.database().replace("://", "+psycopg://")
    opened = []

    def open_store():
        opened.append(Store.at_url(url))
        return opened[-1]

    yield open_store
    for one in opened:
        one.close()


def test_workers_that_are_heard_of_are_named(store):
    leases = [Lease(store().database, name, seconds=60) for name in ("a", "b")]
    for lease in leases:
        lease.take()
    assert leases[0].renew() == {"a", "b"}
    leases[1].give_back()
    assert leases[0].renew() == {"a"}


def test_worker_whose_lease_has_ended_cannot_write_any_more(store):
    told = []
    silent, other = store(), store()
    Lease(silent.database, "silent", seconds=-1, lost=told.append).take()
    assert silent.stop_all(SWITCH) == SWITCH  # nobody has missed it yet
    alive = Lease(other.database, "alive", seconds=60)
    alive.take()
    assert alive.renew() == {"alive"}
    with pytest.raises(LeaseLostError, match="worker silent was silent"):
        silent.allow_all(by="b", reason="r", at_unix_ms=2)
    assert len(told) == 1
    assert other.kill_switch() == SWITCH
    assert silent.kill_switch() == SWITCH  # reading is harmless


def test_newcomer_of_the_same_name_takes_it_from_the_former(store):
    former, newcomer = store(), store()
    Lease(former.database, "worker-1", seconds=60).take()
    Lease(newcomer.database, "worker-1", seconds=60).take()
    with pytest.raises(LeaseLostError):
        former.stop_all(SWITCH)
    assert newcomer.stop_all(SWITCH) == SWITCH


def test_worker_that_is_late_is_not_ended_in_the_middle_of_a_write_and_nobody_waits_for_it(store):
    late, alive = Lease(store().database, "late", seconds=-1), Lease(store().database, "alive", seconds=60)
    for lease in (late, alive):
        lease.take()
    with late._database.writing():
        assert alive.renew() == {"alive", "late"}
    assert alive.renew() == {"alive"}


def test_transaction_of_a_frozen_worker_is_ended_so_that_the_others_get_its_locks(store):
    with store().database.reading() as connection:
        told = connection.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar()
    assert told == "10s"
