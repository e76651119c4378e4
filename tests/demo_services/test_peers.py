from __future__ import annotations

import asyncio
import socket
import time

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from demo_services.errors import PeerError, PeerUnavailableError
from demo_services.peers import ATTEMPTS, FAILURES_TO_OPEN, Peers


@pytest.fixture
async def peer(served):
    """A service `payment` that gives the statuses that it is told to give, one by one, then 200."""
    statuses: list[int] = []
    calls: list[float] = []

    async def answer(_request):
        calls.append(time.monotonic())
        status = statuses.pop(0) if statuses else 200
        if status == 0:
            await asyncio.sleep(30)
        return JSONResponse({"status": status}, status_code=status)

    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    app = Starlette(routes=[Route("/payment/charges", answer, methods=["GET", "POST"])])
    async with served(app, listener):
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", statuses, calls


async def no_delay(_service: str) -> None:
    return None


async def test_curable_failures_are_tried_again_a_bounded_number_of_times(peer) -> None:
    url, statuses, calls = peer
    peers = Peers(url, before_call=no_delay)
    statuses[:] = [502, 503, 504]
    assert (await peers.call("payment", "POST", "/charges")).status_code == 200
    assert len(calls) == 4
    statuses[:] = [503] * 20
    with pytest.raises(PeerUnavailableError, match="answered 503"):
        await peers.call("payment", "POST", "/charges")
    assert len(calls) == 4 + ATTEMPTS
    await peers.close()


@pytest.mark.parametrize("status", [402, 404, 409, 422])
async def test_refusals_are_answers_and_not_tried_again(peer, status: int) -> None:
    url, statuses, calls = peer
    peers = Peers(url, before_call=no_delay)
    statuses[:] = [status]
    assert (await peers.call("payment", "POST", "/charges")).status_code == status
    assert len(calls) == 1
    await peers.close()


async def test_an_error_of_the_peer_itself_is_not_tried_again(peer) -> None:
    url, statuses, calls = peer
    peers = Peers(url, before_call=no_delay)
    statuses[:] = [500]
    with pytest.raises(PeerError, match="payment answered POST /charges with 500"):
        await peers.call("payment", "POST", "/charges")
    assert len(calls) == 1
    await peers.close()


async def test_a_peer_that_does_not_answer_is_given_up_at_the_deadline(peer) -> None:
    url, statuses, _calls = peer
    peers = Peers(url, before_call=no_delay, deadline_s=0.3)
    statuses[:] = [0] * 10
    started = time.monotonic()
    with pytest.raises(PeerUnavailableError):
        await peers.call("payment", "POST", "/charges")
    assert time.monotonic() - started < 1
    await peers.close()


async def test_an_open_circuit_fails_at_once_and_closes_again(peer) -> None:
    url, statuses, calls = peer
    peers = Peers(url, before_call=no_delay, open_s=0.2)
    statuses[:] = [500] * FAILURES_TO_OPEN
    for _ in range(FAILURES_TO_OPEN):
        with pytest.raises(PeerError):
            await peers.call("payment", "GET", "/charges")
    before = len(calls)
    with pytest.raises(PeerUnavailableError, match="left alone"):
        await peers.call("payment", "GET", "/charges")
    assert len(calls) == before
    deadline = time.monotonic() + 2
    while time.monotonic() < deadline:
        try:
            assert (await peers.call("payment", "GET", "/charges")).status_code == 200
            break
        except PeerUnavailableError:
            await asyncio.sleep(0.02)
    else:
        pytest.fail("the circuit did not close")
    await peers.close()


async def test_a_delay_that_a_fault_puts_in_the_way_shows_in_the_span_of_the_call(peer, spans) -> None:
    url, _statuses, _calls = peer

    async def delay(service: str) -> None:
        await asyncio.sleep(0.2 if service == "payment" else 0)

    peers = Peers(url, before_call=delay)
    await peers.call("payment", "GET", "/charges")
    await peers.close()
    (span,) = spans.get_finished_spans()
    assert (span.name, span.attributes["peer.service"]) == ("GET payment", "payment")
    assert (span.end_time - span.start_time) / 1e9 >= 0.2


async def test_a_mesh_that_is_away_is_a_clear_error(free_port) -> None:
    peers = Peers(f"http://127.0.0.1:{free_port()}", before_call=no_delay)
    with pytest.raises(PeerUnavailableError, match="payment is not available") as caught:
        await peers.call("payment", "GET", "/charges")
    assert isinstance(caught.value.__cause__, httpx.ConnectError)
    await peers.close()
