from __future__ import annotations

import io

from rich.console import Console

from steersman.cli import incidents

RECORD = {
    "id": "catalog-latency-1",
    "service": "catalog",
    "alertname": "HighLatency",
    "state": "resolved",
    "started_at_unix_ms": 1_790_000_000_000,
    "finished_at_unix_ms": 1_790_000_042_500,
    "policy": "scale-out-on-latency",
    "alert": {"labels": {"service": "catalog"}, "annotations": {"summary": "p99 is [bold]high[/]"}},
    "actions": [
        {
            "action": "scale",
            "target": "catalog",
            "from": 1,
            "to": 3,
            "at_unix_ms": 1_790_000_000_250,
            "reason": "p99 1.9 s is over 0.5 s",
        }
    ],
    "timeline": [{"at_unix_ms": 1_790_000_000_100, "event": "planning", "detail": None}],
    "evidence": [{"name": "p99", "query": "job:p99", "value": 1.91234, "at_unix_ms": 1_790_000_000_000}],
    "outcome": "p99 fell to 0.2 s",
}


def test_report_tells_evidence_action_and_outcome_with_their_times():
    text = "\n".join(incidents.report(RECORD))
    assert "HighLatency on catalog: resolved" in text
    assert "took 42.5 s" in text
    assert "p99 = 1.912 (+0.0s)" in text
    assert "in short: catalog 1→3" in text
    assert "+0.2s  scale catalog 1 -> 3: p99 1.9 s is over 0.5 s" in text
    assert "+0.1s  planning" in text
    assert text.endswith("Outcome: p99 fell to 0.2 s")


def test_evidence_is_told_once_for_each_query_from_before_to_after_with_what_was_changed():
    later = {"name": "p99", "query": "job:p99", "value": 0.21, "at_unix_ms": 1_790_000_040_000}
    changes = {"name": "recent changes", "query": "", "value": ["2026-09-21T14:10:00Z catalog 2.1.0 [deploy]"]}
    text = "\n".join(incidents.report(RECORD | {"evidence": [*RECORD["evidence"], later, changes]}))
    assert "p99 = 1.912 (+0.0s) → 0.21 (+40.0s)" in text
    assert text.count("job:p99") == 1
    assert "Changes in the half hour before\n  2026-09-21T14:10:00Z catalog 2.1.0 [deploy]" in text


def test_report_of_a_record_that_has_only_begun_is_readable():
    lines = incidents.report({"id": "x", "state": "planning", "started_at_unix_ms": 1})
    assert lines[-1] == "Outcome: not decided yet"
    assert "  none taken" in lines


def test_words_from_outside_cannot_steer_the_terminal():
    lines = incidents.report(RECORD | {"outcome": "\x1b[2Jgone\nForged: line"})
    assert lines[-1] == "Outcome: [2Jgone Forged: line"


def test_actions_on_one_target_are_told_as_one_chain():
    steps = [("catalog", 1, 4), ("catalog", 4, 1), ("cart", 1, 2), ("cart", 1, 3)]
    actions = [{"action": "scale", "target": target, "from": old, "to": new} for target, old, new in steps]
    actions.append({"action": "restart", "target": "cart-1"})
    assert incidents.actions_in_short(actions) == "catalog 1→4→1, cart 1→2, cart 1→3, restart cart-1"


def test_table_shows_brackets_as_they_are():
    console = Console(file=io.StringIO(), width=200)
    console.print(incidents.records_table([RECORD | {"service": "[red]catalog[/red]"}]))
    assert "[red]catalog[/red]" in console.file.getvalue()  # type: ignore[attr-defined]
