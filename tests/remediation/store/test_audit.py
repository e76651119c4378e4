"""Whatever is done to the audit log afterwards is found."""

import sqlite3
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remediation.store.audit import GENESIS, Entry, Head, Verifier, chained
from remediation.store.record import Action, Firing, KillSwitch, NewRun, Note, Resolved, State
from remediation.store.store import Store

RUN = NewRun(
    id="f1-1000",
    service="cart",
    alertname="Slow",
    fingerprint="f1",
    starts_at_unix_ms=1000,
    policy="scale-out",
    policy_json="{}",
    alert_json='{"labels": {}}',
    at_unix_ms=5000,
)
ACTION = Action(
    key="0.0", action="scale_out", target="cart", from_replicas=1, to_replicas=2, reason="load", at_unix_ms=6
)


def fill(store):
    store.take([Firing(RUN)])
    store.intend("f1-1000", State.ACTING, ACTION, radius_ms=1, admit=lambda fleet, known: "freeze: sunday")
    store.intend("f1-1000", State.ACTING, ACTION, radius_ms=1, admit=lambda fleet, known: None)
    store.conclude("f1-1000", "0.0", "done", Note("n", "scale_out", "1 → 2"), 7)
    store.ask("f1-1000", "1", "go on?", 7, 99)
    store.answer("f1-1000", "approved", by="ada", reason="looks right", at_unix_ms=8)
    store.stop_all(KillSwitch(reason="migration", by="ada", at_unix_ms=9))
    store.allow_all(by="ada", reason="done", at_unix_ms=10)
    store.take([Resolved(fingerprint="f1", starts_at_unix_ms=1000, at_unix_ms=11)])
    store.finish("f1-1000", State.RESOLVED, "fine", 12)


def fault(store):
    verifier = Verifier()
    rows, head = store.audit_log(after=0, limit=10_000)
    verifier.feed(rows)
    return verifier.end(head)


def test_every_decision_refusal_action_approval_and_turn_of_the_switch_is_in_it(tmp_path):
    store = Store.in_file(tmp_path / "s.sqlite")
    fill(store)
    rows, head = store.audit_log(after=0, limit=100)
    assert [row["kind"] for row in rows] == [
        "accepted", "denied", "intended", "scale_out", "answered", "kill_switch", "kill_switch", "alert_resolved",
        "resolved",
    ]  # fmt: skip
    assert head.sequence == len(rows)
    assert '"denied":"freeze: sunday"' in rows[1]["detail_json"]
    assert fault(store) is None
    store.close()


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("UPDATE remediation_audit SET detail_json = '{}' WHERE sequence = 3", "entry 3 has been edited"),
        ("UPDATE remediation_audit SET at_unix_ms = at_unix_ms + 1 WHERE sequence = 9", "entry 9 has been edited"),
        ("DELETE FROM remediation_audit WHERE sequence = 4", "entry 4 is missing"),
        ("DELETE FROM remediation_audit WHERE sequence = 1", "entry 1 is missing"),
        ("DELETE FROM remediation_audit WHERE sequence = 9", "the chain ends at entry 8"),
        ("DELETE FROM remediation_audit", "the chain ends at entry 0"),
        ("UPDATE remediation_audit SET sequence = 5 - sequence + 1000 WHERE sequence IN (2, 3)", "entry 2 is missing"),
        ("UPDATE remediation_audit SET hash = previous_hash WHERE sequence = 2", "entry 2 has been edited"),
    ],
)
def test_what_was_changed_in_the_database_is_found(tmp_path, statement, found):
    store = Store.in_file(tmp_path / "s.sqlite")
    fill(store)
    with sqlite3.connect(tmp_path / "s.sqlite") as other:
        other.execute(statement)
    other.close()
    assert found in fault(store)
    store.close()


entries = st.lists(
    st.builds(
        Entry,
        at_unix_ms=st.integers(0, 1 << 40),
        kind=st.sampled_from(["planned", "refused", "intended"]),
        run_id=st.text(max_size=5),
        detail=st.dictionaries(st.text(max_size=3), st.text(max_size=5), max_size=2),
    ),
    min_size=2,
    max_size=12,
)


@given(entries, st.data())
def test_any_edit_removal_or_exchange_breaks_the_chain(told, data):
    rows = chained(Head(0, GENESIS), told)
    head = Head(len(rows), rows[-1]["hash"])
    whole = Verifier()
    whole.feed(rows)
    assert whole.end(head) is None
    at = data.draw(st.integers(0, len(rows) - 1))
    match data.draw(st.sampled_from(["edit", "remove", "exchange", "rewrite"])):
        case "edit":
            name = data.draw(st.sampled_from(["kind", "run_id", "detail_json", "previous_hash"]))
            rows[at] = rows[at] | {name: rows[at][name] + "x"}
        case "remove":
            del rows[at]
        case "exchange":
            other = (at + 1) % len(rows)
            rows[at], rows[other] = rows[other], rows[at]
        case "rewrite":  # with a chain of its own from there on, but not the head
            before = Head(at, rows[at]["previous_hash"])
            rows[at:] = chained(before, [Entry(1, "planned", "another", {}), *told[at + 1 :]])
    verifier = Verifier()
    verifier.feed(rows)
    assert verifier.end(head) is not None


def test_two_workers_that_write_at_once_make_one_chain(postgres):
    url = postgres.database().replace("://", "+psycopg://")
    stores = [Store.at_url(url) for _ in range(2)]

    def write(store, number):
        for turn in range(15):
            store.stop_all(KillSwitch(reason=f"{number} {turn}", by="x", at_unix_ms=turn))

    threads = [threading.Thread(target=write, args=(store, number)) for number, store in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert stores[0].audit_log(after=0, limit=1)[1].sequence == 30
    assert fault(stores[1]) is None
    for store in stores:
        store.close()
