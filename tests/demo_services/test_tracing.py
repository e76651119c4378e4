from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.trace import SpanKind

if TYPE_CHECKING:
    from conftest import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
GATEWAY_SPAN_ID = "b7ad6b7169203331"


async def test_one_tree_runs_from_the_gateway_through_the_queue_to_inventory(shop: Shop, spans, eventually) -> None:
    await shop.put("traced", SKU_0020=1, SKU_0021=1)
    spans.clear()
    answer = await shop.client.post(
        "/checkout/orders",
        json={"user": "traced"},
        headers={"Idempotency-Key": "traced", "traceparent": f"00-{TRACE_ID}-{GATEWAY_SPAN_ID}-01"},
    )
    assert answer.status_code == 201

    def finished() -> list:
        found = [span for span in spans.get_finished_spans() if f"{span.context.trace_id:032x}" == TRACE_ID]
        consumed = [span for span in found if span.name == "process order.placed"]
        return found if len(consumed) == 2 else []

    tree = await eventually(finished, "both consumers finished their spans")
    by_id = {span.context.span_id: span for span in tree}

    def path(span) -> list[str]:
        """Names from the span up to the root."""
        names = [span.name]
        while span.parent is not None and span.parent.span_id in by_id:
            span = by_id[span.parent.span_id]
            names.append(span.name)
        assert f"{span.parent.span_id:016x}" == GATEWAY_SPAN_ID  # all hang from the gateway's span
        return names

    paths = {tuple(path(span)) for span in tree}
    root = "POST /orders"
    assert ("process order.placed", "send order.placed", root) in paths
    assert ("worker_pool.wait", root) in paths
    assert ("worker_pool.wait", "POST /charges", "POST payment", root) in paths
    assert ("POST /reservations", "POST inventory", root) in paths
    assert ("GET /carts/{user}", "GET cart", root) in paths

    kinds = {span.name: span.kind for span in tree}
    assert kinds["send order.placed"] is SpanKind.PRODUCER
    assert kinds["process order.placed"] is SpanKind.CONSUMER
    assert kinds["POST payment"] is SpanKind.CLIENT
    groups = {span.attributes["messaging.consumer.group.name"] for span in tree if span.name == "process order.placed"}
    assert groups == {"inventory", "recommendation"}
    statements = [span for span in tree if span.kind is SpanKind.CLIENT and "db.query.text" in (span.attributes or {})]
    assert any("INSERT INTO charges" in span.attributes["db.query.text"] for span in statements)
    assert all(span.attributes["db.system.name"] == "sqlite" for span in statements)
    server = next(span for span in tree if span.name == root)
    assert server.attributes["http.route"] == "/orders"
    assert server.attributes["http.response.status_code"] == 201


async def test_operations_and_background_work_leave_no_spans(shop: Shop, spans) -> None:
    spans.clear()
    for path in ("/-/healthy", "/-/ready", "/metrics", "/admin/faults"):
        await shop.client.get(f"/checkout{path}")
    assert [span.name for span in spans.get_finished_spans()] == []


async def test_a_wait_for_a_worker_is_as_long_as_its_span(shop: Shop, spans) -> None:
    spans.clear()
    await shop.client.get("/catalog/products/SKU-0001")
    (wait,) = [span for span in spans.get_finished_spans() if span.name == "worker_pool.wait"]
    assert 0 <= wait.end_time - wait.start_time < 50_000_000
