"""OTLP over HTTP, as a client."""

from __future__ import annotations

import ssl
import zlib
from datetime import UTC, datetime

import cramjam
import httpx
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from collector.errors import ConfigError
from collector.forward.answer import Answer, Verdict, of_http
from collector.forward.destination import Access, Compression, Endpoint
from collector.forward.partial_success import delivered
from collector.receivers.otlp_ingest import Signal
from collector.receivers.otlp_status import PROTOBUF

_LEVEL = 1  # of gzip and zstd; the network is seldom so slow that more would pay
_MAX_ANSWER_BYTES = 64 << 10  # an answer is a few words; what is longer is not read


class HttpDestination:
    def __init__(self, endpoint: Endpoint, access: Access, *, connections: int) -> None:
        """
        Raises:
            ConfigError: the token or the certificates cannot be read.
        """
        self._url = endpoint.url
        self._access = access
        self._token = access.token()
        self._client = httpx.AsyncClient(
            timeout=access.timeout_s,
            limits=httpx.Limits(max_connections=connections, max_keepalive_connections=connections),
            verify=_context(access) if endpoint.is_secure else False,
            trust_env=False,  # a proxy of the environment is not meant for this
            follow_redirects=False,
        )

    async def send(self, signal: Signal, request: bytes) -> Answer:
        headers = {"content-type": PROTOBUF, "accept-encoding": "identity"}
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        body = _packed(request, self._access.compression)
        if self._access.compression != "none":
            headers["content-encoding"] = self._access.compression
        try:
            async with self._client.stream(
                "POST", f"{self._url}/v1/{signal.value}", content=body, headers=headers
            ) as response:
                content = await _bounded(response)
        except httpx.HTTPError as error:
            name = type(error).__name__
            return Answer(Verdict.LATER, f"{self._url}: {name}: {error}", name)
        if response.status_code in (401, 403):
            self._token = self._access.token_again(self._token)
        if not response.is_success:
            text = _message(content, response.headers.get("content-type", ""))
            return of_http(response.status_code, response.headers, text, now=datetime.now(UTC))
        return delivered(signal, content if _is_protobuf(response) else b"")

    async def close(self) -> None:
        await self._client.aclose()


def _context(access: Access) -> ssl.SSLContext:
    authority = access.certificate_authority()
    try:
        return ssl.create_default_context(cadata=None if authority is None else authority.decode("ascii"))
    except (ssl.SSLError, UnicodeDecodeError) as error:
        raise ConfigError(f"--forward-ca-file {access.ca_file}: not PEM: {error}") from error


def _packed(request: bytes, compression: Compression) -> bytes:
    match compression:
        case "gzip":
            packer = zlib.compressobj(_LEVEL, zlib.DEFLATED, 31)
            return packer.compress(request) + packer.flush()
        case "zstd":
            return bytes(cramjam.zstd.compress(request, _LEVEL))
        case "none":
            return request


async def _bounded(response: httpx.Response) -> bytes:
    content = bytearray()
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > _MAX_ANSWER_BYTES:
            break
    return bytes(content[:_MAX_ANSWER_BYTES])


def _is_protobuf(response: httpx.Response) -> bool:
    return str(response.headers.get("content-type", "")).startswith(PROTOBUF)


def _message(content: bytes, content_type: str) -> str:
    """What the body of an error says: google.rpc.Status in protobuf, or the text."""
    if content_type.startswith(PROTOBUF):
        try:
            return str(Status.FromString(content).message)
        except DecodeError:
            return ""
    return content.decode(errors="replace")
