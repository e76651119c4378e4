"""How the viewer is told what it needs: environment variables, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dashboards.errors import SettingsError
from dashboards.viewer.auth.roles import Role
from steersman.runtime.ports import Ports
from steersman.runtime.tokens import EmptyTokenError, read_token

DASHBOARDS_PORT = 3000
LOOPBACK = ("127.0.0.1", "localhost", "::1")


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
    orchestrator_url: str  # which also runs the drills
    collector_url: str  # the collector's own API: rule files
    # What the viewer shows to these peers when a visitor acts; "": it cannot, and says so.
    remediation_token: str = field(repr=False)
    alertmanager_token: str = field(repr=False)
    collector_token: str = field(repr=False)
    drills_token: str = field(repr=False)
    anonymous: Role | None  # what somebody may do who has not signed in
    allowed_hosts: tuple[str, ...]  # names under which a browser may ask for us; empty: any
    token_hint: str  # where the owner's token is, in words

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

        host = environment.get("HOST", "127.0.0.1")
        prometheus_url = url("VIEWER_PROMETHEUS_URL", ports.prometheus)
        return cls(
            host=host,
            port=int(port),
            data_dir=Path(data_dir),
            token=_token(environment, "VIEWER_TOKEN_FILE"),
            prometheus_url=prometheus_url,
            jaeger_url=url("VIEWER_JAEGER_URL", ports.jaeger),
            alertmanager_url=url("VIEWER_ALERTMANAGER_URL", 9093),
            remediation_url=url("VIEWER_REMEDIATION_URL", ports.remediation),
            orchestrator_url=url("VIEWER_ORCHESTRATOR_URL", ports.orchestrator),
            collector_url=(environment.get("VIEWER_COLLECTOR_URL") and url("VIEWER_COLLECTOR_URL", 0))
            or prometheus_url,
            remediation_token=_token(environment, "VIEWER_REMEDIATION_TOKEN_FILE", needed=False),
            alertmanager_token=_token(environment, "VIEWER_ALERTMANAGER_TOKEN_FILE", needed=False),
            collector_token=_token(environment, "VIEWER_COLLECTOR_TOKEN_FILE", needed=False),
            drills_token=_token(environment, "VIEWER_DRILLS_TOKEN_FILE", needed=False),
            anonymous=_anonymous(environment, host),
            allowed_hosts=_hosts(environment, host),
            token_hint=f"The token is in {environment['VIEWER_TOKEN_FILE']}; its name is admin.",
        )


def _token(environment: Mapping[str, str], name: str, *, needed: bool = True) -> str:
    path = environment.get(name)
    if not path:
        if needed:
            raise SettingsError(f"{name} is not set")
        return ""
    try:
        return read_token(Path(path))
    except (OSError, EmptyTokenError) as error:
        raise SettingsError(f"{name}: {error}") from error


def _anonymous(environment: Mapping[str, str], host: str) -> Role | None:
    """Reading is open on this machine, and closed where others can reach it, unless it is said otherwise."""
    text = environment.get("VIEWER_ANONYMOUS_ROLE", "viewer" if host in LOOPBACK else "none")
    if text not in ("viewer", "none"):
        raise SettingsError(f"VIEWER_ANONYMOUS_ROLE must be viewer or none, got {text[:60]!r}")
    return Role.VIEWER if text == "viewer" else None


def _hosts(environment: Mapping[str, str], host: str) -> tuple[str, ...]:
    if named := environment.get("VIEWER_ALLOWED_HOSTS", ""):
        return tuple(each.strip().lower() for each in named.split(",") if each.strip())
    return LOOPBACK if host in LOOPBACK else ()
