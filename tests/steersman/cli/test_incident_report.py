from __future__ import annotations

from steersman.cli.incident_report import actions_in_short, report

BEGAN = 1_790_000_000_000
SLOW, WORSE, NAMED = (letter * 32 for letter in "abc")
P99 = "job:p99"


def found(at_ms, value, name="p99 in seconds", query=P99):
    return {"name": name, "query": query, "value": value, "at_unix_ms": BEGAN + at_ms}


RECORD = {
    "id": "catalog-latency-1",
    "service": "catalog",
    "alertname": "HighLatency",
    "state": "resolved",
    "started_at_unix_ms": BEGAN,
    "finished_at_unix_ms": BEGAN + 42_500,
    "policy": "scale-out-on-latency",
    "alert": {
        "labels": {"service": "catalog", "severity": "critical"},
        "annotations": {"summary": "p99 is [bold]high[/]", "runbook": "look", "trace_ids": f"{SLOW},{NAMED}"},
    },
    "actions": [
        {
            "action": "scale_out",
            "target": "catalog",
            "from": 1,
            "to": 3,
            "at_unix_ms": BEGAN + 250,
            "status": "done",
            "reason": "p99 1.9 s is over 0.5 s",
        }
    ],
    "timeline": [
        {"at_unix_ms": BEGAN + 100, "event": "accepted", "detail": None},
        {
            "at_unix_ms": BEGAN + 900,
            "event": "traces",
            "detail": f"slowest: http://j/trace/{SLOW} http://j/trace/{WORSE}",
        },
        {"at_unix_ms": BEGAN + 9000, "event": "decided_scale_in", "detail": "1 replica: the load fell"},
    ],
    "evidence": [
        found(100, 1.91234),
        found(900, [SLOW, WORSE], name="slowest", query="duration_bucket"),
        found(40_000, 0.21),
        found(40_000, None, name="the alert's expression", query="p99 > 0.5"),
    ],
    "outcome": "p99 fell to 0.2 s",
}


def section(record, title):
    lines = report(record)
    start = lines.index(title) + 1
    end = lines.index("", start) if "" in lines[start:] else len(lines)
    return [line.removeprefix("  ") for line in lines[start:end]]


def test_what_happened_and_how_it_ended_stand_first():
    assert report(RECORD)[:4] == [
        "HighLatency on catalog: resolved",
        "  p99 is [bold]high[/]",
        "  outcome  it helped: p99 fell to 0.2 s",
        "  changed  catalog 1→3",
    ]
    assert report(RECORD)[4].endswith("took 42.5 s")


def test_each_action_is_told_with_its_time_and_reason():
    assert section(RECORD, "What was done, and why") == ["   +0.2 s  scale out catalog 1 → 3: p99 1.9 s is over 0.5 s"]


def test_values_stand_in_the_order_of_time_and_what_was_asked_at_the_end():
    assert section(RECORD, "Evidence") == [
        "                        +0.1 s  +40.0 s",
        "p99 in seconds           1.912     0.21",
        "the alert's expression             none",
    ]
    assert section(RECORD, "Queries behind the evidence") == [
        "p99 in seconds: job:p99",
        "the alert's expression: p99 > 0.5",
    ]


def test_query_that_returned_several_series_has_a_row_for_each():
    values = {'{instance="a"}': 0.5, '{instance="b"}': 0.75}
    rows = section(RECORD | {"evidence": [found(100, values, name="busy")]}, "Evidence")
    assert rows == [
        "                     +0.1 s",
        'busy {instance="a"}     0.5',
        'busy {instance="b"}    0.75',
    ]


def test_of_many_moments_the_first_and_the_last_are_shown():
    many = [found(at * 1000, at) for at in range(20)]
    moments, values = section(RECORD | {"evidence": many}, "Evidence")
    assert moments.replace(" s", "").split() == ["+0.0", "+14.0", "+15.0", "+16.0", "+17.0", "+18.0", "+19.0"]
    assert values.split()[-7:] == ["0", "14", "15", "16", "17", "18", "19"]


def test_answer_that_did_not_come_is_told_in_full_beside_the_table():
    told = section(
        RECORD | {"evidence": [found(100, "no answer: refused by http://p:9090"), found(200, 1)]}, "Evidence"
    )
    assert told == ["p99 in seconds: no answer: refused by http://p:9090 (+0.1 s); 1 (+0.2 s)"]


def test_traces_are_links_where_the_worker_knew_the_way_each_once():
    assert section(RECORD, "Traces") == [
        "slowest",
        f"  http://j/trace/{SLOW}",
        f"  http://j/trace/{WORSE}",
        "named by the alert",
        f"  {NAMED}",
    ]


def test_what_a_trace_s_time_went_into_stands_below_it():
    path = found(950, {"catalog: worker_pool.wait": 1.25, "catalog: GET /items": 0.0521}, "critical path", SLOW)
    record = RECORD | {"evidence": [*RECORD["evidence"], path]}
    assert section(record, "Traces")[:4] == [
        "slowest",
        f"  http://j/trace/{SLOW}",
        "     1.250 s  catalog: worker_pool.wait",
        "     0.052 s  catalog: GET /items",
    ]
    assert section(record, "Evidence") == section(RECORD, "Evidence")


def test_changes_of_the_service_itself_stand_before_the_last_of_the_others():
    told = ["14:01 cart: 1.1.0 [deploy]", "14:02 catalog: 2.1.0 [deploy]", *(f"14:1{n} payment: {n}" for n in range(6))]
    changes = {"name": "recent changes", "query": "", "value": told}
    assert section(RECORD | {"evidence": [*RECORD["evidence"], changes]}, "Changed in the half hour before") == [
        "14:02 catalog: 2.1.0 [deploy]",
        "elsewhere",
        "  and 2 more, earlier",
        *(f"  14:1{n} payment: {n}" for n in range(1, 6)),
    ]


def test_timeline_is_in_words_and_tells_nothing_twice():
    told = [*RECORD["timeline"], RECORD["timeline"][-1] | {"at_unix_ms": BEGAN + 9100}]
    assert section(RECORD | {"timeline": told}, "Timeline") == [
        "   +0.1 s  accepted",
        "   +9.0 s  decided scale in  1 replica: the load fell",
    ]


def test_what_a_guard_refused_says_so_at_once():
    lines = report(RECORD | {"state": "refused", "actions": [], "outcome": "cooldown: 3 s left"})
    assert lines[2:4] == ["  outcome  a guard refused, nothing was done: cooldown: 3 s left", "  changed  nothing"]


def test_report_of_a_record_that_has_only_begun_is_readable():
    lines = report({"id": "x", "state": "planning", "started_at_unix_ms": 1})
    assert lines[0] == "? on ?: planning"
    assert "  outcome  not decided yet" in lines


def test_words_from_outside_cannot_steer_the_terminal():
    lines = report(RECORD | {"outcome": "\x1b[2Jgone\nForged: line", "state": "escalated"})
    assert lines[2] == "  outcome  people must look: [2Jgone Forged: line"


def test_actions_on_one_target_are_told_as_one_chain():
    steps = [("catalog", 1, 4), ("catalog", 4, 1), ("cart", 1, 2), ("cart", 1, 3)]
    actions = [{"action": "scale", "target": target, "from": old, "to": new} for target, old, new in steps]
    actions.append({"action": "set_flag", "target": "cart-1"})
    assert actions_in_short(actions) == "catalog 1→4→1, cart 1→2, cart 1→3, set flag cart-1"
