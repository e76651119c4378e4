"""
Prometheus's `alerting` section: the Alertmanagers that alerts are pushed to.

Source: prometheus/config/config.go (AlertingConfig, AlertmanagerConfig), notifier/manager.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from pydantic import ValidationError

from collector.alerts.http_config import HttpConfig
from collector.alerts.section import DurationMs, FilePath, Section, worded
from collector.errors import ConfigError

DEFAULT_TIMEOUT_MS = 10_000  # config.go, DefaultAlertmanagerConfig
_DISCOVERIES = (
    "azure consul digitalocean dns docker dockerswarm ec2 eureka file gce hetzner http ionos kubernetes kuma lightsail"
    " linode marathon nerve nomad openstack ovhcloud puppetdb scaleway serverset triton uyuni vultr"
)


class StaticTargets(Section):
    targets: tuple[str, ...] = ()
    labels: Mapping[str, str] = {}


class PushConfig(HttpConfig):
    """One entry of `alertmanagers`. Its targets are found in `static_configs`; other discoveries are not built."""

    unbuilt: ClassVar[frozenset[str]] = (
        HttpConfig.unbuilt | {f"{name}_sd_configs" for name in _DISCOVERIES.split(" ")} | {"sigv4"}
    )

    static_configs: tuple[StaticTargets, ...] = ()
    scheme: Literal["http", "https"] = "http"
    path_prefix: str = "/"
    timeout: DurationMs = DEFAULT_TIMEOUT_MS
    api_version: Literal["v2"] = "v2"
    relabel_configs: tuple[Any, ...] = ()  # of targets; who wires the parts compiles them
    alert_relabel_configs: tuple[Any, ...] = ()

    @property
    def alerts_path(self) -> str:
        return f"/{self.path_prefix.strip('/')}/api/v2/alerts".replace("//", "/")


class AlertingConfig(Section):
    alert_relabel_configs: tuple[Any, ...] = ()
    alertmanagers: tuple[PushConfig, ...] = ()


def load_alerting(data: object, *, source: str = "alerting", directory: FilePath | None = None) -> AlertingConfig:
    """
    Check an `alerting` section that YAML has been read from already. Its relabelling rules stay as they are.

    Raises:
        ConfigError: names the key and what is wrong with it, every one.
    """
    try:
        return AlertingConfig.model_validate({} if data is None else data, context={"directory": directory})
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        raise ConfigError("\n".join(f"{source}: {worded(problem)}" for problem in problems)) from None
