"""How the viewer is told what it needs: environment variables, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dashboards.errors import SettingsError
from steersman.runtime.ports import Ports
from steersman.runtime.tokens import EmptyTokenError, read_token

DASHBOARDS_PORT = 3000


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    host: str
    port: int
    data_dir: Path  # dashboards that users saved
    token: str = field(repr=False)  # asked of who changes something by Grafana's API
    prometheus_url: str
    jaeger_url: str
    alertmanager_url: str
    remediation_url: str
    orchestrator_url: str

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Settings:
        """
        Raises:
            SettingsError: a variable is missing or wrong; the message names it.
        """
        ports = Ports()
        port = environment.get("PORT", str(DASHBOARDS_PORT))
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise SettingsError(f"PORT must be between 1 and 65535, got {port!r}")
        data_dir = environment.get("VIEWER_DATA_DIR")
        if not data_dir:
            raise SettingsError("VIEWER_DATA_DIR is not set")

        def url(name: str, default_port: int) -> str:
            value = environment.get(name) or f"http://127.0.0.1:{default_port}"
            if not value.startswith(("http://", "https://")):
                raise SettingsError(f"{name} must begin with http:// or https://, got {value!r}")
            return value.rstrip("/")

        return cls(
            host=environment.get("HOST", "127.0.0.1"),
            port=int(port),
            data_dir=Path(data_dir),
            token=_token(environment),
            prometheus_url=url("VIEWER_PROMETHEUS_URL", ports.prometheus),
            jaeger_url=url("VIEWER_JAEGER_URL", ports.jaeger),
            alertmanager_url=url("VIEWER_ALERTMANAGER_URL", 9093),
            remediation_url=url("VIEWER_REMEDIATION_URL", ports.remediation),
            orchestrator_url=url("VIEWER_ORCHESTRATOR_URL", ports.orchestrator),
        )


def _token(environment: Mapping[str, str]) -> str:
    path = environment.get("VIEWER_TOKEN_FILE")
    if not path:
        raise SettingsError("VIEWER_TOKEN_FILE is not set")
    try:
        return read_token(Path(path))
    except (OSError, EmptyTokenError) as error:
        raise SettingsError(f"VIEWER_TOKEN_FILE: {error}") from error
