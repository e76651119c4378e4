from __future__ import annotations

import pytest

from dashboards.viewer.traces.columns import columns, details
from dashboards.viewer.traces.comparison import compared
from dashboards.viewer.traces.tree import build_tree


def span(span_id, name, start, duration, parent=None, *, service="p1", error=False, follows=None):
    references = [{"refType": "CHILD_OF", "traceID": "t", "spanID": parent}] if parent else []
    references += [{"refType": "FOLLOWS_FROM", "traceID": follows, "spanID": "s"}] if follows else []
    return {
        "spanID": span_id,
        "operationName": name,
        "startTime": start,
        "duration": duration,
        "references": references,
        "tags": [{"key": "error", "type": "bool", "value": True}] if error else [],
        "processID": service,
    }


def tree_of(*spans):
    processes = {"p1": {"serviceName": "checkout"}, "p2": {"serviceName": "payment"}}
    return build_tree({"traceID": "t", "spans": list(spans), "processes": processes})


FAST = (
    span("a", "order", 0, 100),
    span("b", "query", 10, 10, "a"),
    span("c", "query", 30, 10, "a"),
    span("d", "charge", 50, 20, "a", service="p2"),
)
SLOW = (
    span("k", "order", 0, 300),
    span("l", "query", 10, 150, "k"),
    span("m", "retry", 170, 20, "k"),
    span("n", "charge", 200, 20, "k", service="p2", error=True),
)


def test_spans_of_the_same_path_are_one_row_and_what_only_one_trace_has_is_told():
    rows = {row.step[1]: row for row in compared(tree_of(*FAST), tree_of(*SLOW))}
    assert (rows["query"].first.count, rows["query"].second.count) == (2, 1)
    assert (rows["query"].first.total_us, rows["query"].second.total_us) == (20, 150)
    assert rows["query"].longer_us == 130
    assert (rows["retry"].only, rows["query"].only) == ("second", "")
    assert rows["charge"].second.errors == 1
    assert rows["order"].longer_us == (300 - 190) - (100 - 40)


def test_rows_are_a_call_tree_and_what_the_second_adds_follows_its_siblings():
    rows = compared(tree_of(*FAST), tree_of(*SLOW))
    assert [(row.step[1], row.depth) for row in rows] == [("order", 0), ("query", 1), ("charge", 1), ("retry", 1)]


def test_a_trace_compared_with_itself_differs_in_nothing():
    assert all(row.longer_us == 0 and not row.only for row in compared(tree_of(*FAST), tree_of(*FAST)))


def test_columns_say_who_is_whose_parent_in_the_order_of_the_waterfall():
    told = columns(tree_of(*FAST))
    assert told["parent"] == [-1, 0, 0, 0]
    assert [told["names"][number] for number in told["name"]] == ["order", "query", "query", "charge"]
    assert [told["services"][number] for number in told["service"]] == ["checkout"] * 3 + ["payment"]
    assert told["start"] == [0, 10, 30, 50]
    assert sum(told["self"]) == 100
    assert told["left_out"] == 0


def test_details_of_a_span_have_its_links_and_no_row_beyond_the_last():
    tree = tree_of(span("a", "order", 5, 100, follows="f" * 32))
    assert details(tree, 0)["links"] == [{"trace_id": "f" * 32, "span_id": "s"}]
    assert details(tree, 0)["start_us"] == 0
    for row in (-1, 1):
        with pytest.raises(IndexError):
            details(tree, row)
