import httpx
import pytest

from dashboards.errors import PeerError
from dashboards.viewer.peers.trace_search import TraceSearch
from dashboards.viewer.traces.found import Found, of_summary, of_tree
from dashboards.viewer.traces.tree import build_tree

SUMMARY = {
    "trace_id": "ab" * 16,
    "root_service": "gateway",
    "root_name": "POST",
    "start_unix_nano": "1700000000123456789",
    "duration_nano": 2_500_000,
    "spans": 3,
    "errors": 1,
    "services": [{"name": "gateway", "spans": 1, "errors": 0}, {"name": "cart", "spans": 2, "errors": 1}],
}


def searching(status, body):
    asked = []

    def answer(request):
        asked.append(dict(request.url.params))
        return httpx.Response(status, json=body)

    return TraceSearch(httpx.AsyncClient(transport=httpx.MockTransport(answer)), "http://collector"), asked


async def test_a_filter_is_sent_with_its_range_and_brings_summaries():
    search, asked = searching(200, {"status": "success", "data": {"traces": [SUMMARY], "truncated": False}})
    assert await search.search("{ status = error }", start=10, end=20.5, limit=30) == [SUMMARY]
    assert asked == [{"filter": "{ status = error }", "start": "10.000", "end": "20.500", "limit": "30"}]


async def test_a_mistake_in_a_filter_is_told_with_its_place():
    search, _ = searching(400, {"status": "error", "error": "1:13: parse error: 'shop' is not a value"})
    with pytest.raises(PeerError, match="1:13: parse error"):
        await search.search("{ service = shop }", start=0, end=1, limit=1)


def test_summaries_and_trees_are_listed_alike():
    spans = [
        {
            "spanID": "a",
            "operationName": "POST",
            "startTime": 1_700_000_000_123_456,
            "duration": 2500,
            "processID": "p",
        },
        {
            "spanID": "b",
            "operationName": "GET /cart",
            "startTime": 1_700_000_000_123_500,
            "duration": 90,
            "processID": "q",
            "references": [{"refType": "CHILD_OF", "spanID": "a"}],
        },
    ]
    processes = {"p": {"serviceName": "gateway"}, "q": {"serviceName": "cart"}}
    tree = build_tree({"traceID": "ab" * 16, "spans": spans, "processes": processes})
    start = 1_700_000_000_123_456
    assert of_tree(tree, "cart") == Found(
        "ab" * 16, "gateway: POST", "cart: GET /cart", start, 2500, 2, 0, ("gateway", "cart")
    )
    assert of_tree(tree, "gateway").entry == ""
    assert of_summary(SUMMARY) == Found("ab" * 16, "gateway: POST", "", start, 2500, 3, 1, ("gateway", "cart"))
    assert of_summary(SUMMARY | {"root_service": None, "root_name": None}).root == "?: ?"
