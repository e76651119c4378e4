"""The agent as a whole, in this process: over gRPC and TLS, with its files, its limits and what it says of itself."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from trace_campaign import RECORDS, trace_request

from collector import agent as agent_module
from collector.agent import Agent, open_agent
from collector.command import main
from collector.errors import CollectorError, ConfigError, LimitExceededError, TemporaryError, UnsupportedError
from collector.forward.config import AgentConfig, load_agent_config
from collector.forward.destination import Access, Endpoint
from collector.receivers.otlp_ingest import Signal
from collector.storage.encryption import EncryptionError

NOWHERE = Endpoint.parse("http://127.0.0.1:9")
PATIENCE_S = 20.0


@asynccontextmanager
async def running(directory: Path, endpoint: Endpoint = NOWHERE, access: Access | None = None, **config):
    """An agent that sends, and receives through `export`."""
    options = AgentConfig.model_validate(config)
    async with open_agent(options, directory, endpoint, access or Access(), config_dir=directory) as agent:
        tasks = [asyncio.create_task(run()) for _, run in agent.background]
        try:
            yield agent
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def export(agent: Agent, number: int, signal: Signal = Signal.TRACES):
    with agent.ingest.admission.memory() as hold:
        return await agent.ingest.export(signal, trace_request(number), transport="http", hold=hold)


async def delivered(agent: Agent) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while any(lane.sender.queue.requests for lane in agent.ingest.lanes.values()):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def fill(agent: Agent) -> None:
    for number in range(1000):
        await export(agent, number)


class Secure:
    """A destination with a certificate of its own making, which wants a token."""

    def __init__(self, directory: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "destination")])
        now = datetime.datetime.now(datetime.UTC)
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        builder = x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(hours=1))
        builder = builder.add_extension(alternative, critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        self.certificate = builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        self.key = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        self.ca_file = directory / "ca.pem"
        self.ca_file.write_bytes(self.certificate)
        self.received: list[ExportTraceServiceRequest] = []
        self.port = 0

    async def export(self, request: bytes, context: grpc.aio.ServicerContext) -> bytes:
        if ("authorization", "Bearer of-the-agent") not in context.invocation_metadata():
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no token")
        self.received.append(ExportTraceServiceRequest.FromString(request))
        return ExportTraceServiceResponse().SerializeToString()


@pytest.fixture
async def secure(tmp_path: Path) -> AsyncIterator[Secure]:
    destination = Secure(tmp_path)
    server = grpc.aio.server()
    service = "opentelemetry.proto.collector.trace.v1.TraceService"
    methods = {"Export": grpc.unary_unary_rpc_method_handler(destination.export)}
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, methods)])
    credentials = grpc.ssl_server_credentials([(destination.key, destination.certificate)])
    destination.port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    yield destination
    await server.stop(None)


async def test_over_grpc_with_tls_and_a_token(tmp_path, secure):
    token = tmp_path / "token"
    token.write_text("of-the-agent\n")
    access = Access(token_file=token, ca_file=secure.ca_file)
    endpoint = Endpoint.parse(f"grpcs://127.0.0.1:{secure.port}")
    async with running(tmp_path / "data", endpoint, access) as agent:
        await export(agent, 1)
        await delivered(agent)
    (request,) = secure.received
    assert request == ExportTraceServiceRequest.FromString(trace_request(1))


async def test_a_destination_that_nobody_vouches_for_gets_nothing(tmp_path, secure):
    endpoint = Endpoint.parse(f"grpcs://127.0.0.1:{secure.port}")
    async with running(tmp_path / "data", endpoint) as agent:
        await export(agent, 1)
        async with asyncio.timeout(PATIENCE_S):
            while not agent.ingest.lanes[Signal.TRACES].sender.failing:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert agent.ingest.lanes[Signal.TRACES].sender.queue.requests == 1
    assert not secure.received


async def test_a_full_queue_is_told_to_the_sender_as_something_that_passes(tmp_path):
    async with running(tmp_path, forward={"queue_size": 65536}) as agent:
        with pytest.raises(TemporaryError, match="the queue of traces holds"):
            await fill(agent)
        assert agent.ingest.enqueue_failed[Signal.TRACES] == RECORDS
        stored = agent.ingest.lanes[Signal.TRACES].sender.queue.requests
    assert stored > 10
    async with running(tmp_path) as again:  # with more room
        assert again.ingest.lanes[Signal.TRACES].sender.queue.requests == stored
        await export(again, 5000)


async def test_a_signal_that_is_not_forwarded_and_a_request_over_the_limit_are_refused(tmp_path):
    async with running(tmp_path, forward={"signals": ["logs"]}, limits={"max_request_bytes": 100}) as agent:
        with pytest.raises(UnsupportedError, match="traces are not forwarded"):
            await export(agent, 1)
        with pytest.raises(LimitExceededError, match="exceeds 100"):
            await export(agent, 1, Signal.LOGS)


async def test_a_second_agent_on_one_folder_is_refused(tmp_path):
    async with running(tmp_path):
        with pytest.raises(CollectorError, match="is in use by another agent"):
            async with running(tmp_path):
                pass


async def test_an_encrypted_folder_is_opened_with_its_key_only(tmp_path, monkeypatch):
    monkeypatch.setenv("AGENT_KEY", "11" * 32)
    storage = {"encryption": {"key_variable": "AGENT_KEY"}}
    async with running(tmp_path, storage=storage) as agent:
        await export(agent, 1)
    with pytest.raises(EncryptionError, match="is encrypted"):
        async with running(tmp_path):
            pass
    async with running(tmp_path, storage=storage) as agent:
        assert agent.ingest.lanes[Signal.TRACES].sender.queue.requests == 1


async def test_it_says_of_itself_what_the_collectors_exporters_say(tmp_path):
    async with running(tmp_path) as agent:
        await export(agent, 1)
        await export(agent, 1)
        transport = httpx.ASGITransport(app=agent.http_app)
        async with httpx.AsyncClient(transport=transport, base_url="http://agent") as client:
            text = (await client.get("/metrics")).text
            assert (await client.get("/-/healthy")).text == "OK\n"
    traces = '{data_type="traces",exporter="otlphttp"}'
    assert f"otelcol_exporter_queue_capacity{traces} 1.073741824e+09" in text
    assert f"steersman_forward_queue_requests{traces} 1.0" in text
    assert f"steersman_forward_queue_items{traces} {RECORDS}.0" in text
    assert 'otelcol_exporter_sent_spans_total{exporter="otlphttp"} 0.0' in text
    assert 'steersman_forward_repeated_traces_requests_total{exporter="otlphttp"} 1.0' in text
    assert 'otelcol_receiver_accepted_spans_total{receiver="otlp",transport="http"} 80.0' in text


@pytest.mark.parametrize(
    ("url", "is_grpc", "address"),
    [
        ("http://host:4318", False, "http://host:4318"),
        ("https://host/otlp/", False, "https://host/otlp"),
        ("http://[::1]:4318", False, "http://[::1]:4318"),
        ("grpc://host", True, "host:4317"),
        ("grpcs://[::1]:5000", True, "[::1]:5000"),
    ],
)
def test_a_destination_is_a_url(url, is_grpc, address):
    endpoint = Endpoint.parse(url)
    assert endpoint.is_grpc == is_grpc
    assert (endpoint.target if is_grpc else endpoint.url) == address


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("host:4318", "with a host"),
        ("ftp://host", "with a host"),
        ("http://", "with a host"),
        ("http://host:99999", "out of range"),
        ("http://user:word@host", "use --forward-token-file"),
        ("http://host/?a=b", "nothing may stand behind"),
        ("grpc://host/path", "nothing may stand behind"),
    ],
)
def test_a_url_that_is_none_is_refused_and_shows_no_password(url, words):
    with pytest.raises(ConfigError, match=words) as caught:
        Endpoint.parse(url)
    assert "word@" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scrape_configs: []", "scrape_configs: unknown key"),
        ("forward: {queue_size: 1KiB}", "forward.queue_size"),
        ("forward: {signals: [profiles]}", "forward.signals"),
        ("forward: {compression: lzma}", "forward.compression"),
        ("forward: [", "not YAML"),
    ],
)
def test_a_wrong_configuration_is_named_with_its_key(tmp_path, text, words):
    file = tmp_path / "agent.yml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=words):
        load_agent_config(file)


def test_a_configuration_is_read_with_its_units(tmp_path):
    file = tmp_path / "agent.yml"
    file.write_text("forward: {queue_size: 2GiB, timeout: 1m, compression: zstd, signals: [traces]}")
    forward = load_agent_config(file).forward
    assert (forward.queue_size, forward.timeout, forward.compression) == (2 << 30, 60.0, "zstd")
    assert forward.signals == [Signal.TRACES]


@pytest.mark.parametrize(
    ("flags", "code", "words"),
    [
        (["--forward", "nothing"], 2, "--forward nothing: not http://"),
        (["--forward", "http://localhost:4318"], 2, "is this agent itself"),
        (["--forward", "http://h", "--forward-token-file", "/nonexistent/token"], 2, "/nonexistent/token"),
        (["--forward", "https://h", "--forward-ca-file", "/nonexistent/ca"], 2, "/nonexistent/ca"),
        (["--forward=http://h", "--config", "/nonexistent.yml"], 2, "/nonexistent.yml"),
    ],
)
def test_a_wrong_command_line_ends_with_a_reason(tmp_path, capsys, flags, code, words):
    assert main([*flags, "--data-dir", str(tmp_path)]) == code
    assert words in capsys.readouterr().err


def test_zstd_over_grpc_is_refused(tmp_path):
    config = AgentConfig.model_validate({"forward": {"compression": "zstd"}})
    with pytest.raises(ConfigError, match="zstd is for HTTP only"):
        agent_module._destination(Endpoint.parse("grpc://h"), Access(compression="zstd"), config)


def test_the_agent_loads_no_database_and_no_receivers_of_alerts():
    script = "import sys, collector.agent; print({'duckdb', 'apprise', 'lark', 'collector.app'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert out.stdout == "set()\n"
