"""OTLP over gRPC. Requests stay bytes: they go straight into columns, so no message objects are made of them."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import grpc
import grpc.aio

from collector.errors import CollectorError
from collector.receivers.otlp_ingest import OtlpIngest, Signal
from collector.receivers.otlp_status import failure_of

_log = logging.getLogger(__name__)
_TRANSPORT = "grpc"
_SERVICES = {
    Signal.TRACES: "opentelemetry.proto.collector.trace.v1.TraceService",
    Signal.LOGS: "opentelemetry.proto.collector.logs.v1.LogsService",
    Signal.METRICS: "opentelemetry.proto.collector.metrics.v1.MetricsService",
}
STOP_GRACE_S = 2.0  # a commit takes milliseconds; the whole collector is to stop within 5 s


def otlp_grpc_server(ingest: OtlpIngest, *, host: str, port: int) -> tuple[grpc.aio.Server, int]:
    """
    A server that is bound and not yet started, and its port (of interest if `port` is 0).

    Raises:
        OSError: the port is taken.
    """
    server = grpc.aio.server(
        options=[
            # gRPC holds both the compressed and the inflated message to this, and stops inflating there.
            ("grpc.max_receive_message_length", ingest.admission.limits.max_request_bytes),
            ("grpc.so_reuseport", 0),  # else a second collector would silently share the port
        ]
    )
    server.add_generic_rpc_handlers(
        [
            grpc.method_handlers_generic_handler(
                service, {"Export": grpc.unary_unary_rpc_method_handler(_handler(ingest, signal))}
            )
            for signal, service in _SERVICES.items()
        ]
    )
    try:
        bound = server.add_insecure_port(f"{host}:{port}")
    except RuntimeError as error:
        raise OSError(f"cannot serve OTLP gRPC on {host}:{port}") from error
    return server, bound


def _handler(ingest: OtlpIngest, signal: Signal) -> Callable[[bytes, grpc.aio.ServicerContext], Awaitable[bytes]]:
    async def export(request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        try:
            with ingest.admission.request():
                response = await ingest.export(signal, request, transport=_TRANSPORT)
        except Exception as error:
            failure = failure_of(error)
            if not isinstance(error, CollectorError):
                _log.exception("export of %s over gRPC failed", signal.value, exc_info=error)
            ingest.counts.request(signal.value, _TRANSPORT, failure.grpc.name.lower())
            await context.abort(failure.grpc, failure.message)
            raise  # abort does not return
        ingest.counts.request(signal.value, _TRANSPORT, "ok")
        return bytes(response.SerializeToString())

    return export
