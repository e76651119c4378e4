import httpx

from dashboards.viewer.peers.jaeger import Jaeger
from dashboards.viewer.traces.data import FRESH_S, GROWING_FRESH_S, GROWING_S, Traces

TRACE = "ab" * 16


class Growing:
    """A Jaeger whose trace has one span more at each request, and two clocks that stand still until they are moved."""

    def __init__(self):
        self.asked = 0
        self.now = 1000.0

    def traces(self):
        client = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        return Traces(Jaeger(client, "http://jaeger"), clock=lambda: self.now, wall_clock=lambda: self.now)

    def _answer(self, request):
        self.asked += 1
        spans = [
            {"spanID": f"{number:x}", "operationName": "call", "startTime": 1_000_000_000, "duration": 1000}
            for number in range(1, self.asked + 1)
        ]
        return httpx.Response(200, json={"data": [{"traceID": TRACE, "spans": spans, "processes": {}}]})


async def test_a_trace_whose_spans_may_still_come_in_is_soon_asked_for_again():
    jaeger = Growing()
    traces = jaeger.traces()
    assert len((await traces.tree(TRACE)).nodes) == 1
    assert len((await traces.tree(TRACE)).nodes) == 1
    jaeger.now += GROWING_FRESH_S
    grown = await traces.tree(TRACE)
    assert len(grown.nodes) == 2
    assert traces.may_grow(grown)


async def test_a_trace_that_grows_no_more_is_kept_for_longer():
    jaeger = Growing()
    jaeger.now += GROWING_S + 1
    traces = jaeger.traces()
    tree = await traces.tree(TRACE)
    assert not traces.may_grow(tree)
    jaeger.now += FRESH_S - 1
    assert (await traces.tree(TRACE)) is tree
    jaeger.now += 1
    assert (await traces.tree(TRACE)) is not tree
