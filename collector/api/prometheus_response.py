"""
How Prometheus's API answers over HTTP: envelope, errors, CORS, compression, and large answers in pieces.

Handlers run in threads, so that ingest keeps flowing in the event loop while they do; so does the writing of what they
answer. A piece is written when the client has taken the one before.

Source: prometheus/web/api/v1/api.go, respond and respondError; util/httputil/cors.go and compression.go.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, islice

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from collector.api.prometheus_encoding import PIECE_BYTES, enveloped
from collector.api.prometheus_parameters import Parameters, read_parameters
from collector.errors import BadRequestError, CollectorError, LimitExceededError, TemporaryError
from collector.query.errors import QueryCancelledError, QueryTimeoutError, TooManySamplesError
from steersman.runtime.http import error_response

# An answer that ends within as many pieces is sent as a whole, with its length.
WHOLE_PIECES = 4
# gzip's level: level 1 takes a third of the time of Go's default, 6, for a tenth more bytes of such text.
GZIP_LEVEL = 1
_GZIP, _DEFLATE = 31, 15  # zlib's window bits for either format
# util/httputil/cors.go. Reads are open to any page, as they are in Prometheus; what changes state asks for a token.
_CORS = {
    "Access-Control-Allow-Headers": "Accept, Authorization, Content-Type, Origin",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Expose-Headers": "Date",
    "Vary": "Origin",
    "Access-Control-Allow-Origin": "*",
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler answers. No data at all is answered 204."""

    data: Iterable[str | bytes] | Iterable[str] | Iterable[bytes] | None  # pieces of JSON
    warnings: tuple[str, ...] = ()
    infos: tuple[str, ...] = ()


Handler = Callable[[Parameters], Reply]


def endpoint(threads: ThreadPoolExecutor | None, handler: Handler) -> Callable[[Request], Awaitable[Response]]:
    """
    `handler` in one of `threads`, its reply in the envelope, and its errors too.

    Without threads the handler runs in the event loop; its answer is then short.
    """

    async def answer(request: Request) -> Response:
        if request.method == "OPTIONS":  # a browser asks before it asks a page's question
            return with_cors(request, Response(status_code=204))
        loop = asyncio.get_running_loop()
        arrived_s = time.monotonic()
        try:
            parameters = await read_parameters(request, arrived_s=arrived_s)
            encoding = compression(request.headers.get("accept-encoding", ""))
            if threads is None:
                begun = _begun(handler, parameters, encoding)
            else:
                running = loop.run_in_executor(threads, _begun, handler, parameters, encoding)
                begun = await _unless_gone(request, parameters, running)
        except CollectorError as error:
            return with_cors(request, refused(error))
        return with_cors(request, _response(threads, begun, encoding))

    return answer


async def _unless_gone(request: Request, parameters: Parameters, running: asyncio.Future[_Begun]) -> _Begun:
    """Tells the handler when the client does not wait any more."""
    watching = asyncio.create_task(_gone(request, parameters))
    try:
        return await running
    except asyncio.CancelledError:  # the server stops
        parameters.cancelled.set()
        raise
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _gone(request: Request, parameters: Parameters) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    parameters.cancelled.set()


@dataclass(frozen=True, slots=True)
class _Begun:
    first: list[bytes]
    rest: Iterator[bytes] | None  # None: `first` is all
    empty: bool = False


def _begun(handler: Handler, parameters: Parameters, encoding: str) -> _Begun:
    reply = handler(parameters)
    if reply.data is None:
        return _Begun([], None, empty=True)
    pieces = enveloped(reply.data, warnings=reply.warnings, infos=reply.infos)
    if encoding:
        pieces = compressed(pieces, encoding)
    pieces = _gathered(pieces)
    first = list(islice(pieces, WHOLE_PIECES))
    following = next(pieces, None) if len(first) == WHOLE_PIECES else None
    return _Begun(first, None if following is None else chain((following,), pieces))


def _response(threads: ThreadPoolExecutor | None, begun: _Begun, encoding: str) -> Response:
    if begun.empty:
        return Response(status_code=204)
    headers = {"Content-Encoding": encoding} if encoding else None
    if begun.rest is None:
        return Response(b"".join(begun.first), 200, headers, "application/json")
    pieces = _in_threads(threads, chain(begun.first, begun.rest))
    return StreamingResponse(pieces, 200, headers, "application/json")


async def _in_threads(threads: ThreadPoolExecutor | None, pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    loop = asyncio.get_running_loop()
    while (piece := await loop.run_in_executor(threads, next, pieces, None)) is not None:
        yield piece


def compression(accepted: str) -> str:
    """gzip or deflate, whichever the header names first; empty for neither (compression.go)."""
    for offer in accepted.split(","):
        name, _, weight = offer.strip().partition(";")
        if name in ("gzip", "deflate") and weight.replace(" ", "") not in ("q=0", "q=0.0"):
            return name
    return ""


def compressed(pieces: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    compressor = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, _GZIP if encoding == "gzip" else _DEFLATE)
    for piece in pieces:
        if written := compressor.compress(piece):
            yield written
    yield compressor.flush()


def _gathered(pieces: Iterable[bytes]) -> Iterator[bytes]:
    waiting: list[bytes] = []
    size = 0
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size >= PIECE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


def with_cors(request: Request, response: Response) -> Response:
    """Only a page of another origin sends `Origin`."""
    if request.headers.get("origin"):
        response.headers.update(_CORS)
    return response


def refused(error: CollectorError) -> Response:
    match error:
        case QueryTimeoutError():
            return error_response(503, str(error), error_type="timeout")
        case QueryCancelledError():
            return error_response(503, str(error), error_type="canceled")
        case TooManySamplesError():
            return error_response(422, str(error), error_type="execution")
        case BadRequestError():
            return error_response(400, str(error), error_type="bad_data")
        case TemporaryError():
            return error_response(503, str(error), error_type="unavailable")
        case LimitExceededError():
            return error_response(413, str(error), error_type="bad_data")
    return error_response(422, str(error), error_type="execution")
