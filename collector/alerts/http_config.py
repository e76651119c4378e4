"""
How an HTTP receiver is reached: its `http_config`, and the client and headers made from it.

Source: prometheus/common config/http_config.go, HTTPClientConfig.
"""

from __future__ import annotations

import base64
import ssl
from functools import cache
from typing import Any, ClassVar, Literal

import httpx
from pydantic import SecretStr, model_validator

from collector.alerts.section import FilePath, HttpUrl, Section, at_most_one, read_secret
from collector.errors import TemporaryError

_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}


@cache
def _default_tls() -> ssl.SSLContext:
    """Reading the authorities' certificates takes 50 ms and a megabyte; all clients share one."""
    return httpx.create_ssl_context(trust_env=False)


class BasicAuth(Section):
    unbuilt: ClassVar[frozenset[str]] = frozenset({"username_ref", "password_ref"})

    username: str = ""
    username_file: FilePath | None = None
    password: SecretStr | None = None
    password_file: FilePath | None = None

    @model_validator(mode="after")
    def _one_of_each(self) -> BasicAuth:
        at_most_one(self, "username", "username_file")
        at_most_one(self, "password", "password_file")
        return self


class Authorization(Section):
    unbuilt: ClassVar[frozenset[str]] = frozenset({"credentials_ref"})

    type: str = "Bearer"
    credentials: SecretStr | None = None
    credentials_file: FilePath | None = None  # read for each request, so that a changed token is taken at once

    @model_validator(mode="after")
    def _is_no_basic_auth(self) -> Authorization:
        at_most_one(self, "credentials", "credentials_file")
        if self.type.strip().lower() == "basic":
            raise ValueError('authorization type cannot be set to "basic", use "basic_auth" instead')
        return self


class TlsConfig(Section):
    unbuilt: ClassVar[frozenset[str]] = frozenset({"key_ref"})

    ca: str = ""
    ca_file: FilePath | None = None
    cert: str = ""
    cert_file: FilePath | None = None
    key: SecretStr | None = None
    key_file: FilePath | None = None
    server_name: str = ""
    insecure_skip_verify: bool = False
    min_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] | None = None
    max_version: Literal["TLS10", "TLS11", "TLS12", "TLS13"] | None = None

    @model_validator(mode="after")
    def _cert_has_key(self) -> TlsConfig:
        for name in ("ca", "cert", "key"):
            at_most_one(self, name, f"{name}_file")
        if self.cert or self.key:
            raise ValueError("a client certificate is taken from cert_file and key_file only")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError(
                "exactly one of key or key_file must be configured when a client certificate is configured"
            )
        return self

    def context(self) -> ssl.SSLContext:
        """
        Raises:
            OSError: a file is missing or is no certificate.
        """
        context = ssl.create_default_context(cafile=self.ca_file, cadata=self.ca or None)
        if self.cert_file is not None:
            context.load_cert_chain(self.cert_file, self.key_file)
        if self.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        context.minimum_version = _VERSIONS[self.min_version or "TLS12"]  # Go's default
        if self.max_version is not None:
            context.maximum_version = _VERSIONS[self.max_version]
        return context


class HttpConfig(Section):
    unbuilt: ClassVar[frozenset[str]] = frozenset(
        {"oauth2", "no_proxy", "proxy_from_environment", "proxy_connect_header", "http_headers"}
    )

    basic_auth: BasicAuth | None = None
    authorization: Authorization | None = None
    bearer_token: SecretStr | None = None
    bearer_token_file: FilePath | None = None
    tls_config: TlsConfig | None = None
    proxy_url: HttpUrl | None = None
    follow_redirects: bool = True
    enable_http2: bool = True  # accepted; HTTP/1.1 is spoken

    @model_validator(mode="after")
    def _one_kind_of_login(self) -> HttpConfig:
        at_most_one(self, "bearer_token", "bearer_token_file")
        at_most_one(self, "basic_auth", "authorization", "bearer_token", "bearer_token_file")
        return self

    def client_key(self) -> str:
        """Equal for configurations that can share connections. Holds no secret."""
        shared = {"tls_config", "proxy_url", "follow_redirects"}
        return self.model_dump_json(include=shared)

    def client(self) -> httpx.AsyncClient:
        """
        Raises:
            OSError: a file of `tls_config` is missing or is no certificate.
        """
        verify = self.tls_config.context() if self.tls_config is not None else _default_tls()
        return httpx.AsyncClient(
            headers={"User-Agent": "steersman"},
            trust_env=False,
            verify=verify,
            proxy=self.proxy_url,
            follow_redirects=self.follow_redirects,
        )

    def extensions(self) -> dict[str, Any]:
        """What httpx needs beside the client: the name that the server's certificate must bear."""
        name = self.tls_config.server_name if self.tls_config is not None else ""
        return {"sni_hostname": name} if name else {}

    def headers(self) -> dict[str, str]:
        """
        The `Authorization` header, its files read anew, so that a changed secret is taken at once. May block.

        Raises:
            TemporaryError: a file cannot be read; the message names it and nothing of what is in it.
        """
        if self.basic_auth is not None:
            user = self.basic_auth.username or _of_file(self.basic_auth.username_file)
            login = f"{user}:{_secret(self.basic_auth.password, self.basic_auth.password_file)}"
            return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}
        if self.authorization is not None:
            one = self.authorization
            return {"Authorization": f"{one.type.strip()} {_secret(one.credentials, one.credentials_file)}".strip()}
        if self.bearer_token is not None or self.bearer_token_file is not None:
            return {"Authorization": f"Bearer {_secret(self.bearer_token, self.bearer_token_file)}"}
        return {}


def _secret(value: SecretStr | None, path: FilePath | None) -> str:
    return value.get_secret_value() if value is not None else _of_file(path)


def _of_file(path: FilePath | None) -> str:
    if path is None:
        return ""
    try:
        return read_secret(path)
    except OSError as error:
        raise TemporaryError(f"cannot read {path}: {error.strerror}") from None
    except ValueError as error:
        raise TemporaryError(f"cannot read {path}: {error}") from None
