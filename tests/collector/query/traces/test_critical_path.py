from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from collector.model.telemetry import Resource, Scope, Span
from collector.query.traces.critical_path import critical_nano, critical_path
from collector.query.traces.tree import roots_of, tree_of


def span(span_id, begin, end, parent=0, kind=1):
    return Span(
        trace_id=1,
        span_id=span_id,
        parent_span_id=parent,
        name=str(span_id),
        kind=kind,
        start_unix_nano=begin,
        duration_nano=end - begin,
        status_code=0,
        status_message="",
        trace_state="",
        flags=0,
        attributes=(),
        events=(),
        links=(),
        dropped_attributes=0,
        dropped_events=0,
        dropped_links=0,
        resource=Resource("shop", (), 0, ""),
        scope=Scope("", "", (), 0, ""),
    )


def test_the_path_goes_back_from_the_child_that_finished_last():
    """The example of Jaeger UI's own documentation: A calls B, then C."""
    spans = [span(1, 0, 100), span(2, 10, 40, 1), span(3, 50, 90, 1)]
    assert critical_path(spans) == [(1, 0, 10), (2, 10, 40), (1, 40, 50), (3, 50, 90), (1, 90, 100)]


def test_what_runs_beside_the_path_is_not_on_it():
    spans = [span(1, 0, 100), span(2, 10, 80, 1), span(3, 20, 90, 1)]
    assert critical_path(spans) == [(1, 0, 20), (3, 20, 90), (1, 90, 100)]


def test_children_one_right_after_the_other_are_all_on_it():
    spans = [span(1, 0, 30), span(2, 0, 10, 1), span(3, 10, 20, 1), span(4, 20, 30, 1)]
    assert critical_path(spans) == [(2, 0, 10), (3, 10, 20), (4, 20, 30)]


def test_a_child_is_cut_to_its_parents_time():
    spans = [span(1, 10, 20), span(2, 0, 12, 1), span(3, 18, 99, 1), span(4, 30, 40, 1)]
    assert critical_path(spans) == [(2, 10, 12), (1, 12, 18), (3, 18, 20)]


def test_nobody_waits_for_a_consumer():
    spans = [span(1, 0, 20), span(2, 5, 20, 1, kind=5), span(3, 6, 19, 2)]
    assert critical_path(spans) == [(1, 0, 20)]


def test_each_root_has_its_own_path():
    spans = [span(1, 0, 10), span(2, 100, 120, 77)]
    assert critical_path(spans) == [(1, 0, 10), (2, 100, 120)]
    assert critical_path([]) == []


def test_spans_that_are_each_others_parents_are_still_shown():
    nodes = tree_of([span(1, 0, 10, 2), span(2, 1, 5, 1), span(3, 0, 9, 3)])
    assert [(node.span.span_id, node.depth) for node in nodes] == [(3, 0), (1, 0), (2, 1)]


def test_self_time_is_what_no_child_covers():
    spans = [span(1, 0, 100), span(2, 10, 40, 1), span(3, 30, 60, 1), span(4, 90, 200, 1), span(5, 15, 20, 2)]
    nodes = {node.span.span_id: node for node in tree_of(spans)}
    assert {key: node.self_nano for key, node in nodes.items()} == {1: 40, 2: 25, 3: 30, 4: 110, 5: 5}
    assert {key: node.depth for key, node in nodes.items()} == {1: 0, 2: 1, 3: 1, 4: 1, 5: 2}


times = st.integers(0, 50)
trees = st.lists(st.tuples(times, times, st.integers(0, 12), st.integers(0, 5)), min_size=1, max_size=12).map(
    lambda rows: [
        span(number, begin, begin + length - 5, parent, kind)
        for number, (begin, length, parent, kind) in enumerate(rows, 1)
    ]
)


@given(trees)
def test_the_sections_of_a_root_are_its_whole_time_and_nothing_twice(spans):
    for root in roots_of(spans):
        below = {root.span_id}
        for _ in spans:
            below |= {one.span_id for one in spans if one.parent_span_id in below}
        sections = [section for section in critical_path(spans) if section.span_id in below]
        ends = [section.end_unix_nano for section in sections]
        begins = [section.start_unix_nano for section in sections]
        assert ends[:-1] == begins[1:]
        assert sum(critical_nano(sections).values()) == max(0, root.duration_nano)
    assert sorted(node.span.span_id for node in tree_of(spans)) == [one.span_id for one in spans]
    assert all(node.self_nano >= 0 for node in tree_of(spans))
