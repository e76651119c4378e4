"""What metrics and labels cost: the content of Prometheus's /api/v1/status/tsdb."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sized
from dataclasses import dataclass
from typing import NamedTuple

from collector.model.labels import METRIC_NAME


class Cost(NamedTuple):
    name: str
    value: int


@dataclass(frozen=True, slots=True)
class Cardinality:
    """Each list has the largest first. All series in the store count, not only those of the last minutes."""

    series: int
    label_pairs: int
    chunks: int  # sealed ones in memory's index
    min_ms: int  # of what is not sealed yet; as Prometheus says of an empty head, the largest and smallest numbers
    max_ms: int
    series_by_metric: list[Cost]
    values_by_label: list[Cost]
    bytes_by_label: list[Cost]  # of the label's values, once for each series (as Prometheus counts)
    series_by_pair: list[Cost]  # "job=shop"


def costs_of(
    postings: Mapping[str, Mapping[str, Sized]], *, top: int
) -> tuple[int, list[Cost], list[Cost], list[Cost], list[Cost]]:
    """
    (label pairs, and the four lists) of an index: label name to value to series.

    Source: Prometheus tsdb/index/postings.go, Stats.
    """
    metrics = [Cost(name, len(ids)) for name, ids in postings.get(METRIC_NAME, {}).items()]
    values = [Cost(label, len(each)) for label, each in postings.items()]
    sizes = [
        Cost(label, sum(len(value.encode("utf-8", "surrogatepass")) * len(ids) for value, ids in each.items()))
        for label, each in postings.items()
    ]
    pairs = (Cost(f"{label}={value}", len(ids)) for label, each in postings.items() for value, ids in each.items())
    lists = (_largest(metrics, top), _largest(values, top), _largest(sizes, top))
    return sum(cost.value for cost in values), *lists, heapq.nsmallest(top, pairs, key=_rank)


def _largest(costs: list[Cost], top: int) -> list[Cost]:
    return heapq.nsmallest(top, costs, key=_rank)


def _rank(cost: Cost) -> tuple[int, str]:
    return -cost.value, cost.name
