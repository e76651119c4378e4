"""Requests to real servers on free ports: authorisation, TLS, bodies that are not what they seem."""

from __future__ import annotations

import base64
import contextlib
import gzip
import os
import shutil
import ssl
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from collector.errors import CollectorError, ConfigError, LimitExceededError
from collector.receivers.scrape_config import ScrapeConfig, ScrapeProtocol, parse_scrape_configs
from collector.receivers.scrape_fetch import (
    Answer,
    Clients,
    ScrapeError,
    accept_header,
    check_certificates,
    format_of,
)

LIMIT = 1 << 20


class Server:
    """Answers every request with `body` and `headers`; remembers what it was asked."""

    def __init__(self, context: ssl.SSLContext | None = None) -> None:
        self.body, self.headers, self.status = b"m 1\n", {"Content-Type": "text/plain"}, 200
        self.asked: list[dict[str, str]] = []
        held = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                held.asked.append({name.lower(): value for name, value in self.headers.items()} | {"path": self.path})
                with contextlib.suppress(OSError):
                    self.send_response(held.status)
                    for name, value in held.headers.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(held.body)

            def log_message(self, *_: object) -> None:
                pass

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *_: object) -> None:
                """A client that trusts nobody hangs up."""

        self._server = Quiet(("127.0.0.1", 0), Handler)
        if context is not None:
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.stop()


@pytest.fixture
async def clients() -> AsyncIterator[Clients]:
    made = Clients()
    yield made
    await made.close()


def config(base: Path = Path("/"), **keys: object) -> ScrapeConfig:
    (made,) = parse_scrape_configs([{"job_name": "j", **keys}], base=base)
    return made


async def get(clients: Clients, url: str, settings: ScrapeConfig, *, limit: int = LIMIT) -> Answer:
    return await clients.get(url, settings, headers={}, timeout_s=5, limit=limit)


async def test_credentials_go_where_they_belong_and_files_are_read_each_time(server, clients, tmp_path):
    (tmp_path / "password").write_text("first\n")
    (tmp_path / "user").write_text("bob\n")
    settings = config(tmp_path, basic_auth={"username_file": "user", "password_file": "password"})
    for word in ("first", "second"):
        (tmp_path / "password").write_text(f"{word}\n")
        await get(clients, f"http://127.0.0.1:{server.port}/", settings)
        assert server.asked[-1]["authorization"] == f"Basic {base64.b64encode(f'bob:{word}'.encode()).decode()}"
    for keys in ({"bearer_token": "t"}, {"authorization": {"credentials": "t"}}):
        await get(clients, f"http://127.0.0.1:{server.port}/", config(**keys))
        assert server.asked[-1]["authorization"] == "Bearer t"
    headers = {"X-Scope": {"values": ["a", "b"], "secrets": ["c"], "files": ["user"]}}
    await get(clients, f"http://127.0.0.1:{server.port}/", config(tmp_path, http_headers=headers))
    assert server.asked[-1]["x-scope"] == "a, b, c, bob"


async def test_credentials_that_cannot_be_read_are_an_error_that_names_the_file(server, clients, tmp_path):
    settings = config(tmp_path, authorization={"credentials_file": "absent"})
    with pytest.raises(ScrapeError, match="absent"):
        await get(clients, f"http://127.0.0.1:{server.port}/", settings)
    assert server.asked == []


async def test_credentials_are_not_sent_on_to_another_server(server, clients):
    other = Server()
    try:
        server.status, server.headers = 302, {"Location": f"http://127.0.0.1:{other.port}/moved"}
        settings = config(authorization={"credentials": "t"})
        answer = await get(clients, f"http://127.0.0.1:{server.port}/", settings)
        assert (answer.body, other.asked[0]["path"]) == (b"m 1\n", "/moved")
        assert "authorization" not in other.asked[0]
        with pytest.raises(ScrapeError, match="302 Found"):
            await get(clients, f"http://127.0.0.1:{server.port}/", config(follow_redirects=False))
    finally:
        other.stop()


async def test_a_server_that_sends_back_and_forth_is_left_after_ten_redirects(server, clients):
    server.status, server.headers = 302, {"Location": "/again"}
    with pytest.raises(ScrapeError, match="redirects"):
        await get(clients, f"http://127.0.0.1:{server.port}/", config())
    assert len(server.asked) == 11


@pytest.mark.parametrize("parts", [1, 3])
async def test_a_gzip_body_is_unpacked(server, clients, parts):
    server.headers = {"Content-Encoding": "gzip"}
    server.body = b"".join(gzip.compress(b"m %d\n" % n, mtime=0) for n in range(parts))
    answer = await get(clients, f"http://127.0.0.1:{server.port}/", config())
    assert answer.body == b"".join(b"m %d\n" % n for n in range(parts))


async def test_a_gzip_bomb_is_never_unpacked_beyond_the_limit(server, clients):
    server.headers, server.body = {"Content-Encoding": "gzip"}, gzip.compress(bytes(16 << 20))
    assert len(server.body) < 20_000
    with pytest.raises(LimitExceededError, match="body_size_limit of 1048576 bytes"):
        await get(clients, f"http://127.0.0.1:{server.port}/", config())


