"""The processes of the stack: for each its command line, its environment, and how it says that it is ready."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from steersman.errors import StackError
from steersman.orchestrator.process import Command
from steersman.orchestrator.service import ServiceSpec
from steersman.runtime.paths import shipped
from steersman.stack.settings import EMBEDDED, HOST, PROMETHEUS, Settings

# Set for other runs, other programs or other stacks: none of it may leak into ours.
_FOREIGN = ("OTEL_", "REMEDIATION_", "SHOP_", "LOAD_", "NATS_", "STEERSMAN_", "FAULTS_")
SPANS_EVERY_MS = "1000"  # as often as metrics, so that what a person looks up has just happened
_FOREIGN_NAMES = {"host", "port", "http_proxy", "https_proxy", "all_proxy"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    command: Command
    ready_port: int
    ready_path: str
    stop_deadline_s: float  # between SIGTERM and SIGKILL

    @property
    def name(self) -> str:
        return self.command.name


def binary(name: str) -> str:
    """
    A program from our own environment's wheels, else from PATH.

    Raises:
        StackError: there is none.
    """
    beside = Path(sys.executable).parent / name
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which(name)
    if found is None:
        raise StackError(f"{name} is neither in {beside.parent} nor on PATH; is Steersman installed with its wheels?")
    return found


def base_environment() -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and name.lower() not in _FOREIGN_NAMES
    }
    return kept | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",  # what a process said last before it was killed is in its log
        "NO_PROXY": "127.0.0.1,localhost",
        # glibc gives each thread an arena of its own; two are enough here and save tens of megabytes in all.
        "MALLOC_ARENA_MAX": "2",
    }


def telemetry_environment(
    settings: Settings, service: str, instance: str, *, service_version: str = "", zone: str = ""
) -> dict[str, str]:
    """The standard OpenTelemetry variables; every second, so that rules see within a second what happens."""
    attributes = {
        "service.instance.id": instance,
        "service.version": service_version or _version(),
        "deployment.environment.name": "demo",
    }
    if zone:
        attributes["cloud.availability_zone"] = zone
    return {
        "OTEL_SERVICE_NAME": service,
        "OTEL_RESOURCE_ATTRIBUTES": ",".join(f"{key}={value}" for key, value in attributes.items()),
        "OTEL_EXPORTER_OTLP_ENDPOINT": settings.urls.otlp,
        "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "OTEL_BSP_SCHEDULE_DELAY": SPANS_EVERY_MS,
        "OTEL_BLRP_SCHEDULE_DELAY": "1000",
        "OTEL_SEMCONV_STABILITY_OPT_IN": "http,database",
    }


def nats(settings: Settings) -> Part:
    argv = [binary("nats-server"), "--config", str(settings.nats_file)]
    return _part(settings, "nats", argv, {}, settings.ports.nats_monitor, "/healthz")


def traefik(settings: Settings) -> Part:
    argv = [binary("traefik"), f"--configFile={settings.traefik_file}"]
    # Its spans come when the services' do: its default is 5 s, so long the newest traces would lack their root.
    environment = {"OTEL_BSP_SCHEDULE_DELAY": SPANS_EVERY_MS}
    return _part(settings, "traefik", argv, environment, settings.ports.traefik, "/ping")


def backend(settings: Settings) -> tuple[Part, ...]:
    """Prometheus and Alertmanager from PATH, where they stand in for the collector's own."""
    if settings.backend != PROMETHEUS:
        return ()
    ports, data_dir = settings.ports, settings.data_dir
    argv = [binary("prometheus"), f"--config.file={settings.prometheus_file}", "--log.level=warn"]
    argv += ["--enable-feature=exemplar-storage"]  # without it, asking for exemplars is an error
    argv += [f"--storage.tsdb.path={data_dir.part('prometheus')}", f"--web.listen-address={HOST}:{ports.prometheus}"]
    alerting = [binary("prometheus-alertmanager"), f"--config.file={settings.alertmanager_file}", "--log.level=warn"]
    alerting += [f"--storage.path={data_dir.part('alertmanager')}", "--cluster.listen-address="]
    alerting += [f"--web.listen-address={HOST}:{ports.alertmanager}"]
    return (
        _part(settings, "prometheus", argv, {}, ports.prometheus, "/-/ready"),
        _part(settings, "alertmanager", alerting, {}, ports.alertmanager, "/-/ready"),
    )


def collector(settings: Settings) -> Part:
    ports = settings.ports
    http = ports.prometheus if settings.backend == EMBEDDED else ports.collector
    argv = [sys.executable, "-m", "collector"]
    argv += ["--config", str(settings.collector_file), "--data-dir", str(settings.data_dir.part("collector"))]
    argv += ["--http", f"{HOST}:{http}", "--jaeger", f"{HOST}:{ports.jaeger}"]
    argv += ["--otlp-grpc", f"{HOST}:{ports.otlp_grpc}", "--otlp-http", f"{HOST}:{ports.otlp_http}"]
    argv += ["--alertmanager", f"{HOST}:{ports.alertmanager}"]
    argv += ["--alertmanager-token-file", str(settings.data_dir.token_file("alertmanager"))]
    argv += ["--token-file", str(settings.data_dir.token_file("collector"))]
    return _part(settings, "collector", argv, {}, http, "/-/ready")


