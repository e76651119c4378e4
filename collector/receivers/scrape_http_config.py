"""
How a scrape or a discovery talks HTTP: credentials, TLS, redirects, headers.

Source: prometheus/common config/http_config.go, HTTPClientConfig.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator

# Valid in Prometheus and not built: refused by name when set, as ignoring them would ask the wrong server or fail.
UNBUILT = frozenset({"oauth2", "proxy_url", "proxy_connect_header", "proxy_from_environment"})
IGNORED = frozenset({"no_proxy", "enable_http2"})  # without a proxy there is nothing to exempt; HTTP/1.1 is spoken
# http_config.go, reservedHeaders: set by the scrape itself or by the keys made for them.
_RESERVED_HEADERS = frozenset({
    "accept", "accept-encoding", "authorization", "connection", "content-encoding", "content-length", "content-type",
    "host", "keep-alive", "proxy-authenticate", "proxy-authorization", "user-agent", "www-authenticate",
    "x-prometheus-scrape-timeout-seconds",
})  # fmt: skip


class Strict(BaseModel):
    """A part of the file: unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _at_most_one(what: str, *values: object) -> None:
    if sum(value is not None for value in values) > 1:
        raise ValueError(f"at most one of {what} must be configured")


class BasicAuth(Strict):
    username: str = ""
    username_file: Path | None = None
    password: SecretStr | None = None
    password_file: Path | None = None  # the files are read at each scrape, so what is rotated takes effect

    @model_validator(mode="after")
    def _one(self) -> Self:
        _at_most_one("basic_auth username & username_file", self.username or None, self.username_file)
        _at_most_one("basic_auth password & password_file", self.password, self.password_file)
        return self


class Authorization(Strict):
    type: str = "Bearer"
    credentials: SecretStr | None = None
    credentials_file: Path | None = None  # read at each scrape

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.credentials is None) == (self.credentials_file is None):
            raise ValueError("exactly one of credentials and credentials_file is needed")
        if self.type.strip().lower() == "basic":
            raise ValueError('authorization type cannot be set to "basic", use "basic_auth" instead')
        return self


class TlsVersion(Enum):
    TLS10, TLS11, TLS12, TLS13 = "TLS10", "TLS11", "TLS12", "TLS13"


class TlsConfig(Strict):
    ca: str | None = None  # PEM, as are cert and key
    ca_file: Path | None = None
    cert: str | None = None
    cert_file: Path | None = None
    key: SecretStr | None = None
    key_file: Path | None = None
    server_name: str = ""
    insecure_skip_verify: bool = False
    min_version: TlsVersion | None = None
    max_version: TlsVersion | None = None

    @model_validator(mode="after")
    def _pairs(self) -> Self:
        _at_most_one("ca and ca_file", self.ca, self.ca_file)
        _at_most_one("cert and cert_file", self.cert, self.cert_file)
        _at_most_one("key and key_file", self.key, self.key_file)
        if (self.cert is None and self.cert_file is None) != (self.key is None and self.key_file is None):
            raise ValueError("exactly one of cert and key is set; a client certificate needs both")
        return self


class HttpHeader(Strict):
    values: tuple[str, ...] = ()
    secrets: tuple[SecretStr, ...] = ()
    files: tuple[Path, ...] = ()


class HttpClientConfig(Strict):
    """The keys that scrapes and HTTP discovery share."""

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    tls_config: TlsConfig | None = None
    follow_redirects: bool = True
    http_headers: dict[str, HttpHeader] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _known(cls, raw: Any) -> Any:
        if not isinstance(raw, Mapping):
            return raw
        unbuilt = sorted(name for name in UNBUILT & raw.keys() if raw[name])
        if unbuilt:
            raise ValueError(f"not supported: {', '.join(unbuilt)}")
        raw = {name: value for name, value in raw.items() if name not in UNBUILT | IGNORED and value is not None}
        return _without_bearer_token(raw)

    @model_validator(mode="after")
    def _headers_are_free(self) -> Self:
        for name in self.http_headers:
            if name.lower() in _RESERVED_HEADERS:
                raise ValueError(f'setting header "{name}" in http_headers is not allowed')
        if self.basic_auth is not None and self.authorization is not None:
            raise ValueError("at most one of basic_auth, oauth2 & authorization must be configured")
        return self


def _without_bearer_token(raw: dict[str, Any]) -> dict[str, Any]:
    """The older way to write an authorization."""
    token = {"credentials": raw.pop("bearer_token", None), "credentials_file": raw.pop("bearer_token_file", None)}
    token = {name: value for name, value in token.items() if value}
    if not token:
        return raw
    if len(token) == 2:
        raise ValueError("at most one of bearer_token & bearer_token_file must be configured")
    if "authorization" in raw:
        raise ValueError("authorization is not compatible with bearer_token & bearer_token_file")
    return raw | {"authorization": token}


def resolved(config: BaseModel, base: Path) -> Any:
    """A copy in which the paths of credentials and certificates are relative to `base`."""
    changed: dict[str, Any] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, Path):
            changed[name] = base / value
        elif name == "files" and isinstance(config, HttpHeader):
            changed[name] = tuple(base / path for path in value)
        elif isinstance(value, BaseModel):
            changed[name] = resolved(value, base)
        elif name == "http_headers":
            changed[name] = {header: resolved(values, base) for header, values in value.items()}
    return config.model_copy(update=changed) if changed else config
