"""The configuration files of NATS, Traefik and the collector, generated anew at each start."""

from __future__ import annotations

import json
from typing import Any

import yaml

from steersman.orchestrator.files import replace_file
from steersman.runtime.paths import shipped
from steersman.runtime.tokens import ensure_token
from steersman.stack.settings import EMBEDDED, HOST, PROMETHEUS, TOKENS, Settings

# Traefik gathers changes of its file for this long; its default of 2 s would delay every new replica by as much.
ROUTES_THROTTLE = "100ms"
# Below the 5 s after which uvicorn closes an idle connection, so that Traefik never sends on one that is just closing.
IDLE_CONNECTION = "3s"
DIAL_TIMEOUT = "1s"  # on the loopback a live server accepts in microseconds
STREAM_FILE_LIMIT = 2 * 1024**3  # all streams of the shop; a day of heavy load is tens of megabytes
STREAM_MEMORY_LIMIT = 64 * 1024**2
INFRASTRUCTURE_SCRAPE = "5s"  # nobody scales on these, so they need not cost what the shop's second does
INFRASTRUCTURE_TIMEOUT = "3s"  # a worker in a storm of alerts is slow to answer, and not down
# Measured in drills at loads of 5 to 14 on two cores: 400 series are answered within 16 to 53 ms on average, 240 ms at
# most; 2,070 within 66 to 87 and 262 ms. Rates over 10 s want two samples; span metrics come every 5 s.
RULES_FEDERATED, REST_FEDERATED = "2s", INFRASTRUCTURE_SCRAPE
# What rules/*.yml, the policies and the drills read of what comes by OTLP; a test holds it to them.
RULES_BY_OTLP = "http_server_request_duration_seconds_(bucket|count|sum)"
# Seconds; the shop answers within 5 ms when idle and is saturated long before 10 s.
GATEWAY_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0]


def write_configuration(settings: Settings) -> None:
    """Make the folders, the tokens and the files that the parts read at their start."""
    settings.data_dir.create()
    settings.targets.mkdir(exist_ok=True)
    for old in settings.targets.glob("*.json"):
        old.unlink()
    for audience in TOKENS:
        ensure_token(settings.data_dir.token_file(audience))
    replace_file(settings.nats_file, nats(settings), mode=0o600)  # it holds a token
    replace_file(settings.traefik_file, yaml.safe_dump(traefik(settings), sort_keys=False))
    replace_file(settings.collector_file, yaml.safe_dump(collector(settings), sort_keys=False))
    if settings.backend == PROMETHEUS:
        replace_file(settings.prometheus_file, yaml.safe_dump(prometheus(settings), sort_keys=False))
        replace_file(settings.alertmanager_file, yaml.safe_dump(alertmanager(settings), sort_keys=False))


def nats(settings: Settings) -> str:
    """Source: https://docs.nats.io/running-a-nats-service/configuration"""
    token = ensure_token(settings.data_dir.token_file("nats"))
    store = settings.data_dir.part("nats")
    return f"""\
server_name: steersman
listen: {json.dumps(f"{HOST}:{settings.ports.nats}")}
http: {json.dumps(f"{HOST}:{settings.ports.nats_monitor}")}
authorization {{ token: {json.dumps(token)} }}
jetstream {{
  store_dir: {json.dumps(str(store))}
  max_file_store: {STREAM_FILE_LIMIT}
  max_memory_store: {STREAM_MEMORY_LIMIT}
  # An acknowledged order must survive a kill: the default flushes every two minutes.
  sync_interval: always
}}
"""


def traefik(settings: Settings) -> dict[str, Any]:
    """
    The static configuration; routes are in `settings.routes_file`, which the orchestrator writes.

    Source: https://doc.traefik.io/traefik/reference/static-configuration/file/
    """
    ports = settings.ports
    common = {
        "transport": {"lifeCycle": {"graceTimeOut": "2s"}},  # the stack's end waits for it
        "http": {"aliasHeadersStrategy": "delete"},  # X_Forwarded_For must not pass for X-Forwarded-For
    }
    return {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "WARN", "noColor": True},
        "entryPoints": {
            "web": {"address": f"{HOST}:{ports.gateway}"} | common,
            "mesh": {"address": f"{HOST}:{ports.mesh}"} | common,
            "traefik": {"address": f"{HOST}:{ports.traefik}"} | common,
        },
        # "insecure" is Traefik's word for its read-only API without a login, on its own entry point.
        "api": {"insecure": True, "dashboard": False, "disableDashboardAd": True},
        "ping": {"entryPoint": "traefik"},
        "metrics": {"prometheus": {"entryPoint": "traefik", "buckets": GATEWAY_BUCKETS}},
        "tracing": {
            "serviceName": "gateway",
            "resourceAttributes": {"service.instance.id": "gateway-1", "deployment.environment.name": "demo"},
            "otlp": {"http": {"endpoint": f"{settings.urls.otlp}/v1/traces"}},
        },
        "serversTransport": {
            "maxIdleConnsPerHost": 200,
            "forwardingTimeouts": {"dialTimeout": DIAL_TIMEOUT, "idleConnTimeout": IDLE_CONNECTION},
        },
        "providers": {
            "providersThrottleDuration": ROUTES_THROTTLE,
            "file": {"filename": str(settings.routes_file), "watch": True},
        },
    }


