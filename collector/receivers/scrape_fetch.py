"""
HTTP requests of scrapes and discovery: what is asked for, how it is authorised, and answers that stay within bounds.

Source: Prometheus scrape/scrape.go (acceptHeader, targetScraper), prometheus/common config/http_config.go.
"""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import tempfile
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx
from pydantic import SecretStr

from collector.errors import CollectorError, ConfigError, LimitExceededError
from collector.model import metric_family
from collector.receivers.scrape_config import ScrapeConfig, ScrapeProtocol
from collector.receivers.scrape_http_config import HttpClientConfig, TlsConfig, TlsVersion
from collector.redaction import without_password

_MEDIA_TYPES = {
    ScrapeProtocol.PROTOBUF: f"{metric_family.CONTENT_TYPE};proto={metric_family.PROTO};encoding=delimited",
    ScrapeProtocol.OPENMETRICS_1: "application/openmetrics-text;version=1.0.0",
    ScrapeProtocol.OPENMETRICS_0: "application/openmetrics-text;version=0.0.1",
    ScrapeProtocol.TEXT_1: "text/plain;version=1.0.0",
    ScrapeProtocol.TEXT_0: "text/plain;version=0.0.4",
}
_VERSIONS = {
    TlsVersion.TLS10: ssl.TLSVersion.TLSv1,
    TlsVersion.TLS11: ssl.TLSVersion.TLSv1_1,
    TlsVersion.TLS12: ssl.TLSVersion.TLSv1_2,
    TlsVersion.TLS13: ssl.TLSVersion.TLSv1_3,
}
_NO_FALLBACK = "and no fallback_scrape_protocol specified for target"
REDIRECTS = 10  # Go's limit


class ScrapeError(CollectorError):
    """The target answered nothing usable. The text becomes its lastError."""


@dataclass(frozen=True, slots=True)
class Answer:
    body: bytes
    content_type: str


def accept_header(config: ScrapeConfig) -> str:
    """The protocols in the order of the configuration, each of less weight than the one before."""
    weight = len(ScrapeProtocol) + 1
    offers = []
    for protocol in config.protocols:
        named = protocol in (ScrapeProtocol.OPENMETRICS_1, ScrapeProtocol.TEXT_1)
        escaping = f";escaping={config.escaping}" if named else ""
        offers.append(f"{_MEDIA_TYPES[protocol]}{escaping};q=0.{weight}")
        weight -= 1
    return ",".join([*offers, f"*/*;q=0.{weight}"])


def format_of(content_type: str, fallback: ScrapeProtocol | None) -> ScrapeProtocol:
    """
    One protocol of the format that an answer has; of which version does not matter to who parses it.

    Raises:
        ScrapeError: it has none that is known, and the job has no fallback_scrape_protocol.
    """
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    if kind == "application/openmetrics-text":
        return ScrapeProtocol.OPENMETRICS_1
    if kind == "text/plain":
        return ScrapeProtocol.TEXT_0
    if kind == metric_family.CONTENT_TYPE and {"encoding=delimited", f"proto={metric_family.PROTO.lower()}"} <= {
        part.replace(" ", "") for part in parameters
    }:
        return ScrapeProtocol.PROTOBUF
    if fallback is not None:
        return fallback
    if not kind:
        raise ScrapeError(f"non-compliant scrape target sending blank Content-Type {_NO_FALLBACK}")
    raise ScrapeError(f"received unsupported Content-Type {content_type[:80]!r} {_NO_FALLBACK}")


class Clients:
    """One HTTP client for each way to verify a server; connections are kept between scrapes."""

    def __init__(self) -> None:
        self._clients: dict[str, tuple[tuple[int, ...], httpx.AsyncClient]] = {}

    async def close(self) -> None:
        for _, client in self._clients.values():
            await client.aclose()
        self._clients.clear()

    async def get(
        self, url: str, config: HttpClientConfig, *, headers: dict[str, str], timeout_s: float, limit: int
    ) -> Answer:
        """
        Raises:
            ScrapeError: no answer in time, not 200, credentials or certificates that cannot be read.
            LimitExceededError: the unpacked body is over `limit` bytes.
        """
        try:
            client = await self._client(config.tls_config)
            sent = {"User-Agent": "Steersman", **_own_headers(config), **headers}
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            raise ScrapeError(f"{without_password(url)}: {_without_secrets(error)}") from error
        server_name = config.tls_config.server_name if config.tls_config else ""
        try:
            async with asyncio.timeout(timeout_s):
                async with client.stream(
                    "GET",
                    url,
                    headers=sent,
                    follow_redirects=config.follow_redirects,
                    extensions={"sni_hostname": server_name} if server_name else {},
                ) as response:
                    if response.status_code != 200:
                        raise ScrapeError(f"server returned HTTP status {_status(response.status_code)}")
                    return Answer(await _body(response, limit), response.headers.get("content-type", ""))
        except TimeoutError as error:
            raise ScrapeError(f"no complete answer within {timeout_s:g} s") from error
        except (httpx.HTTPError, httpx.InvalidURL, ssl.SSLError, zlib.error) as error:
            raise ScrapeError(f"{without_password(url)}: {error or type(error).__name__}") from error

    async def _client(self, tls: TlsConfig | None) -> httpx.AsyncClient:
        """A client whose certificates have changed on disk is replaced."""
        key = "" if tls is None else tls.model_dump_json()
        signature = _signature(tls)
        found = self._clients.get(key)
        if found is not None and found[0] == signature:
            return found[1]
        verify: ssl.SSLContext | bool = True if tls is None else _context(tls)
        # Limits are the event loop's: a slow target must not keep others waiting for a connection. No timeout of the
        # client's own: each request has one as a whole.
        client = httpx.AsyncClient(
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            trust_env=False,
            timeout=None,  # noqa: S113
            max_redirects=REDIRECTS,
            verify=verify,
        )
        self._clients[key] = (signature, client)
        if found is not None:
            await found[1].aclose()
        return client


