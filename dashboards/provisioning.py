"""Dashboards into a Grafana, out of it, and compared with it, through grafana-client. Twice changes nothing more."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana_client.api import GrafanaApi
from grafana_client.client import GrafanaClientError

from dashboards.folder import Model, shipped, without_counters, written

FOLDER_UID = "steersman"
FOLDER_TITLE = "Steersman"
MOST = 5000  # hits of one search: Grafana's own limit


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


@dataclass(frozen=True, slots=True)
class Difference:
    kind: str  # data source, folder, dashboard
    name: str
    lines: tuple[str, ...]  # a unified diff, from there to here; empty: it is not there at all


def push(grafana: GrafanaApi, sources: DataSources, boards: Sequence[Model] | None = None) -> list[Change]:
    """
    Make the Grafana hold the data sources, our folder and the dashboards in it; say what had to change.

    Args:
        boards: The dashboards; None: those that ship with Steersman.

    Raises:
        grafana_client.client.GrafanaException: Grafana refused, or the token may not do this.
    """
    changes = [_push_source(grafana, model) for model in sources.models()]
    changes.append(_push_folder(grafana))
    return changes + [_push_dashboard(grafana, model) for model in (shipped() if boards is None else boards)]


def pull(grafana: GrafanaApi) -> list[Model]:
    """Every dashboard that the Grafana has, by uid, without what it counts. Raises as `push` does."""
    hits = grafana.search.search_dashboards(type_="dash-db", limit=MOST)
    uids = sorted(str(hit["uid"]) for hit in hits)
    return [without_counters(grafana.dashboard.get_dashboard(uid)["dashboard"]) for uid in uids]


def differences(grafana: GrafanaApi, sources: DataSources, boards: Sequence[Model] | None = None) -> list[Difference]:
    """What `push` would change; nothing is changed. Arguments and errors are those of `push`."""
    found = []
    for model in sources.models():
        present = _source(grafana, model["uid"])
        known = None if present is None else {key: present.get(key) for key in model}
        found += _difference("data source", model["name"], known, model)
    if _found(lambda: grafana.folder.get_folder(FOLDER_UID)) is None:
        found.append(Difference("folder", FOLDER_TITLE, ()))
    for model in shipped() if boards is None else boards:
        found += _difference("dashboard", model["title"], _board(grafana, model["uid"]), model)
    return found


def _difference(kind: str, name: str, there: Model | None, here: Model) -> list[Difference]:
    if there is None:
        return [Difference(kind, name, ())]
    before, after = written(there).splitlines(), written(here).splitlines()
    lines = tuple(difflib.unified_diff(before, after, f"there: {name}", f"here: {name}", lineterm=""))
    return [Difference(kind, name, lines)] if lines else []


def _push_source(grafana: GrafanaApi, model: dict[str, Any]) -> Change:
    present = _source(grafana, model["uid"])
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


def _push_dashboard(grafana: GrafanaApi, model: Model) -> Change:
    present = _board(grafana, model["uid"])
    if present is not None and without_counters(present) == without_counters(model):
        return Change("dashboard", model["title"], "unchanged")
    grafana.dashboard.update_dashboard({"dashboard": model, "folderUid": FOLDER_UID, "overwrite": True})
    return Change("dashboard", model["title"], "created" if present is None else "updated")


def _source(grafana: GrafanaApi, uid: str) -> Model | None:
    return _found(lambda: grafana.datasource.get_datasource_by_uid(uid))


def _board(grafana: GrafanaApi, uid: str) -> Model | None:
    found = _found(lambda: grafana.dashboard.get_dashboard(uid))
    return None if found is None else dict(found["dashboard"])


def _found(call: Any) -> dict[str, Any] | None:
    try:
        answer: dict[str, Any] = call()
    except GrafanaClientError as error:
        if error.status_code == 404:
            return None
        raise
    return answer
