"""The collector's process: opens the stores, wires the parts, serves the ports, stops cleanly."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.applications import Starlette

from collector.alerting import Alerting, recorded_by
from collector.api.archive import archive_router
from collector.api.federation import federation_router
from collector.api.jaeger import jaeger_app
from collector.api.jaeger_performance import Performance, SpanMetricsPerformance
from collector.api.logs import logs_router
from collector.api.process import process_app
from collector.api.prometheus import QUERY_THREADS, prometheus_router
from collector.api.prometheus_query import DEFAULT_TIMEOUT_MS
from collector.api.prometheus_targets import TargetSource
from collector.api.rule_files import rule_files_router
from collector.api.rules import rules_router
from collector.api.status import ProcessStatus, ReloadState, status_router
from collector.api.traces import traces_router
from collector.config import CollectorConfig, StorageConfig, load
from collector.model.duration import format_duration
from collector.model.telemetry import Batch
from collector.own_metrics import count_intake, count_metrics, count_remote_write
from collector.pipeline.admission import Admission
from collector.pipeline.commit import GroupCommit
from collector.pipeline.intake import Intake
from collector.pipeline.redaction import Redactor
from collector.pipeline.self_metrics import SelfMetrics
from collector.processing import SpanProcessing
from collector.query.promql.engine import Engine
from collector.receivers.otlp_grpc import STOP_GRACE_S, otlp_grpc_server
from collector.receivers.otlp_http import otlp_http_app
from collector.receivers.otlp_ingest import OtlpIngest
from collector.receivers.otlp_metrics import MetricsIngest
from collector.receivers.remote_write import RemoteWrite
from collector.receivers.scrape import ScrapeManager
from collector.reload import ConfigInForce, reload_on_hangup
from collector.rules.manager import RuleManager
from collector.rules.rule_files import RuleFiles
from collector.serving import STOP_WITHIN_S, Address, ended, keep_running, serve_until_stopped
from collector.storage.encryption import check_key
from collector.storage.logs import LogReader
from collector.storage.metrics.store import MetricStore
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.reader import TraceReader
from collector.upkeep import index, retain
from steersman.runtime.http import Listener
from steersman.runtime.tokens import ensure_token

_log = logging.getLogger(__name__)
METRICS, TELEMETRY = "metrics", "telemetry.duckdb"  # in the data folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    http: Address
    otlp_grpc: Address
    otlp_http: Address
    jaeger: Address
    alertmanager: Address


@dataclass(frozen=True, slots=True)
class Collector:
    """The wired parts. Made by `open_collector`."""

    ingest: OtlpIngest
    http_app: FastAPI
    otlp_app: Starlette
    jaeger_app: FastAPI
    alerting: Alerting
    in_force: ConfigInForce
    background: Sequence[tuple[str, Callable[[], Awaitable[None]]]]  # name and what runs until cancelled


@contextlib.asynccontextmanager
async def open_collector(
    config: CollectorConfig, data_dir: Path, *, external_url: str, token_file: Path | None = None
) -> AsyncIterator[Collector]:
    """
    Open the stores under `data_dir` and wire the parts; nothing listens yet. Leaving commits and closes.

    Args:
        token_file: whose token /-/reload asks for; made if it is not there. None: secrets/collector.token of `data_dir`

    Raises:
        CollectorError: a store cannot be opened.
    """
    encryption, directory = config.storage.encryption, config.path.parent if config.path else Path()
    key = None if encryption is None else encryption.key(directory)
    check_key(data_dir, key, stores=(METRICS, TELEMETRY))
    async with contextlib.AsyncExitStack() as stack:
        metric_store = MetricStore.open(data_dir / METRICS, key=key, **_store_options(config.storage))
        stack.callback(metric_store.close)
        database = TelemetryDatabase.open(data_dir / TELEMETRY, key=key)
        stack.callback(database.close)
        counts = SelfMetrics()
        processing = SpanProcessing(config.connectors, config.processors, database, metric_store, counts)
        stack.callback(processing.finish)
        commit = await stack.enter_async_context(GroupCommit(database.write, observe=counts.committed))
        alerting = Alerting.open(config, data_dir, external_url=external_url)
        stack.callback(alerting.close)
        token = ensure_token(token_file or data_dir / "secrets" / "collector.token")
        stores = (metric_store, database)
        yield _wired(config, data_dir, external_url, stores, processing, commit, counts, alerting, token)


def _wired(
    config: CollectorConfig,
    data_dir: Path,
    external_url: str,
    stores: tuple[MetricStore, TelemetryDatabase],
    processing: SpanProcessing,
    commit: GroupCommit[Batch],
    counts: SelfMetrics,
    alerting: Alerting,
    token: str,
) -> Collector:
    metric_store, database = stores
    rules_of_redaction = config.redaction.rules()
    redactor = Redactor(rules_of_redaction) if rules_of_redaction else None
    otlp_metrics = MetricsIngest(metric_store, metric_store, config=config.otlp, redactor=redactor)
    intake = Intake(config.limits.limits(), redactor)
    ingest = OtlpIngest(
        commit=commit,
        metrics=otlp_metrics,
        admission=Admission(config.limits.limits()),
        counts=counts,
        intake=intake,
    )
    count_intake(counts, intake, redactor, database)
    engine = Engine(metric_store, subquery_step_ms=round(config.global_.evaluation_interval * 1000))
    scrapes = ScrapeManager(config.scrape_configs, metric_store, metadata=metric_store.set_metadata)
    rules = RuleManager(
        files=config.rule_files,
        engine=engine,
        sink=metric_store,
        source=metric_store,
        notify=alerting.notify(metric_store, lambda: recorded_by(rules)),
        state_path=data_dir / "alerts.json",
        evaluation_interval_s=config.global_.evaluation_interval,
        external_url=external_url,
        external_labels=config.global_.external_labels,
        query_offset_s=config.global_.rule_query_offset,
        run=asyncio.to_thread,
    )
    in_force = ConfigInForce(
        config=config,
        scrapes=scrapes,
        engine=engine,
        rules=rules,
        otlp=otlp_metrics,
        follow_alerts=alerting.reconfigure,
        reloaded=ReloadState(time.time_ns() // 1_000_000),
    )
    background: list[tuple[str, Callable[[], Awaitable[None]]]] = [
        ("scrapes", scrapes.run),
        ("rules", rules.run),
        ("reload on SIGHUP", lambda: reload_on_hangup(in_force.reload)),
        ("attribute index", lambda: index(commit, database)),
        ("retention", lambda: retain(commit, database, counts, config.storage)),
    ]
    background += [*processing.background(commit), *alerting.background]
    count_metrics(counts, metric_store, scrapes)
    app = process_app("Steersman: collector", counts.registry)
    targets = TargetSource(
        active=scrapes.targets,
        dropped=scrapes.dropped_targets,
        pools=scrapes.scrape_pools,
        metadata=scrapes.targets_metadata,
        alertmanagers=lambda: alerting.pusher.urls if alerting.pusher else [],
    )
    app.include_router(prometheus_router(engine=engine, source=metric_store, targets=targets))
    app.include_router(rules_router(rules))
    app.include_router(rule_files_router(RuleFiles(rules, url=external_url), token=token))
    status = _status(in_force, engine, metric_store)
    app.include_router(status_router(status, token=token))
    app.include_router(
        federation_router(
            metric_store,
            lookback_ms=engine.lookback_ms,
            external_labels=lambda: in_force.config.global_.external_labels,
        )
    )
    remote_write = RemoteWrite(metric_store, metadata=metric_store.set_metadata, admission=ingest.admission)
    app.router.routes.append(remote_write.route())
    count_remote_write(counts, remote_write.stats)
    app.include_router(logs_router(LogReader(database)))
    app.include_router(traces_router(database))
    app.include_router(
        archive_router(
            database,
            lambda batch: commit.alone(lambda: database.restore(batch)),
            token=token,
            admission=ingest.admission,
            redactor=redactor,
        )
    )
    return Collector(
        ingest, app, otlp_http_app(ingest), _jaeger(config, database, engine), alerting, in_force, background
    )


def _jaeger(config: CollectorConfig, database: TelemetryDatabase, engine: Engine) -> FastAPI:
    """Performance is counted from the spans, unless not all of them are kept."""
    performance: Performance | None = None
    if config.processors.tail_sampling is not None:
        if config.connectors.spanmetrics is not None and not config.connectors.spanmetrics.exclude_dimensions:
            performance = SpanMetricsPerformance(engine, config.connectors.spanmetrics.options())
        else:
            _log.warning(
                "without connectors.spanmetrics, Jaeger's performance metrics know only the traces that are kept"
            )
    return jaeger_app(TraceReader(database), performance)


def _store_options(storage: StorageConfig) -> dict[str, Any]:
    """What the file says of the metric store; the rest is the store's own."""
    options: dict[str, Any] = {"retention_s": storage.metrics_retention}
    if storage.tsdb.retention.size:
        options["retention_bytes"] = storage.tsdb.retention.size
    if storage.tsdb.out_of_order_time_window is not None:
        options["out_of_order_s"] = storage.tsdb.out_of_order_time_window
    if storage.exemplars.max_exemplars is not None:
        options["exemplar_limit"] = max(0, storage.exemplars.max_exemplars)  # Prometheus: 0 and less keep none
    for limit in ("series_limit", "target_series_limit"):
        if (given := getattr(storage, limit)) is not None:
            options[limit] = given
    return options


