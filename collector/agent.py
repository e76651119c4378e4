"""The agent's process: OTLP in, a queue on disk, OTLP out; no stores. Wired, served, stopped cleanly."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette

from collector.api.process import process_app
from collector.errors import CollectorError, ConfigError
from collector.forward.config import AgentConfig, load_agent_config
from collector.forward.destination import Access, Destination, Endpoint
from collector.forward.ingest import ForwardIngest, Lane
from collector.forward.metrics import ForwardMetrics
from collector.forward.queue import DiskQueue
from collector.forward.refused import RefusedRequests
from collector.forward.sender import Sender
from collector.pipeline.admission import Admission
from collector.pipeline.commit import GroupCommit
from collector.pipeline.redaction import Redactor
from collector.pipeline.self_metrics import SelfMetrics
from collector.receivers.otlp_grpc import STOP_GRACE_S, otlp_grpc_server
from collector.receivers.otlp_http import otlp_http_app
from collector.receivers.otlp_ingest import Signal
from collector.serving import STOP_WITHIN_S, Address, ended, keep_running, serve_until_stopped
from collector.storage.encryption import check_key
from collector.storage.seal import AesSeal, Seal, Unsealed
from steersman.runtime.http import Listener

_log = logging.getLogger(__name__)
_DIRECTORY = "forward"  # in the data folder
_PURPOSE = "forward"  # of the key


@dataclass(frozen=True, slots=True)
class Agent:
    """The wired parts. Made by `open_agent`."""

    ingest: ForwardIngest
    http_app: FastAPI
    otlp_app: Starlette
    background: Sequence[tuple[str, Callable[[], Awaitable[None]]]]  # name and what runs until cancelled


@contextlib.asynccontextmanager
async def open_agent(
    config: AgentConfig, data_dir: Path, endpoint: Endpoint, access: Access, *, config_dir: Path = Path()
) -> AsyncIterator[Agent]:
    """
    Open the queues under `data_dir`; nothing listens yet. Leaving makes durable what is pending.

    Args:
        config_dir: that a path in the configuration is relative to.

    Raises:
        ConfigError: a token, certificate or key cannot be read.
        CollectorError: a queue cannot be opened, or another agent has it open.
    """
    seal = _seal(config, data_dir, config_dir)
    forward, directory = config.forward, data_dir / _DIRECTORY
    redactor = Redactor(rules) if (rules := config.redaction.rules()) else None
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(_alone(directory))
        destination = _destination(endpoint, access, config)
        stack.push_async_callback(destination.close)
        refused = RefusedRequests(directory / "refused", seal=seal)
        lanes: dict[Signal, Lane] = {}
        for signal in forward.signals:
            queue = DiskQueue.open(signal.value, directory / signal.value, max_bytes=forward.queue_size, seal=seal)
            stack.callback(queue.close)
            commit = await stack.enter_async_context(GroupCommit(queue.append, interval_s=0.0))
            # The order of samples matters to those who receive them; that of spans and log records does not.
            in_flight = 1 if signal is Signal.METRICS else forward.requests_in_flight
            lanes[signal] = Lane(
                commit,
                Sender(signal, queue, destination, refused, in_flight=in_flight, bytes_per_s=forward.bytes_per_second),
            )
        counts = SelfMetrics()
        ingest = ForwardIngest(
            lanes=lanes, admission=Admission(config.limits.limits()), counts=counts, redactor=redactor
        )
        counts.registry.register(ForwardMetrics(ingest, refused, exporter="otlp" if endpoint.is_grpc else "otlphttp"))
        counts.counter("steersman_collector_redacted_values", "Masked.", lambda: redactor.redacted if redactor else 0)
        yield Agent(
            ingest,
            process_app("Steersman: agent", counts.registry),
            otlp_http_app(ingest),
            [(f"sending {signal.value}", lane.sender.run) for signal, lane in lanes.items()],
        )


def _seal(config: AgentConfig, data_dir: Path, config_dir: Path) -> Seal:
    encryption = config.storage.encryption
    key = None if encryption is None else encryption.key(config_dir)
    data_dir.mkdir(parents=True, exist_ok=True)
    check_key(data_dir, key, stores=(_DIRECTORY,))
    return Unsealed() if key is None else AesSeal(key, _PURPOSE)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    directory.mkdir(parents=True, exist_ok=True)
    fd = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise CollectorError(f"{directory} is in use by another agent") from error
        yield
    finally:
        os.close(fd)


def _destination(endpoint: Endpoint, access: Access, config: AgentConfig) -> Destination:
    if access.token_file is not None and not endpoint.is_secure and not endpoint.is_local:
        _log.warning("the token goes to %s in the clear: use https:// or grpcs://", endpoint.host)
    if endpoint.is_grpc:
        if access.compression == "zstd":
            raise ConfigError("forward.compression: zstd is for HTTP only; over gRPC gzip or none")
        from collector.forward.destination_grpc import GrpcDestination

        return GrpcDestination(endpoint, access)
    from collector.forward.destination_http import HttpDestination

    connections = len(Signal) * config.forward.requests_in_flight
    return HttpDestination(endpoint, access, connections=connections)


async def run(
    config: AgentConfig,
    data_dir: Path,
    endpoint: Endpoint,
    access: Access,
    *,
    http: Address,
    otlp_grpc: Address,
    otlp_http: Address,
    config_dir: Path = Path(),
) -> None:
    """
    Serve until SIGTERM or SIGINT. What is queued then is sent after the next start.

    Raises:
        OSError: a port is taken.
        CollectorError: as of `open_agent`.
    """
    async with open_agent(config, data_dir, endpoint, access, config_dir=config_dir) as agent:
        grpc_server, _ = otlp_grpc_server(agent.ingest, host=otlp_grpc.host, port=otlp_grpc.port)
        await grpc_server.start()
        tasks = [asyncio.create_task(keep_running(name, run_), name=name) for name, run_ in agent.background]
        try:
            await serve_until_stopped(
                [
                    Listener(agent.http_app, http.port, http.host),
                    Listener(agent.otlp_app, otlp_http.port, otlp_http.host),
                ]
            )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait_for(grpc_server.stop(STOP_GRACE_S), STOP_WITHIN_S)
            await asyncio.gather(*tasks, return_exceptions=True)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="collector --forward", description="OTLP in, through a queue on disk, OTLP out; nothing is stored."
    )
    parser.add_argument(
        "--forward",
        required=True,
        metavar="URL",
        help="the destination: http://HOST:4318, https://HOST/PATH, grpc://HOST:4317 or grpcs://HOST:4317",
    )
    parser.add_argument("--forward-token-file", type=Path, help="whose token is sent to the destination")
    parser.add_argument(
        "--forward-ca-file", type=Path, help="PEM: who may vouch for the destination; default the system's"
    )
    parser.add_argument("--config", type=Path, help="the agent's file: sections forward, limits, redaction, storage")
    parser.add_argument("--data-dir", type=Path, required=True, help="where the queue is kept; one process at a time")
    for flag, default, what in (
        ("--http", "127.0.0.1:8888", "/metrics and /-/healthy"),
        ("--otlp-grpc", "127.0.0.1:4317", "OTLP over gRPC"),
        ("--otlp-http", "127.0.0.1:4318", "OTLP over HTTP"),
    ):
        parser.add_argument(flag, type=Address.parse, default=Address.parse(default), metavar="HOST:PORT", help=what)
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the agent until it is told to stop. 0: stopped; 1: could not start; 2: wrong configuration."""
    arguments = _arguments().parse_args(argv)

    def start() -> Coroutine[Any, Any, None]:
        config = load_agent_config(arguments.config)
        access = Access(
            token_file=arguments.forward_token_file,
            ca_file=arguments.forward_ca_file,
            compression=config.forward.compression,
            timeout_s=config.forward.timeout,
        )
        endpoint = Endpoint.parse(arguments.forward)
        if endpoint.is_local and endpoint.port in (arguments.otlp_grpc.port, arguments.otlp_http.port):
            raise ConfigError(f"--forward {arguments.forward} is this agent itself: other ports, or another URL")
        return run(
            config,
            arguments.data_dir.resolve(),
            endpoint,
            access,
            http=arguments.http,
            otlp_grpc=arguments.otlp_grpc,
            otlp_http=arguments.otlp_http,
            config_dir=arguments.config.resolve().parent if arguments.config else Path(),
        )

    return ended(arguments.log_level, start)