def check_certificates(configs: Iterable[ScrapeConfig]) -> None:
    """
    Raises:
        ConfigError: names the job whose certificates or key cannot be loaded.
    """
    for config in configs:
        for each in (config, *config.http_sd_configs):
            try:
                if each.tls_config is not None:
                    _context(each.tls_config)
            except (OSError, ValueError) as error:
                raise ConfigError(f"scrape_configs, job {config.job_name}: tls_config: {error}") from error


def _signature(tls: TlsConfig | None) -> tuple[int, ...]:
    if tls is None:
        return ()
    files = (tls.ca_file, tls.cert_file, tls.key_file)
    return tuple(path.stat().st_mtime_ns for path in files if path is not None)


def _context(tls: TlsConfig) -> ssl.SSLContext:
    cafile = str(tls.ca_file) if tls.ca_file else None
    context = ssl.create_default_context(cafile=cafile, cadata=tls.ca)
    if tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.min_version:
        context.minimum_version = _VERSIONS[tls.min_version]
    if tls.max_version:
        context.maximum_version = _VERSIONS[tls.max_version]
    if tls.cert is not None or tls.cert_file is not None:
        _load_client_certificate(context, tls)
    return context


def _load_client_certificate(context: ssl.SSLContext, tls: TlsConfig) -> None:
    """OpenSSL reads files only; what stands in the configuration itself passes through files that nobody else reads."""
    with tempfile.TemporaryDirectory() as folder:

        def path(name: str, file: Path | None, text: str | None) -> Path:
            if file is not None:
                return file
            written = Path(folder) / name
            descriptor = os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as out:
                out.write(text or "")
            return written

        key = tls.key.get_secret_value() if tls.key else None
        context.load_cert_chain(path("cert.pem", tls.cert_file, tls.cert), path("key.pem", tls.key_file, key))


def _own_headers(config: HttpClientConfig) -> dict[str, str]:
    """What the configuration adds; files are read anew, so what is rotated takes effect."""
    headers = {}
    for name, header in config.http_headers.items():
        secrets = [*(each.get_secret_value() for each in header.secrets), *map(_text, header.files)]
        headers[name] = ", ".join([*header.values, *secrets])
    if config.basic_auth is not None:
        auth = config.basic_auth
        user = _secret(None, auth.username_file) if auth.username_file else auth.username
        pair = f"{user}:{_secret(auth.password, auth.password_file)}"
        headers["Authorization"] = f"Basic {base64.b64encode(pair.encode()).decode()}"
    elif config.authorization is not None:
        authorization = config.authorization
        secret = _secret(authorization.credentials, authorization.credentials_file)
        headers["Authorization"] = f"{authorization.type.strip()} {secret}"
    return headers


def _secret(value: SecretStr | None, file: Path | None) -> str:
    return _text(file) if file is not None else value.get_secret_value() if value else ""


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip()


def _without_secrets(error: Exception) -> str:
    """Errors of files name the path; those of text would show it."""
    return "a credentials file is not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


async def _body(response: httpx.Response, limit: int) -> bytes:
    """Unpacked piece by piece, so that a small body that unpacks to a large one never is in memory."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("gzip", "x-gzip", "identity", ""):
        raise ScrapeError(f"received unsupported Content-Encoding {encoding[:80]!r}")
    unpacker = zlib.decompressobj(wbits=31) if "gzip" in encoding else None
    body = bytearray()
    complete = True
    async for part in response.aiter_raw():
        while part:
            if unpacker is None:
                body += part
                part = b""
            else:
                body += unpacker.decompress(part, limit + 1 - len(body))
                part, complete = unpacker.unconsumed_tail, unpacker.eof
                if unpacker.eof:  # gzip files one after another are one (RFC 1952, section 2.2)
                    part, unpacker = unpacker.unused_data, zlib.decompressobj(wbits=31)
            if len(body) > limit:
                raise LimitExceededError(f"the body is over the body_size_limit of {limit} bytes")
    if not complete:
        raise ScrapeError("the gzip body is cut off")
    return bytes(body)


def _status(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)
