"""OTLP over gRPC. Requests stay bytes: they go straight into columns, so no message objects are made of them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable

import grpc
import grpc.aio

from collector.errors import BadRequestError, CollectorError, TemporaryError
from collector.receivers.otlp_ingest import Signal
from collector.receivers.otlp_sink import OtlpSink
from collector.receivers.otlp_status import failure_of, status_of

_log = logging.getLogger(__name__)
_TRANSPORT = "grpc"
_DETAILS = "grpc-status-details-bin"  # where gRPC's richer error model has google.rpc.Status
HANDSHAKE_TIMEOUT_S = 10.0  # from the connection to its first frames, as for the headers of HTTP
MESSAGE_TIMEOUT_S = 10.0  # from the call's headers to its message; an SDK's own timeout for the whole export
SERVICES = {
    Signal.TRACES: "opentelemetry.proto.collector.trace.v1.TraceService",
    Signal.LOGS: "opentelemetry.proto.collector.logs.v1.LogsService",
    Signal.METRICS: "opentelemetry.proto.collector.metrics.v1.MetricsService",
}
STOP_GRACE_S = 2.0  # a commit takes milliseconds; the whole collector is to stop within 5 s


def otlp_grpc_server(ingest: OtlpSink, *, host: str, port: int) -> tuple[grpc.aio.Server, int]:
    """
    A server that is bound and not yet started, and its port (of interest if `port` is 0).

    Raises:
        OSError: the port is taken.
    """
    server = grpc.aio.server(
        options=[
            # gRPC holds both the compressed and the inflated message to this, and stops inflating there.
            ("grpc.max_receive_message_length", ingest.admission.limits.max_body_bytes),
            ("grpc.server_handshake_timeout_ms", round(HANDSHAKE_TIMEOUT_S * 1000)),
            ("grpc.so_reuseport", 0),  # else a second collector would silently share the port
        ]
    )
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                service, {"Export": grpc.stream_unary_rpc_method_handler(_handler(ingest, signal))}
            )
            for signal, service in SERVICES.items()
        ]
    )
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"cannot serve OTLP gRPC on {host}:{port}") from error
    return server, bound


def _handler(
    ingest: OtlpSink, signal: Signal
) -> Callable[[AsyncIterator[bytes], grpc.aio.ServicerContext], Awaitable[bytes]]:
    async def export(requests: AsyncIterator[bytes], context: grpc.aio.ServicerContext) -> bytes:
        try:
            with ingest.admission.memory() as hold:
                with ingest.admission.arriving():
                    request = await _only(requests)
                hold.to(len(request))
                with ingest.admission.request():
                    response = await ingest.export(signal, request, transport=_TRANSPORT, hold=hold)
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            failure = failure_of(error)
            if not isinstance(error, CollectorError):
                _log.exception("export of %s over gRPC failed", signal.value, exc_info=error)
            ingest.counts.request(signal.value, _TRANSPORT, failure.grpc.name.lower())
            details = ((_DETAILS, status_of(failure).SerializeToString()),)
            try:
                await context.abort(failure.grpc, failure.message, details)
            except grpc.aio.InternalError:
                # The sender has gone, or the core has refused its message by itself: nobody hears of it any more, and
                # to grpc this is a call that was cancelled, not an error that a stranger may fill the log with.
                raise asyncio.CancelledError from None
            raise  # abort does not return
        ingest.counts.request(signal.value, _TRANSPORT, "ok")
        return bytes(response.SerializeToString())

    return export


async def _only(requests: AsyncIterator[bytes]) -> bytes:
    """
    The message of a call that has one.

    On the wire a call with one message and one with a stream of them are alike; served as a stream, its message is not
    taken from the connection before there is room for it, and a sender may be given up.

    Raises:
        BadRequestError: there is none.
        TemporaryError: it did not come in time.
    """
    try:
        async with asyncio.timeout(MESSAGE_TIMEOUT_S):
            return await anext(requests)
    except StopAsyncIteration:
        raise BadRequestError("the call has no message") from None
    except TimeoutError as error:
        raise TemporaryError(f"the message did not arrive within {MESSAGE_TIMEOUT_S} s") from error