@pytest.mark.parametrize(
    ("encoding", "body", "message"),
    [
        ("gzip", gzip.compress(b"m 1\n" * 1000, mtime=0)[:-20], "cut off"),
        ("gzip", b"not gzip", "incorrect header"),
        ("gzip", gzip.compress(b"m 1\n", mtime=0) + b"garbage", "incorrect header"),
        ("br", b"m 1\n", "unsupported Content-Encoding 'br'"),
    ],
)
async def test_a_body_that_cannot_be_unpacked_is_an_error(server, clients, encoding, body, message):
    server.headers, server.body = {"Content-Encoding": encoding}, body
    with pytest.raises(ScrapeError, match=message):
        await get(clients, f"http://127.0.0.1:{server.port}/", config())


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ca.pem and, signed by it, metrics.test and a client."""
    if shutil.which("openssl") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have openssl on PATH")
        pytest.skip("openssl is not on PATH")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, timeout=20)

    fresh = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2")
    openssl("req", "-x509", *fresh, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=test ca")
    for name in ("metrics.test", "client"):
        extension = ("-addext", f"subjectAltName=DNS:{name}")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key")
        openssl(
            "req",
            "-x509",
            *fresh,
            *signed,
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.pem",
            "-subj",
            f"/CN={name}",
            *extension,
        )
    return folder


@pytest.fixture
def tls_server(certificates: Path) -> Iterator[Server]:
    """Wants a client certificate of the same authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "metrics.test.pem", certificates / "metrics.test.key")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    running = Server(context)
    yield running
    running.stop()


async def test_a_tls_server_is_verified_and_given_the_clients_certificate(tls_server, clients, certificates):
    url = f"https://127.0.0.1:{tls_server.port}/"
    files = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key", "server_name": "metrics.test"}
    assert (await get(clients, url, config(certificates, tls_config=files))).body == b"m 1\n"
    inline = {
        "ca": (certificates / "ca.pem").read_text(),
        "cert": (certificates / "client.pem").read_text(),
        "key": (certificates / "client.key").read_text(),
        "server_name": "metrics.test",
        "min_version": "TLS12",
    }
    assert (await get(clients, url, config(tls_config=inline))).body == b"m 1\n"
    careless = files | {"server_name": "elsewhere.test", "insecure_skip_verify": True}
    assert (await get(clients, url, config(certificates, tls_config=careless))).body == b"m 1\n"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"server_name": "elsewhere.test"}, "Hostname mismatch|not valid for 'elsewhere.test'"),
        ({"server_name": ""}, "mismatch|not valid"),
        ({"ca_file": "client.pem"}, "certificate verify failed|self-signed|unable to get local issuer"),
        ({"cert_file": None, "key_file": None}, "https://127"),
    ],
)
async def test_a_tls_server_that_is_not_who_it_should_be_is_an_error(
    tls_server, clients, certificates, change, message
):
    files = {"ca_file": "ca.pem", "cert_file": "client.pem", "key_file": "client.key", "server_name": "metrics.test"}
    settings = config(certificates, tls_config=files | change)
    with pytest.raises(ScrapeError, match=message):
        await get(clients, f"https://127.0.0.1:{tls_server.port}/", settings)
    assert tls_server.asked == []


def test_certificates_that_cannot_be_loaded_are_a_wrong_configuration(tmp_path):
    (tmp_path / "ca.pem").write_text("no certificate")
    for name in ("absent.pem", "ca.pem"):
        with pytest.raises(ConfigError, match="job j: tls_config"):
            check_certificates([config(tmp_path, tls_config={"ca_file": name})])


def test_what_is_asked_for_is_prometheuss_header():
    # Prometheus 3.4, scrape/scrape.go, acceptHeader with the default protocols.
    assert accept_header(config()) == (
        "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
        "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
        "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
    )
    legacy = config(scrape_protocols=["PrometheusText1.0.0", "PrometheusProto"], metric_name_validation_scheme="legacy")
    protobuf = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    assert accept_header(legacy) == f"text/plain;version=1.0.0;escaping=underscores;q=0.6,{protobuf};q=0.5,*/*;q=0.4"
    native = accept_header(config(scrape_native_histograms=True))
    assert native.startswith(f"{protobuf};q=0.6,application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,")


def test_a_content_type_that_is_none_that_is_known_needs_a_fallback():
    assert format_of("application/openmetrics-text; version=1.0.0", None).openmetrics
    assert format_of("Text/Plain; charset=utf-8", None) is ScrapeProtocol.TEXT_0
    kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited"
    assert format_of(kind, None) is ScrapeProtocol.PROTOBUF
    text = config(fallback_scrape_protocol="PrometheusText0.0.4").fallback_scrape_protocol
    assert format_of("application/json", text) is ScrapeProtocol.TEXT_0
    for kind, message in (
        ("", "blank Content-Type"),
        ("text/html", "unsupported Content-Type 'text/html'"),
        ("application/vnd.google.protobuf; encoding=text", "unsupported Content-Type"),
    ):
        with pytest.raises(CollectorError, match=message):
            format_of(kind, None)