def _status(in_force: ConfigInForce, engine: Engine, store: MetricStore) -> ProcessStatus:
    now_ms = time.time_ns() // 1_000_000
    retention = format_duration(round(in_force.config.storage.metrics_retention * 1000))
    flags = {
        "query.lookback-delta": format_duration(engine.lookback_ms),
        "query.max-concurrency": str(QUERY_THREADS),
        "query.max-samples": str(engine.max_samples),
        "query.timeout": format_duration(DEFAULT_TIMEOUT_MS),
        "storage.tsdb.retention.time": retention,
        "web.enable-lifecycle": "true",
        "web.enable-remote-write-receiver": "true",
    }
    return ProcessStatus(
        version=version("steersman"),
        started_ms=now_ms,
        flags=flags,
        config=lambda: in_force.config.text,
        retention=lambda: retention,
        corruptions=lambda: store.corrupt_chunks,
        cardinality=lambda top: store.cardinality(top=top),
        reload=in_force.reload,
        reloaded=in_force.reloaded,
    )


async def run(
    config: CollectorConfig,
    data_dir: Path,
    addresses: Addresses,
    *,
    external_url: str,
    token_file: Path | None = None,
    alertmanager_token_file: Path | None = None,
) -> None:
    """
    Serve until SIGTERM or SIGINT.

    Args:
        token_file: as of `open_collector`.
        alertmanager_token_file: whose token may silence and post alerts; made if it is not there. None: a file of that
            name among the collector's own secrets.

    Raises:
        OSError: a port is taken.
        CollectorError: a store cannot be opened.
    """
    async with open_collector(config, data_dir, external_url=external_url, token_file=token_file) as collector:
        grpc_server, _ = otlp_grpc_server(
            collector.ingest, host=addresses.otlp_grpc.host, port=addresses.otlp_grpc.port
        )
        await grpc_server.start()
        tasks = [asyncio.create_task(keep_running(name, run_), name=name) for name, run_ in collector.background]
        try:
            listeners = [
                Listener(collector.http_app, addresses.http.port, addresses.http.host),
                Listener(collector.otlp_app, addresses.otlp_http.port, addresses.otlp_http.host),
                Listener(collector.jaeger_app, addresses.jaeger.port, addresses.jaeger.host),
            ]
            token = ensure_token(alertmanager_token_file or data_dir / "secrets" / "alertmanager.token")
            if app := collector.alerting.app(token):
                listeners.append(Listener(app, addresses.alertmanager.port, addresses.alertmanager.host))
            await serve_until_stopped(listeners)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait_for(grpc_server.stop(STOP_GRACE_S), STOP_WITHIN_S)
            await asyncio.gather(*tasks, return_exceptions=True)


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="collector",
        description="OTLP and scrapes in; Prometheus and Jaeger out.",
        epilog="With --forward URL it is an agent instead, which sends OTLP on: collector --forward URL --help",
    )
    parser.add_argument("--config", type=Path, required=True, help="configuration file, with Prometheus's keys")
    parser.add_argument("--data-dir", type=Path, required=True, help="where everything is kept; one process at a time")
    for flag, default, what in (
        ("--http", "127.0.0.1:9090", "Prometheus API, rules, alerts, logs, /metrics"),
        ("--otlp-grpc", "127.0.0.1:4317", "OTLP over gRPC"),
        ("--otlp-http", "127.0.0.1:4318", "OTLP over HTTP"),
        ("--jaeger", "127.0.0.1:16686", "Jaeger query API"),
        ("--alertmanager", "127.0.0.1:9093", "Alertmanager API, if the configuration has an alertmanager"),
    ):
        parser.add_argument(flag, type=Address.parse, default=Address.parse(default), metavar="HOST:PORT", help=what)
    parser.add_argument(
        "--token-file",
        type=Path,
        help="whose token may reload the configuration; default DATA_DIR/secrets/collector.token, made if not there",
    )
    parser.add_argument(
        "--alertmanager-token-file",
        type=Path,
        help="whose token may silence and post alerts; default DATA_DIR/secrets/alertmanager.token, made if not there",
    )
    parser.add_argument("--external-url", help="under which users reach --http; default http://HOST:PORT")
    parser.add_argument("--log-level", default="info", choices=["debug", "info", "warning", "error"])
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the collector until it is told to stop. 0: stopped; 1: could not start; 2: wrong configuration."""
    arguments = _arguments().parse_args(argv)
    http: Address = arguments.http
    addresses = Addresses(
        http=http,
        otlp_grpc=arguments.otlp_grpc,
        otlp_http=arguments.otlp_http,
        jaeger=arguments.jaeger,
        alertmanager=arguments.alertmanager,
    )
    return ended(
        arguments.log_level,
        lambda: run(
            load(arguments.config),
            arguments.data_dir.resolve(),
            addresses,
            external_url=(arguments.external_url or f"http://{http.host}:{http.port}").rstrip("/"),
            token_file=arguments.token_file,
            alertmanager_token_file=arguments.alertmanager_token_file,
        ),
    )
