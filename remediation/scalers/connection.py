"""Which scaler the settings name, and what each can do beside counting replicas, before anything is asked of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import MappingProxyType

from remediation.errors import SettingsError
from remediation.policy.policy import Policy
from remediation.scalers.local import LocalScaler
from remediation.scalers.scaler import Scaler
from remediation.settings import AwsSettings, DockerSettings, KubernetesSettings, OrchestratorSettings, ScalerSettings

_REPLICAS = frozenset({"scale", "restart", "replace"})
# Versions, weights and rates are kept by the embedded stack's orchestrator only.
_CONTROLS = frozenset({"rollback", "shift_traffic", "shed_load"})
ABILITIES = MappingProxyType(
    {"local": _REPLICAS | _CONTROLS, "docker": _REPLICAS, "kubernetes": _REPLICAS, "aws": _REPLICAS}
)
NAMES = MappingProxyType(
    {OrchestratorSettings: "local", DockerSettings: "docker", KubernetesSettings: "kubernetes", AwsSettings: "aws"}
)


def connect(settings: ScalerSettings) -> Scaler:
    """
    The client of a scaler that is not used is not loaded: each is 20 to 50 MB.

    Raises:
        SettingsError: its package is not installed, or there are no credentials or no region.
    """
    try:
        match settings:
            case OrchestratorSettings(url=url, token=token):
                return LocalScaler(url, token)
            case DockerSettings(url=url, project=project):
                from remediation.scalers.containers import DockerScaler

                return DockerScaler(url, project)
            case KubernetesSettings():
                from remediation.scalers.kubernetes import KubernetesScaler
                from remediation.scalers.kubernetes_access import Access

                access = Access.connect(
                    namespace=settings.namespace, config_file=settings.config_file, context=settings.context
                )
                return KubernetesScaler(access)
            case AwsSettings(cluster=cluster, endpoint_url=endpoint_url):
                from remediation.scalers.aws import AwsScaler

                return AwsScaler(cluster=cluster, endpoint_url=endpoint_url)
    except ModuleNotFoundError as error:
        name = NAMES[type(settings)]
        raise SettingsError(f"REMEDIATION_SCALER={name} needs {error.name}: install steersman[{name}]") from error


def unsupported(policies: Iterable[Policy], scaler: str) -> Iterator[str]:
    """Each step that `scaler` will always refuse: by policy, step and kind."""
    for policy in policies:
        for step in policy.steps:
            if step.kind in _REPLICAS | _CONTROLS and step.kind not in ABILITIES[scaler]:
                yield f"policy {policy.name}, step {step.name!r}: the scaler {scaler} does not support {step.kind}"
