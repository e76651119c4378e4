from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_spans import CLIENT, CONSUMER, ERROR, INTERNAL, PRODUCER, RECEIVED_MS, SERVER, Made, decoded

from collector.pipeline.connectors.connectors import Connectors
from collector.pipeline.connectors.dimensions import Dimension
from collector.pipeline.connectors.service_graph import ServiceGraphOptions

MS = 1_000_000
REQUESTS = "traces_service_graph_request"
TTL_MS = ServiceGraphOptions().ttl_ms


def graph(**options) -> Connectors:
    return Connectors(span_metrics=None, service_graph=ServiceGraphOptions(**options))


def counted(made: Connectors, *requests: list[Made], received_ms: int = RECEIVED_MS) -> Connectors:
    for spans in requests:
        made.derive(decoded(spans, received_ms=received_ms)).keep()
    return made


def after(made: Connectors, now_ms: int) -> Connectors:
    if derivation := made.expire(now_ms):
        derivation.keep()
    return made


def edges(made: Connectors, what: str = "total") -> dict[tuple[str, str, str, str], float]:
    """By client, server, connection type and whether it failed."""
    found = {}
    for table in made.flush(RECEIVED_MS + 100_000).tables:
        for labels, value in zip(table.labels, table.values[:, 0].tolist(), strict=True):
            pairs = dict(labels)
            if pairs["__name__"] == f"{REQUESTS}_{what}":
                place = (pairs.get("client", ""), pairs.get("server", ""), pairs.get("connection_type", ""))
                found[(*place, pairs.get("failed", ""))] = value
    return found


CALL = Made(service="cart", kind=CLIENT, span=1, took_nano=30 * MS)
SERVED = Made(service="stock", kind=SERVER, span=2, parent=1, took_nano=20 * MS)


@pytest.mark.parametrize("requests", [[[CALL, SERVED]], [[CALL], [SERVED]], [[SERVED], [CALL]], [[SERVED, CALL]]])
def test_a_request_is_counted_once_both_ends_are_there_in_whatever_order(requests):
    made = counted(graph(), *requests)
    assert edges(made) == {("cart", "stock", "", "false"): 1}
    assert edges(made, "client_seconds_sum") == {("cart", "stock", "", "false"): pytest.approx(0.03)}
    assert edges(made, "server_seconds_sum") == {("cart", "stock", "", "false"): pytest.approx(0.02)}
    assert made.service_graph.waiting == 0
    assert edges(after(made, RECEIVED_MS + 10 * TTL_MS)) == {("cart", "stock", "", "false"): 1}


@pytest.mark.parametrize("bad", [CALL, SERVED])
def test_a_request_failed_if_one_of_its_ends_says_so(bad):
    made = counted(graph(), [replace(each, status=ERROR * (each is bad)) for each in (CALL, SERVED)])
    assert edges(made) == {("cart", "stock", "", "true"): 1}
    assert edges(made, "failed_total") == {("cart", "stock", "", "true"): 1}


def test_messages_go_from_producers_to_consumers():
    made = counted(graph(), [replace(CALL, kind=PRODUCER), replace(SERVED, kind=CONSUMER)])
    assert edges(made) == {("cart", "stock", "messaging_system", "false"): 1}


def test_a_span_that_names_a_database_is_a_request_to_it():
    made = counted(graph(), [replace(CALL, attributes={"db.name": "orders", "peer.service": "postgres"})])
    assert edges(made) == {("cart", "orders", "database", "false"): 1}
    assert edges(made, "server_seconds_sum") == {("cart", "orders", "database", "false"): pytest.approx(0.03)}
    assert made.service_graph.waiting == 0


def test_a_client_whose_server_sends_no_spans_calls_the_peer_that_it_names_or_somebody_unknown():
    spans = [
        replace(CALL, attributes={"db.system.name": "redis", "peer.service": "bank"}),
        replace(CALL, span=2, attributes={"db.system.name": "redis", "peer.service": ""}),
        replace(CALL, span=3),
    ]
    made = counted(graph(virtual_node_label=True), spans)
    assert edges(made) == {}
    after(made, RECEIVED_MS + TTL_MS - 1)
    assert edges(made) == {}
    after(made, RECEIVED_MS + TTL_MS)
    wanted = {("cart", server, "virtual_node", "false"): 1 for server in ("bank", "redis", "unknown")}
    assert edges(made) == wanted
    assert made.service_graph.expired_edges == 3
    assert made.service_graph.waiting == 0


def test_the_first_server_of_a_trace_is_called_by_a_user():
    made = counted(graph(), [replace(SERVED, parent=0)])
    assert edges(made) == {("user", "stock", "virtual_node", "false"): 1}


