"""One order, one tree: gateway, checkout, payment, the queue, inventory."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from embedded_stack import Stack, eventually

pytestmark = pytest.mark.e2e


# Each process exports on its own, so a child may be there before its parent.
PARTS = {("gateway", "server"), ("checkout", "producer"), ("payment", "server"), ("inventory", "consumer")}


def place_order(stack: Stack, user: str) -> dict[str, Any]:
    product = stack.http.get(stack.url("gateway", "/catalog/products?limit=1")).raise_for_status().json()["products"][0]
    stack.http.put(
        stack.url("gateway", f"/cart/carts/{user}/items/{product['sku']}"), json={"quantity": 2}
    ).raise_for_status()
    answer = stack.http.post(
        stack.url("gateway", "/checkout/orders"), json={"user": user}, headers={"Idempotency-Key": f"order-of-{user}"}
    )
    placed: dict[str, Any] = answer.raise_for_status().json()
    return placed


def tag(span: dict[str, Any], key: str) -> Any:
    return next((tag["value"] for tag in span["tags"] if tag["key"] == key), None)


def service_of(trace: dict[str, Any], span: dict[str, Any]) -> str:
    name: str = trace["processes"][span["processID"]]["serviceName"]
    return name


def parents_of(trace: dict[str, Any]) -> dict[str, str | None]:
    """Of each span; None: a root."""
    return {
        span["spanID"]: next((ref["spanID"] for ref in span["references"] if ref["refType"] == "CHILD_OF"), None)
        for span in trace["spans"]
    }


def test_an_order_is_one_tree_from_the_gateway_to_inventory(stack: Stack) -> None:
    order = place_order(stack, f"user-{uuid.uuid4().hex[:8]}")

    def whole_trace() -> dict[str, Any] | None:
        found = stack.http.get(
            stack.url("jaeger", "/api/traces"),
            params={"service": "checkout", "tags": json.dumps({"order.id": order["id"]}), "lookback": "5m", "limit": 5},
        )
        traces = found.raise_for_status().json()["data"]
        if not traces:
            return None
        whole = stack.http.get(stack.url("jaeger", f"/api/traces/{traces[0]['traceID']}")).raise_for_status().json()
        trace: dict[str, Any] = whole["data"][0]
        parts = {(service_of(trace, span), tag(span, "span.kind")) for span in trace["spans"]}
        parents = parents_of(trace)
        complete = parts >= PARTS and {parent for parent in parents.values() if parent} <= parents.keys()
        return trace if complete else None

    trace = eventually(whole_trace, within_s=15, what="the trace holds every part, and no parent is missing")
    spans = {span["spanID"]: span for span in trace["spans"]}
    parents = parents_of(trace)
    roots = [spans[span] for span, parent in parents.items() if parent is None]
    assert len(roots) == 1, "one tree has one root"
    assert service_of(trace, roots[0]) == "gateway"

    walk: str | None = next(
        span["spanID"]
        for span in trace["spans"]
        if (service_of(trace, span), tag(span, "span.kind")) == ("inventory", "consumer")
    )
    lineage = []
    while walk is not None:
        lineage.append(service_of(trace, spans[walk]))
        walk = parents[walk]
    assert "checkout" in lineage
    assert lineage[-1] == "gateway"
