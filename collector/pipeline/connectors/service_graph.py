"""
Requests between services, as the OpenTelemetry Collector's servicegraph connector counts them
(connector/servicegraphconnector/connector.go and internal/store).

A request is a client's span and the server's span below it (kinds client and server, or producer and consumer), or a
client's span that names a database. What only one side tells of goes to a virtual node: a client whose server sends no
spans, and a user before the first server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from collector.model.labels import Labels, labels_of
from collector.model.series import MetricMetadata
from collector.model.telemetry import StatusCode
from collector.pipeline.connectors.columns import SpanColumns
from collector.pipeline.connectors.dimensions import Dimension, Readings, Resources, first_of
from collector.pipeline.connectors.edges import HALF, Halves, Waiting, edge_keys, pair
from collector.pipeline.connectors.histograms import Cells
from collector.pipeline.connectors.parties import Parties, Party, name_keys
from collector.pipeline.connectors.samples import Counters, Durations, Family
from collector.pipeline.connectors.series import Level, SeriesSet
from collector.pipeline.connectors.span_metrics import DEFAULT_BUCKETS_NANO, OVERFLOW, SERVICE
from collector.pipeline.connectors.texts import Hashes, Places, combined

_SECOND_NANO = 1_000_000_000
_NAME = "traces_service_graph_request"
_USER, _NOBODY = "user", "unknown"  # the connector's words
_CLIENT, _SERVER = 0, 1  # places in SeriesSet.histograms


class Connection(IntEnum):
    """`connection_type`; the last two differ in which side is the virtual one."""

    DIRECT = 0
    MESSAGING = 1
    DATABASE = 2
    VIRTUAL_CLIENT = 3
    VIRTUAL_SERVER = 4


_CONNECTION_TEXTS = ("", "messaging_system", "database", "virtual_node", "virtual_node")
_VIRTUAL_TEXTS = ("", "", "", "client", "server")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceGraphOptions:
    buckets_nano: tuple[int, ...] = DEFAULT_BUCKETS_NANO
    dimensions: tuple[Dimension, ...] = ()
    ttl_ms: int = 10_000  # how long a half waits for the other
    max_items: int = 100_000  # halves that wait together; 48 bytes each
    peer_attributes: tuple[str, ...] = ("peer.service", "db.name", "db.system.name")  # none: no virtual nodes
    database_attributes: tuple[str, ...] = ("db.name",)
    virtual_node_label: bool = False
    limit: int = 2_000  # series of requests


class Requests(NamedTuple):
    """Requests [n] that are complete."""

    client: Hashes
    server: Hashes
    connection: NDArray[np.int64]
    failed: NDArray[np.bool_]
    client_nano: NDArray[np.int64]
    server_nano: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GraphChange:
    """What one commit adds, and what waits after it."""

    client: Cells
    server: Cells
    waiting: Waiting
    dropped: int
    expired: int
    edges: int  # more than before, those that wait among them


class ServiceGraph:
    def __init__(self, options: ServiceGraphOptions, resources: Resources) -> None:
        self.options = options
        self.series = SeriesSet(options.buckets_nano, limit=options.limit, histograms=2)
        self.dropped_spans = 0
        self.expired_edges = 0
        self.total_edges = 0
        self._resources = resources
        self._parties = Parties()
        self._waiting = Waiting()
        self._requests = Counters(MetricMetadata(f"{_NAME}_total", "counter", "Requests between two nodes.", ""))
        self._failed = Counters(
            MetricMetadata(f"{_NAME}_failed_total", "counter", "Failed requests between two nodes.", "")
        )
        self._durations = [
            Durations(
                MetricMetadata(f"{_NAME}_{side}_seconds", "histogram", f"Requests as seen from the {side}.", "seconds"),
                options.buckets_nano,
                _SECOND_NANO,
            )
            for side in ("client", "server")
        ]

    @property
    def layout(self) -> str:
        """What must not change while counts go on."""
        options = self.options
        return repr((options.buckets_nano, options.dimensions, options.virtual_node_label))

    @property
    def waiting(self) -> int:
        """Spans that wait for their counterpart."""
        return self._waiting.size

    def measure(self, spans: SpanColumns | None, *, now_ms: int) -> GraphChange:
        """What the spans add, and what has waited too long by now; nothing is counted yet."""
        new, complete = (Waiting(), []) if spans is None else self._halves(spans, now_ms)
        began = new.size + sum(len(each.client) for each in complete)
        paired = pair(self._waiting, new, now_ms=now_ms, most=self.options.max_items)
        complete.append(_met(paired.clients, paired.servers))
        if self.options.peer_attributes:
            complete.append(_one_sided(paired.expired.clients, Connection.VIRTUAL_SERVER))
        requests = Requests(*(np.concatenate(column) for column in zip(*complete, strict=True)))
        series = self.series.numbers(len(requests.client), self._levels(requests))
        client, server = (
            histograms.cells(series, nano)
            for histograms, nano in zip(
                self.series.histograms, (requests.client_nano, requests.server_nano), strict=True
            )
        )
        edges = began - len(paired.clients) - paired.dropped
        return GraphChange(client, server, paired.waiting, paired.dropped, paired.expired.size, edges)

    def add(self, change: GraphChange, at_ms: int) -> None:
        self.series.histograms[_CLIENT].add(change.client, at_ms)
        self.series.histograms[_SERVER].add(change.server, at_ms)
        self._waiting = change.waiting
        self.dropped_spans += change.dropped
        self.expired_edges += change.expired
        self.total_edges += change.edges
        clients, servers = change.waiting
        self._parties.keep(lambda: np.concatenate([clients["party"], clients["peer"], servers["party"]]))

    def families(self) -> list[Family]:
        """What is written to the metric store."""
        labels, (client, server) = self.series.labels, self.series.histograms
        totals = client.counts.sum(axis=1, dtype=np.float64)
        failed = [place for place, pairs in enumerate(labels) if ("failed", "true") in pairs]
        return [
            self._requests.family(labels, totals),
            self._failed.family([labels[place] for place in failed], totals[failed]),
            self._durations[_CLIENT].family(labels, client),
            self._durations[_SERVER].family(labels, server),
        ]

    def keep(self, series: Places) -> None:
        """Forget all other series; the first of `series` is number 0 from now on."""
        self.series.keep(series)

    def _halves(self, spans: SpanColumns, now_ms: int) -> tuple[Waiting, list[Requests]]:
        """The halves that wait for another, and the requests that need none."""
        clients, servers, messaging = spans.clients, spans.servers, spans.messaging
        of = self._resources.numbers(spans)
        readings = Readings(spans, self._resources, of, resource_keys=(SERVICE,), dimensions=self.options.dimensions)
        self._parties.remember(readings.hashes, lambda row: self._party(readings.labels(row)))

        def halves(rows: Places, ids: Hashes) -> Halves:
            out = np.zeros(len(rows), HALF)
            out["key"] = edge_keys(spans.trace_hi[rows], spans.trace_lo[rows], ids[rows])
            out["party"], out["duration"] = readings.hashes[rows], spans.duration_nano[rows]
            out["failed"] = spans.status[rows] == StatusCode.ERROR
            out["messaging"] = messaging[rows]
            out["deadline"] = now_ms + self.options.ttl_ms
            return out

        calling, serving = halves(clients, spans.span_id), halves(servers, spans.parent_span_id)
        calling["peer"] = self._parties.named(_NOBODY)
        self._name(calling, spans, clients, self.options.peer_attributes)
        to_database = self._name(calling, spans, clients, self.options.database_attributes)
        first = spans.parent_span_id[servers] == 0
        complete = [_one_sided(calling[to_database], Connection.DATABASE)]
        if self.options.peer_attributes:
            complete.append(_one_sided(serving[first], Connection.VIRTUAL_CLIENT, self._parties.named(_USER)))
        return Waiting(calling[~to_database], serving[~first]), complete

    def _name(self, calling: Halves, spans: SpanColumns, clients: Places, keys: Sequence[str]) -> NDArray[np.bool_]:
        """Set the peers of the halves whose span has one of the attributes; which these are."""
        rows, texts = first_of(spans, keys, clients)
        places = np.searchsorted(clients, rows)
        names = name_keys(texts.hashes())
        self._parties.remember(names, lambda place: Party(texts[place]))
        calling["peer"][places] = names
        named = np.zeros(len(calling), np.bool_)
        named[places] = True
        return named

    def _party(self, values: Mapping[str, str]) -> Party:
        dimensions = {each.label: values[each.name] for each in self.options.dimensions if each.name in values}
        return Party(values[SERVICE], labels_of(dimensions))

    def _levels(self, requests: Requests) -> list[Level]:
        kinds = (requests.connection * 2 + requests.failed).astype(np.uint64)

        def labels(row: int) -> Labels:
            client, server = self._parties.get(int(requests.client[row])), self._parties.get(int(requests.server[row]))
            if client is None or server is None:
                return (OVERFLOW,)
            connection = int(requests.connection[row])
            pairs = {
                "client": client.name,
                "server": server.name,
                "connection_type": _CONNECTION_TEXTS[connection],
                "failed": "true" if requests.failed[row] else "false",
                "virtual_node": _VIRTUAL_TEXTS[connection] if self.options.virtual_node_label else "",
            }
            sides = (("client", client), ("server", server))
            return labels_of(pairs | {f"{side}_{key}": value for side, each in sides for key, value in each.dimensions})

        return [
            Level(lambda rows: combined(requests.client[rows], requests.server[rows], kinds[rows]), labels),
            Level(lambda rows: np.zeros(len(rows), np.uint64), lambda _: (OVERFLOW,)),
        ]


def _met(clients: Halves, servers: Halves) -> Requests:
    return Requests(
        clients["party"],
        servers["party"],
        np.where(clients["messaging"] | servers["messaging"], int(Connection.MESSAGING), int(Connection.DIRECT)),
        clients["failed"] | servers["failed"],
        clients["duration"],
        servers["duration"],
    )


def _one_sided(halves: Halves, connection: Connection, client: int | None = None) -> Requests:
    """
    Requests of which one side tells. As in the connector, to a database both sides take as long as the client's span,
    and a virtual node took no time.

    Args:
        client: Who calls, if the halves are servers'; else they are clients', and call their peers.
    """
    count = len(halves)
    nothing = np.zeros(count, np.int64)
    kinds = np.full(count, int(connection))
    if client is not None:
        callers = np.full(count, client, np.uint64)
        return Requests(callers, halves["party"], kinds, halves["failed"], nothing, halves["duration"])
    server_nano = halves["duration"] if connection is Connection.DATABASE else nothing
    return Requests(halves["party"], halves["peer"], kinds, halves["failed"], halves["duration"], server_nano)