def test_without_peer_attributes_there_are_no_virtual_nodes():
    made = counted(graph(peer_attributes=()), [CALL, replace(SERVED, parent=0), replace(SERVED, parent=77)])
    assert edges(after(made, RECEIVED_MS + TTL_MS)) == {}


def test_the_ends_bring_dimensions_of_their_own():
    made = counted(
        graph(dimensions=(Dimension("zone"),)),
        [replace(CALL, attributes={"zone": "a"}), replace(SERVED, resource={"zone": "b"})],
    )
    (table, *_) = made.flush(RECEIVED_MS + 1).tables
    assert {"client_zone": "a", "server_zone": "b"}.items() <= dict(table.labels[0]).items()


def test_more_ends_than_may_wait_are_dropped_and_those_that_wait_stay():
    made = counted(graph(max_items=10), [replace(CALL, span=n) for n in range(1, 9)])
    counted(made, [replace(CALL, span=n) for n in range(11, 31)], received_ms=RECEIVED_MS + 1)
    assert (made.service_graph.waiting, made.service_graph.dropped_spans) == (10, 18)
    counted(made, [replace(SERVED, parent=n) for n in range(1, 9)], received_ms=RECEIVED_MS + 2)
    assert edges(made) == {("cart", "stock", "", "false"): 8}


def test_peers_that_are_made_up_do_not_fill_the_memory():
    made = graph(limit=20)
    for start in range(0, 3000, 500):
        counted(made, [replace(CALL, span=n + 1, attributes={"db.name": f"db-{n}"}) for n in range(start, start + 500)])
    found = edges(made)
    assert sum(found.values()) == 3000
    assert len(found) <= 22
    assert found["", "", "", ""] >= 2980


class Reference:
    """The connector's store, one span at a time (internal/store/store.go)."""

    def __init__(self) -> None:
        self.waiting: dict[tuple[int, int, bool], list[tuple[int, Made]]] = {}
        self.edges: Counter = Counter()

    def take(self, span: Made, now_ms: int) -> None:
        is_client = span.kind in (CLIENT, PRODUCER)
        if is_client and (database := span.attributes.get("db.name")):
            self._count(span.service, database, "database", span.status == ERROR)
        elif is_client:
            self._meet(span, (span.trace, span.span), now_ms, is_client=True)
        elif span.kind in (SERVER, CONSUMER) and span.parent:
            self._meet(span, (span.trace, span.parent), now_ms, is_client=False)
        elif span.kind in (SERVER, CONSUMER):
            self._count("user", span.service, "virtual_node", span.status == ERROR)

    def _meet(self, span: Made, key: tuple[int, int], now_ms: int, *, is_client: bool) -> None:
        if others := self.waiting.get((*key, not is_client)):
            _, other = others.pop(0)
            client, server = (span, other) if is_client else (other, span)
            kind = "messaging_system" if {PRODUCER, CONSUMER} & {client.kind, server.kind} else ""
            self._count(client.service, server.service, kind, ERROR in (client.status, server.status))
        else:
            self.waiting.setdefault((*key, is_client), []).append((now_ms + TTL_MS, span))

    def expire(self, now_ms: int) -> None:
        for (_, _, is_client), halves in self.waiting.items():
            late = [span for deadline, span in halves if deadline <= now_ms]
            halves[:] = [half for half in halves if half[0] > now_ms]
            for span in late if is_client else ():
                self._count(span.service, "unknown", "virtual_node", span.status == ERROR)

    def _count(self, client: str, server: str, kind: str, failed: bool) -> None:
        self.edges[client, server, kind, "true" if failed else "false"] += 1


ends = st.builds(
    Made,
    service=st.sampled_from(["a", "b", "c"]),
    kind=st.sampled_from([INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER]),
    status=st.sampled_from([0, ERROR]),
    trace=st.integers(1, 3),
    span=st.integers(1, 6),
    parent=st.integers(0, 6),
    attributes=st.sampled_from([{}, {}, {}, {"db.name": "orders"}]),
)


def end_of(span: Made) -> tuple[bool, int, int, int]:
    return span.kind in (CLIENT, PRODUCER), span.trace, span.span, span.parent


one_request = st.lists(ends, min_size=1, max_size=8, unique_by=end_of)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, TTL_MS), one_request), min_size=1, max_size=5))
def test_the_graph_is_that_of_a_store_that_takes_one_span_at_a_time(requests):
    made, reference, now_ms = graph(), Reference(), RECEIVED_MS
    for passed_ms, spans in requests:
        now_ms += passed_ms
        reference.expire(now_ms)
        for span in spans:
            reference.take(span, now_ms)
        counted(made, spans, received_ms=now_ms)
    now_ms += TTL_MS
    reference.expire(now_ms)
    assert edges(after(made, now_ms)) == dict(reference.edges)