def collector(settings: Settings) -> dict[str, Any]:
    """Prometheus's keys, and Alertmanager's under `alertmanager`. With a Prometheus beside it, it only receives."""
    if settings.backend == PROMETHEUS:
        return {"global": _EVERY_SECOND, "connectors": _CONNECTORS}
    return {
        "global": _EVERY_SECOND,
        "connectors": _CONNECTORS,
        "rule_files": [str(shipped("rules") / "*.yml")],
        "scrape_configs": _scrapes(settings),
        "alertmanager": alertmanager(settings),
    }


def prometheus(settings: Settings) -> dict[str, Any]:
    """The same rules and targets, for a Prometheus 2.42 and up; what came by OTLP it takes from the collector."""
    return {
        "global": _EVERY_SECOND,
        "rule_files": [str(shipped("rules") / "*.yml")],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [f"{HOST}:{settings.ports.alertmanager}"]}]}]},
        "scrape_configs": [
            *_scrapes(settings),
            _federated(settings, "otlp-rules", f'{{__name__=~"{RULES_BY_OTLP}"}}', RULES_FEDERATED),
            _federated(settings, "otlp", f'{{__name__=~".+",__name__!~"{RULES_BY_OTLP}"}}', REST_FEDERATED),
        ],
    }


def _federated(settings: Settings, job: str, selector: str, every: str) -> dict[str, Any]:
    """With the timestamps of the exports, so that rates are those of the embedded stack."""
    return {
        "job_name": job,
        "scrape_interval": every,
        "scrape_timeout": every,
        "metrics_path": "/federate",
        "honor_labels": True,
        "params": {"match[]": [selector]},
        "static_configs": [{"targets": [f"{HOST}:{settings.ports.collector}"], "labels": {"instance": "collector-1"}}],
    }


def alertmanager(settings: Settings) -> dict[str, Any]:
    webhook = {
        "url": f"{settings.urls.remediation}/api/v1/webhook/alertmanager",
        "send_resolved": True,
        "http_config": {
            "authorization": {
                "type": "Bearer",
                "credentials_file": str(settings.data_dir.token_file("remediation")),
            }
        },
    }
    return {
        "route": {
            "receiver": "remediation",
            "group_by": ["alertname", "service"],
            "group_wait": "0s",
            "group_interval": "1s",
            "repeat_interval": "1m",
        },
        "receivers": [{"name": "remediation", "webhook_configs": [webhook]}],
    }


# Calls, durations and the service graph of the shop's spans, in the buckets of collector/otelcol.yaml.
_SPAN_BUCKETS_MS = (5, 10, 25, 50, 75, 100, 150, 200, 250, 350, 500, 750, 1000, 1500, 2500, 5000, 10_000)
_CONNECTORS = {
    "spanmetrics": {
        "histogram": {"explicit": {"buckets": [f"{bound}ms" for bound in _SPAN_BUCKETS_MS]}},
        "metrics_flush_interval": INFRASTRUCTURE_SCRAPE,
    },
    "servicegraph": {"metrics_flush_interval": INFRASTRUCTURE_SCRAPE},
}
_EVERY_SECOND = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}


def _scrapes(settings: Settings) -> list[dict[str, Any]]:
    ports = settings.ports
    own = ports.prometheus if settings.backend == EMBEDDED else ports.collector
    return [
        {"job_name": "shop", "file_sd_configs": [{"files": [str(settings.targets / "*.json")]}]},
        _static("gateway", ports.traefik),
        _static("remediation", ports.remediation),
        _static("collector", own),
    ]


def _static(job: str, port: int) -> dict[str, Any]:
    group = {"targets": [f"{HOST}:{port}"], "labels": {"instance": f"{job}-1"}}
    return {
        "job_name": job,
        "scrape_interval": INFRASTRUCTURE_SCRAPE,
        "scrape_timeout": INFRASTRUCTURE_TIMEOUT,
        "static_configs": [group],
    }
