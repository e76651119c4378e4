from dashboards.viewer.traces.tree import build_tree


def span(span_id, start, duration, parent=None, *, error=False, service="p1"):
    references = [{"refType": "CHILD_OF", "traceID": "t", "spanID": parent}] if parent else []
    tags = [{"key": "error", "type": "bool", "value": True}] if error else []
    return {
        "spanID": span_id,
        "operationName": span_id,
        "startTime": start,
        "duration": duration,
        "references": references,
        "tags": tags,
        "processID": service,
    }


def tree_of(*spans):
    processes = {"p1": {"serviceName": "checkout"}, "p2": {"serviceName": "payment"}}
    return build_tree({"traceID": "t", "spans": list(spans), "processes": processes})


def test_children_follow_their_parent_by_their_start():
    tree = tree_of(span("c", 60, 10, "a"), span("a", 0, 100), span("d", 62, 2, "c"), span("b", 10, 20, "a"))
    assert [(node.span_id, node.depth) for node in tree.nodes] == [("a", 0), ("b", 1), ("c", 1), ("d", 2)]
    assert (tree.duration_us, tree.services) == (100, ("checkout",))


def test_self_time_is_what_no_child_covers_overlaps_once():
    tree = tree_of(span("a", 0, 100), span("b", 10, 40, "a"), span("c", 30, 40, "a"), span("d", 90, 50, "a"))
    assert tree.root.self_us == 100 - 60 - 10


def test_critical_path_is_what_was_waited_for_last():
    tree = tree_of(span("a", 0, 100), span("b", 10, 60, "a"), span("c", 20, 70, "a"), span("late", 95, 50, "a"))
    critical = {node.span_id: node.critical_us for node in tree.nodes}
    # From the end back: late (95-100), a alone (90-95), c (20-90), b (10-20), and a.
    # A child that outlasts its parent counts up to the parent's end.
    assert critical == {"a": 15, "b": 10, "c": 70, "late": 5}
    assert sum(critical.values()) == 100


def test_nobody_waits_for_who_takes_a_message_off_a_queue():
    consumer = span("b", 10, 500, "a")
    consumer["tags"] = [*consumer.get("tags", []), {"key": "span.kind", "value": "consumer"}]
    tree = tree_of(span("a", 0, 100), consumer)
    assert {node.span_id: node.critical_us for node in tree.nodes} == {"a": 100, "b": 0}


def test_a_proxy_that_is_done_a_little_before_its_server_was_waiting_for_it():
    tree = tree_of(span("proxy", 0, 1000), span("server", 3, 1001, "proxy"), span("wait", 4, 990, "server"))
    assert {node.span_id: node.critical_us for node in tree.nodes} == {"proxy": 3, "server": 7, "wait": 990}


def test_orphans_circles_and_errors_are_shown():
    tree = tree_of(
        span("a", 0, 10), span("orphan", 5, 2, "missing", error=True), span("x", 7, 1, "y"), span("y", 8, 1, "x")
    )
    assert {node.span_id for node in tree.nodes} == {"a", "orphan", "x", "y"}
    assert tree.errors == 1
    assert build_tree({"spans": []}) is None
