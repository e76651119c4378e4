"""How the worker is told what it needs: environment variables, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from remediation.errors import SettingsError
from remediation.policy.duration import parse_duration
from steersman.runtime.paths import shipped
from steersman.runtime.ports import Ports
from steersman.runtime.tokens import read_token


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestratorSettings:
    """The embedded stack's orchestrator: REMEDIATION_SCALER=local."""

    url: str
    token: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerSettings:
    """Docker Compose: REMEDIATION_SCALER=docker."""

    url: str  # of the engine, or of a proxy before its socket
    project: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KubernetesSettings:
    """One namespace of a cluster: REMEDIATION_SCALER=kubernetes. Credentials are never a setting of ours."""

    namespace: str | None  # None: the context's, or that of the pod the worker runs in
    config_file: Path | None  # a kubeconfig; None: the pod's service account, else the user's own
    context: str | None  # of the kubeconfig; None: its current one


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsSettings:
    """ECS and Auto Scaling groups: REMEDIATION_SCALER=aws. Region and credentials are those of boto3's own chain."""

    cluster: str | None  # of ECS; None: only Auto Scaling groups
    endpoint_url: str | None  # instead of AWS's own


ScalerSettings = OrchestratorSettings | DockerSettings | KubernetesSettings | AwsSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    host: str
    port: int
    token: str  # asked of who posts alerts
    data_dir: Path
    policies: Path
    prometheus_url: str
    scaler: ScalerSettings
    grafana_url: str  # where actions are marked on dashboards; empty for nowhere
    grafana_token: str = field(repr=False)
    nats_url: str  # where feature flags are kept; empty: none can be set
    nats_token_file: Path | None
    jaeger_url: str  # only for links in the record; empty for none
    database_url: str | None  # PostgreSQL, when several workers share the load; else SQLite in data_dir
    lease_s: float  # on PostgreSQL: a worker silent for so long has lost its runs to the others
    executor_id: str  # distinct for each worker on one database: a worker takes up only its own unfinished runs

    def __repr__(self) -> str:
        return f"Settings({self.host}:{self.port}, data_dir={self.data_dir})"  # tokens never reach a log

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """
        Raises:
            SettingsError: a variable is missing or wrong; the message names it.
        """
        ports = Ports()
        return cls(
            host=environment.get("HOST", "127.0.0.1"),
            port=_port(environment.get("PORT", str(ports.remediation))),
            token=_token(environment, "REMEDIATION_TOKEN_FILE"),
            data_dir=Path(_required(environment, "REMEDIATION_DATA_DIR")),
            policies=Path(environment.get("REMEDIATION_POLICIES") or shipped("policies")),
            prometheus_url=_url(environment, "REMEDIATION_PROMETHEUS_URL", f"http://127.0.0.1:{ports.prometheus}"),
            scaler=_scaler(environment, ports),
            grafana_url=_url(environment, "REMEDIATION_GRAFANA_URL", ""),
            grafana_token=(
                _token(environment, "REMEDIATION_GRAFANA_TOKEN_FILE")
                if environment.get("REMEDIATION_GRAFANA_URL")
                else ""
            ),
            nats_url=_nats_url(environment.get("REMEDIATION_NATS_URL") or ""),
            nats_token_file=_path(environment.get("REMEDIATION_NATS_TOKEN_FILE")),
            jaeger_url=_url(environment, "REMEDIATION_JAEGER_URL", ""),
            database_url=_database_url(environment.get("REMEDIATION_DATABASE_URL")),
            lease_s=_lease(environment.get("REMEDIATION_LEASE") or "15s"),
            executor_id=environment.get("REMEDIATION_EXECUTOR_ID") or "worker-1",
        )


def _scaler(environment: Mapping[str, str], ports: Ports) -> ScalerSettings:
    match environment.get("REMEDIATION_SCALER") or "local":
        case "local":
            url = _url(environment, "REMEDIATION_ORCHESTRATOR_URL", f"http://127.0.0.1:{ports.orchestrator}")
            return OrchestratorSettings(url=url, token=_token(environment, "REMEDIATION_ORCHESTRATOR_TOKEN_FILE"))
        case "docker":
            url = environment.get("REMEDIATION_DOCKER_URL") or "unix:///var/run/docker.sock"
            if not url.startswith(("unix://", "tcp://")):
                raise SettingsError(f"REMEDIATION_DOCKER_URL must begin with unix:// or tcp://, got {url!r}")
            return DockerSettings(url=url, project=_required(environment, "REMEDIATION_DOCKER_PROJECT"))
        case "kubernetes":
            return KubernetesSettings(
                namespace=environment.get("REMEDIATION_KUBERNETES_NAMESPACE") or None,
                config_file=_path(environment.get("REMEDIATION_KUBERNETES_CONFIG")),
                context=environment.get("REMEDIATION_KUBERNETES_CONTEXT") or None,
            )
        case "aws":
            return AwsSettings(
                cluster=environment.get("REMEDIATION_AWS_ECS_CLUSTER") or None,
                endpoint_url=_url(environment, "REMEDIATION_AWS_ENDPOINT_URL", "") or None,
            )
        case other:
            raise SettingsError(f"REMEDIATION_SCALER must be local, docker, kubernetes or aws, got {other!r}")


def _required(environment: Mapping[str, str], name: str) -> str:
    value = environment.get(name)
    if not value:
        raise SettingsError(f"{name} is not set")
    return value


def _token(environment: Mapping[str, str], name: str) -> str:
    path = Path(_required(environment, name))
    try:
        return read_token(path)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{name}: {error}") from error


def _port(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise SettingsError(f"PORT must be between 1 and 65535, got {text!r}")
    return int(text)


def _lease(text: str) -> float:
    try:
        seconds = parse_duration(text)
    except ValueError as error:
        raise SettingsError(f"REMEDIATION_LEASE: {error}") from error
    # Below, a worker that is merely busy loses its runs; above, the runs of a dead one wait for longer than a person.
    if not 1 <= seconds <= 600:
        raise SettingsError(f"REMEDIATION_LEASE must be between 1s and 10m, got {text!r}")
    return seconds


def _url(environment: Mapping[str, str], name: str, default: str) -> str:
    value = environment.get(name) or default
    if value and not value.startswith(("http://", "https://")):
        raise SettingsError(f"{name} must begin with http:// or https://, got {value!r}")
    return value.rstrip("/")


def _nats_url(value: str) -> str:
    if value and not value.startswith(("nats://", "tls://")):
        raise SettingsError(f"REMEDIATION_NATS_URL must begin with nats:// or tls://, got {value!r}")
    return value


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None


def _database_url(value: str | None) -> str | None:
    if not value:
        return None
    scheme, separator, rest = value.partition("://")
    if scheme not in ("postgresql", "postgres", "postgresql+psycopg") or not separator:
        raise SettingsError(f"REMEDIATION_DATABASE_URL must begin with postgresql://, got {scheme!r}")
    return f"postgresql+psycopg://{rest}"
