"""Put data sources and dashboards into a Grafana, through grafana-client. Doing it twice changes nothing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaClientError

from dashboards.catalogue import DASHBOARDS, path_of

FOLDER_UID = "steersman"
FOLDER_TITLE = "Steersman"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSources:
    """Where Grafana finds the telemetry, as seen from Grafana."""

    prometheus_url: str = "http://127.0.0.1:9090"
    jaeger_url: str = "http://127.0.0.1:16686"

    def models(self) -> list[dict[str, Any]]:
        """Grafana's data source models; the uids are the ones that the dashboards refer to."""
        traces = {"name": "trace_id", "datasourceUid": "jaeger"}
        return [
            {
                "uid": "prometheus",
                "name": "Prometheus",
                "type": "prometheus",
                "access": "proxy",
                "url": self.prometheus_url,
                "isDefault": True,
                "jsonData": {"httpMethod": "POST", "timeInterval": "1s", "exemplarTraceIdDestinations": [traces]},
            },
            {"uid": "jaeger", "name": "Jaeger", "type": "jaeger", "access": "proxy", "url": self.jaeger_url},
        ]


@dataclass(frozen=True, slots=True)
class Change:
    kind: str  # data source, folder, dashboard
    name: str
    action: str  # created, updated, unchanged


def push(grafana: GrafanaApi, sources: DataSources) -> list[Change]:
    """
    Make the Grafana hold our data sources, folder and dashboards; say what had to change.

    Raises:
        grafana_client.client.GrafanaException: Grafana refused, or the token may not do this.
    """
    changes = [_push_source(grafana, model) for model in sources.models()]
    changes.append(_push_folder(grafana))
    changes += [_push_dashboard(grafana, json.loads(path_of(name).read_text())) for name in DASHBOARDS]
    return changes


def _push_source(grafana: GrafanaApi, model: dict[str, Any]) -> Change:
    present = _found(lambda: grafana.datasource.get_datasource_by_uid(model["uid"]))
    if present is None:
        grafana.datasource.create_datasource(model)
        return Change("data source", model["name"], "created")
    if all(present.get(key) == value for key, value in model.items()):
        return Change("data source", model["name"], "unchanged")
    grafana.datasource.update_datasource(present["id"], {**present, **model})
    return Change("data source", model["name"], "updated")


def _push_folder(grafana: GrafanaApi) -> Change:
    if _found(lambda: grafana.folder.get_folder(FOLDER_UID)) is not None:
        return Change("folder", FOLDER_TITLE, "unchanged")
    grafana.folder.create_folder(FOLDER_TITLE, uid=FOLDER_UID)
    return Change("folder", FOLDER_TITLE, "created")


def _push_dashboard(grafana: GrafanaApi, model: dict[str, Any]) -> Change:
    present = _found(lambda: grafana.dashboard.get_dashboard(model["uid"]))
    if present is not None and _without_counters(present["dashboard"]) == _without_counters(model):
        return Change("dashboard", model["title"], "unchanged")
    grafana.dashboard.update_dashboard({"dashboard": model, "folderUid": FOLDER_UID, "overwrite": True})
    return Change("dashboard", model["title"], "created" if present is None else "updated")


def _without_counters(model: Mapping[str, Any]) -> dict[str, Any]:
    """A dashboard without what Grafana itself adds on saving: its row id and its version."""
    return {key: value for key, value in model.items() if key not in {"id", "version"}}


def _found(call: Any) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = call()
    except GrafanaClientError as error:
        if error.status_code == 404:
            return None
        raise
    return answer