def worker(settings: Settings) -> Part:
    data_dir, urls = settings.data_dir, settings.urls
    environment = telemetry_environment(settings, "remediation", "remediation-1") | {
        "HOST": HOST,
        "PORT": str(settings.ports.remediation),
        "REMEDIATION_TOKEN_FILE": str(data_dir.token_file("remediation")),
        "REMEDIATION_DATA_DIR": str(data_dir.part("worker")),
        "REMEDIATION_POLICIES": str(shipped("policies")),
        "REMEDIATION_PROMETHEUS_URL": urls.prometheus,
        "REMEDIATION_JAEGER_URL": urls.jaeger,
        "REMEDIATION_GRAFANA_URL": urls.dashboards,
        "REMEDIATION_GRAFANA_TOKEN_FILE": str(data_dir.token_file("dashboards")),
        "REMEDIATION_ORCHESTRATOR_URL": urls.orchestrator,
        "REMEDIATION_ORCHESTRATOR_TOKEN_FILE": str(data_dir.token_file("orchestrator")),
        "REMEDIATION_NATS_URL": urls.nats,
        "REMEDIATION_NATS_TOKEN_FILE": str(data_dir.token_file("nats")),
    }
    argv = [sys.executable, "-m", "remediation"]
    return _part(settings, "worker", argv, environment, settings.ports.remediation, "/-/ready")


def viewer(settings: Settings) -> Part:
    data_dir, urls = settings.data_dir, settings.urls
    environment = {
        "HOST": HOST,
        "PORT": str(settings.ports.dashboards),
        "VIEWER_TOKEN_FILE": str(data_dir.token_file("dashboards")),
        "VIEWER_DATA_DIR": str(data_dir.part("viewer")),
        "VIEWER_PROMETHEUS_URL": urls.prometheus,
        "VIEWER_JAEGER_URL": urls.jaeger,
        "VIEWER_ALERTMANAGER_URL": urls.alertmanager,
        "VIEWER_REMEDIATION_URL": urls.remediation,
        "VIEWER_ORCHESTRATOR_URL": urls.orchestrator,
        "VIEWER_COLLECTOR_URL": urls.collector,
    }
    for audience in ("remediation", "alertmanager", "collector", "drills"):
        environment[f"VIEWER_{audience.upper()}_TOKEN_FILE"] = str(data_dir.token_file(audience))
    argv = [sys.executable, "-m", "dashboards.viewer"]
    return _part(settings, "viewer", argv, environment, settings.ports.dashboards, "/-/ready")


def load(settings: Settings) -> Part:
    environment = {
        "HOST": HOST,
        "PORT": str(settings.ports.load),
        "LOAD_TARGET": settings.urls.web,
        "LOAD_TOKEN_FILE": str(settings.data_dir.token_file("load")),
    }
    argv = [sys.executable, "-m", "demo_services.load"]
    return _part(settings, "load", argv, environment, settings.ports.load, "/-/ready")


def replica(settings: Settings, spec: ServiceSpec, instance_id: str, port: int) -> Command:
    data_dir, urls = settings.data_dir, settings.urls
    zone = spec.zones[0] if len(spec.zones) == 1 else ""
    environment = telemetry_environment(settings, spec.name, instance_id, service_version=spec.version, zone=zone) | {
        "HOST": HOST,
        "PORT": str(port),
        "NATS_URL": urls.nats,
        "NATS_TOKEN_FILE": str(data_dir.token_file("nats")),
        "SHOP_MESH_URL": urls.mesh,
        "SHOP_DATA_DIR": str(data_dir.part("shop")),
        "SHOP_FAULTS_TOKEN_FILE": str(data_dir.token_file("faults")),
    }
    argv = [sys.executable if word == "python" else word for word in spec.command]
    return _command(settings, instance_id, argv, environment | dict(spec.env))


def _part(settings: Settings, name: str, argv: list[str], environment: Mapping[str, str], port: int, path: str) -> Part:
    stop_deadline_s = 8.0  # longest measured: the collector's, which first writes what it holds
    command = _command(settings, name, argv, environment)
    return Part(command=command, ready_port=port, ready_path=path, stop_deadline_s=stop_deadline_s)


def _command(settings: Settings, name: str, argv: list[str], environment: Mapping[str, str]) -> Command:
    return Command(
        name=name,
        argv=tuple(argv),
        env=base_environment() | dict(environment),
        cwd=settings.data_dir.run,  # holds no folder that Python could take for a package
        log=settings.data_dir.logs / f"{name}.log",
    )


def _version() -> str:
    try:
        return version("steersman")
    except PackageNotFoundError:  # run from a checkout that is on the path but not installed
        return "0"
