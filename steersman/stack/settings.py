"""Where one stack lives: its data directory, its ports, and the URLs that follow from them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from steersman.runtime.paths import DataDir
from steersman.runtime.ports import REPLICA_PORT_COUNT, Ports

HOST = "127.0.0.1"
# Who evaluates the rules and sends the alerts: the collector, or Debian's Prometheus and Alertmanager.
EMBEDDED, PROMETHEUS = "embedded", "prometheus"
TOKENS = ("orchestrator", "remediation", "faults", "load", "nats", "alertmanager", "dashboards", "collector", "drills")


@dataclass(frozen=True, slots=True, kw_only=True)
class Urls:
    dashboards: str
    prometheus: str
    collector: str  # the collector's own API: traces, logs, what it counts of itself
    remediation: str
    orchestrator: str
    load: str
    web: str
    mesh: str
    traefik: str
    jaeger: str
    alertmanager: str
    otlp: str
    nats: str

    @classmethod
    def of(cls, ports: Ports, backend: str = EMBEDDED) -> Urls:
        return cls(
            dashboards=f"http://{HOST}:{ports.dashboards}",
            prometheus=f"http://{HOST}:{ports.prometheus}",
            collector=f"http://{HOST}:{ports.prometheus if backend == EMBEDDED else ports.collector}",
            remediation=f"http://{HOST}:{ports.remediation}",
            orchestrator=f"http://{HOST}:{ports.orchestrator}",
            load=f"http://{HOST}:{ports.load}",
            web=f"http://{HOST}:{ports.gateway}",
            mesh=f"http://{HOST}:{ports.mesh}",
            traefik=f"http://{HOST}:{ports.traefik}",
            jaeger=f"http://{HOST}:{ports.jaeger}",
            alertmanager=f"http://{HOST}:{ports.alertmanager}",
            otlp=f"http://{HOST}:{ports.otlp_http}",
            nats=f"nats://{HOST}:{ports.nats}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    data_dir: DataDir
    port_offset: int
    services_file: Path
    load: bool = True
    backend: str = EMBEDDED

    @property
    def ports(self) -> Ports:
        return Ports.at(self.port_offset)

    @property
    def urls(self) -> Urls:
        return Urls.of(self.ports, self.backend)

    @property
    def replica_ports(self) -> range:
        base = self.ports.replica_base
        return range(base, base + REPLICA_PORT_COUNT)

    @property
    def listening_ports(self) -> dict[str, int]:
        """What the stack itself listens on, by use; replicas take what is free in their range."""
        ports = self.ports
        used = {
            "dashboards": ports.dashboards,
            "gateway, web": ports.gateway,
            "gateway, mesh": ports.mesh,
            "gateway, API": ports.traefik,
            "NATS": ports.nats,
            "NATS monitor": ports.nats_monitor,
            "OTLP gRPC": ports.otlp_grpc,
            "OTLP HTTP": ports.otlp_http,
            "Prometheus API": ports.prometheus,
            "Jaeger API": ports.jaeger,
            "Alertmanager API": ports.alertmanager,
            "remediation": ports.remediation,
            "orchestrator": ports.orchestrator,
        }
        used |= {"collector": ports.collector} if self.backend == PROMETHEUS else {}
        return used | ({"load generator": ports.load} if self.load else {})

    # Generated configuration.
    @property
    def nats_file(self) -> Path:
        return self.data_dir.run / "nats.conf"

    @property
    def traefik_file(self) -> Path:
        return self.data_dir.run / "traefik.yml"

    @property
    def routes_file(self) -> Path:
        return self.data_dir.run / "routes.yml"

    @property
    def collector_file(self) -> Path:
        return self.data_dir.run / "collector.yml"

    @property
    def prometheus_file(self) -> Path:
        return self.data_dir.run / "prometheus.yml"

    @property
    def alertmanager_file(self) -> Path:
        return self.data_dir.run / "alertmanager.yml"

    @property
    def releases_file(self) -> Path:
        """Which versions were deployed; it outlives the stack."""
        return self.data_dir.part("orchestrator") / "releases.json"

    @property
    def targets(self) -> Path:
        return self.data_dir.run / "targets"
