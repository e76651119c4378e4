"""Where an agent sends to: its URL, and what it needs there."""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import urlsplit

from collector.errors import ConfigError
from collector.forward.answer import Answer
from collector.receivers.otlp_ingest import Signal

_log = logging.getLogger(__name__)
Compression = Literal["gzip", "zstd", "none"]
_GRPC_PORT = 4317


class Destination(Protocol):
    async def send(self, signal: Signal, request: bytes) -> Answer:
        """Send one serialised request. Whatever goes wrong is in the answer."""
        ...

    async def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """
    `http://HOST:4318`, `https://HOST/otlp` (before `/v1/traces`), `grpc://HOST:4317`, or `grpcs://HOST:4317` with TLS.
    """

    scheme: Literal["http", "https", "grpc", "grpcs"]
    host: str
    port: int | None  # None: the scheme's
    path: str = ""  # without a slash at its end

    @classmethod
    def parse(cls, url: str) -> Endpoint:
        """
        Raises:
            ConfigError: it is none of these.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise ConfigError(f"--forward {url}: {error}") from error
        match parts.scheme:
            case "http" | "https" | "grpc" | "grpcs" as scheme if parts.hostname:
                pass
            case _:
                raise ConfigError(f"--forward {url}: not http://, https://, grpc:// or grpcs:// with a host")
        if parts.username or parts.password:
            raise ConfigError("--forward: a password in the URL shows in the process list; use --forward-token-file")
        path = parts.path.rstrip("/")
        if parts.query or parts.fragment or (path and scheme.startswith("grpc")):
            raise ConfigError(f"--forward {url}: nothing may stand behind the host{'' if path else ' and path'}")
        return cls(scheme=scheme, host=parts.hostname, port=port, path=path)

    @property
    def is_grpc(self) -> bool:
        return self.scheme.startswith("grpc")

    @property
    def is_secure(self) -> bool:
        return self.scheme in ("https", "grpcs")

    @property
    def is_local(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def url(self) -> str:
        """Of HTTP, without `/v1/traces`."""
        return f"{self.scheme}://{self._authority(self.port)}{self.path}"

    @property
    def target(self) -> str:
        """Of gRPC."""
        return self._authority(self.port or _GRPC_PORT)

    def _authority(self, port: int | None) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if port is None else f"{host}:{port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    token_file: Path | None = None  # read again whenever the destination says that the token is wrong
    ca_file: Path | None = None  # PEM; None: the system's
    compression: Compression = "gzip"  # what every OTLP receiver takes; zstd for HTTP only
    timeout_s: float = 10.0  # an SDK's own

    def token_again(self, before: str) -> str:
        """The token, which may have been changed; the one before, if there is none now."""
        try:
            return self.token()
        except ConfigError as error:
            _log.warning("%s", error)
            return before

    def token(self) -> str:
        """
        Raises:
            ConfigError: the file cannot be read, or is empty. Empty: none is wanted.
        """
        if self.token_file is None:
            return ""
        try:
            token = self.token_file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--forward-token-file {self.token_file}: {error}") from error
        if not token or not token.isprintable() or not token.isascii():
            raise ConfigError(f"--forward-token-file {self.token_file}: empty, or no token")
        return token

    def certificate_authority(self) -> bytes | None:
        """
        Raises:
            ConfigError: the file cannot be read.
        """
        if self.ca_file is None:
            return None
        try:
            return self.ca_file.read_bytes()
        except OSError as error:
            raise ConfigError(f"--forward-ca-file {self.ca_file}: {error}") from error
