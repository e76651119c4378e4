"""OTLP over gRPC, as a client."""

from __future__ import annotations

import grpc
import grpc.aio

from collector.forward.answer import Answer, of_grpc
from collector.forward.destination import Access, Endpoint
from collector.forward.partial_success import delivered
from collector.receivers.otlp_grpc import SERVICES
from collector.receivers.otlp_ingest import Signal

# How soon a connection is tried again; gRPC's own is up to two minutes, and the sender has a pace of its own.
_RECONNECT_MS = 2_000


class GrpcDestination:
    def __init__(self, endpoint: Endpoint, access: Access) -> None:
        """
        Raises:
            ConfigError: the token or the certificates cannot be read.
        """
        self._access = access
        self._token = access.token()
        options = [
            ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS),
            ("grpc.enable_http_proxy", 0),  # a proxy of the environment is not meant for this
        ]
        compression = grpc.Compression.NoCompression if access.compression == "none" else grpc.Compression.Gzip
        if endpoint.is_secure:
            credentials = grpc.ssl_channel_credentials(access.certificate_authority())
            self._channel = grpc.aio.secure_channel(endpoint.target, credentials, options, compression)
        else:
            self._channel = grpc.aio.insecure_channel(endpoint.target, options, compression)
        self._export = {signal: self._channel.unary_unary(f"/{service}/Export") for signal, service in SERVICES.items()}

    async def send(self, signal: Signal, request: bytes) -> Answer:
        metadata = [("authorization", f"Bearer {self._token}")] if self._token else None
        try:
            response = await self._export[signal](request, timeout=self._access.timeout_s, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED):
                self._token = self._access.token_again(self._token)
            return of_grpc(error.code(), error.details() or "", list(error.trailing_metadata() or ()))
        return delivered(signal, response)

    async def close(self) -> None:
        await self._channel.close()
