"""
Provisioning through grafana-client into the viewer, which answers Grafana's HTTP API.

A real Grafana cannot run in these tests (it is no Python package), so what is proved here is the traffic of the real
grafana-client and the idempotence of `push`, not Grafana's own validation.
"""

from __future__ import annotations

import httpx
import pytest
from grafana_client.client import GrafanaBadInputError, GrafanaClientError, GrafanaUnauthorizedError

from dashboards.fleet import UID
from dashboards.provisioning import FOLDER_UID, DataSources, push


def actions(changes):
    return {(change.kind, change.name): change.action for change in changes}


def test_first_push_creates_everything_that_the_viewer_does_not_ship(grafana, client_of):
    changes = actions(push(client_of(), DataSources()))
    assert changes["data source", "Prometheus"] == changes["folder", "Steersman"] == "created"
    assert changes["dashboard", "Fleet overview"] == "unchanged"
    assert grafana.store.document("datasource", "prometheus")["url"] == "http://127.0.0.1:9090"


def test_second_push_changes_nothing(client_of):
    push(client_of(), DataSources())
    assert set(actions(push(client_of(), DataSources())).values()) == {"unchanged"}


def test_moved_data_source_is_updated_in_place(grafana, client_of):
    push(client_of(), DataSources())
    before = grafana.store.document("datasource", "prometheus")["id"]
    changes = actions(push(client_of(), DataSources(prometheus_url="http://127.0.0.1:9999")))
    assert [name for name, action in changes.items() if action != "unchanged"] == [("data source", "Prometheus")]
    kept = grafana.store.document("datasource", "prometheus")
    assert (kept["url"], kept["id"]) == ("http://127.0.0.1:9999", before)


def test_edited_dashboard_is_put_back(grafana, client_of):
    client = client_of()
    push(client, DataSources())
    edited = {**client.dashboard.get_dashboard(UID)["dashboard"], "title": "Somebody's edit"}
    client.dashboard.update_dashboard({"dashboard": edited, "folderUid": FOLDER_UID, "overwrite": True})
    assert client.dashboard.get_dashboard(UID)["dashboard"]["title"] == "Somebody's edit"
    assert actions(push(client, DataSources()))["dashboard", "Fleet overview"] == "updated"
    assert client.dashboard.get_dashboard(UID)["dashboard"]["title"] == "Fleet overview"


def test_wrong_token_is_refused_and_nothing_is_written(grafana, client_of):
    with pytest.raises(GrafanaUnauthorizedError):
        push(client_of("wrong"), DataSources())
    assert grafana.store.documents("datasource") == []


def test_search_finds_dashboards_and_folders(client_of):
    client = client_of()
    push(client, DataSources())
    assert [hit["uid"] for hit in client.search.search_dashboards(query="fleet")] == [UID]
    assert [hit["uid"] for hit in client.search.search_dashboards(type_="dash-folder")] == [FOLDER_UID]


def test_change_that_another_has_overtaken_is_refused(client_of):
    client = client_of()
    board = {"title": "Mine", "uid": "mine", "panels": []}
    first = client.dashboard.update_dashboard({"dashboard": board, "overwrite": False})
    client.dashboard.update_dashboard({"dashboard": {**board, "version": first["version"]}, "overwrite": False})
    with pytest.raises(GrafanaClientError, match="changed by someone else"):
        client.dashboard.update_dashboard({"dashboard": {**board, "version": first["version"]}, "overwrite": False})
    client.dashboard.delete_dashboard("mine")
    with pytest.raises(GrafanaClientError, match="not found"):
        client.dashboard.get_dashboard("mine")


def test_annotations_are_kept_found_changed_and_removed(client_of):
    client = client_of()
    made = client.annotations.add_annotation(time_from=1000, time_to=2000, tags=["drill", "catalog"], text="surge")
    client.annotations.add_annotation(time_from=9000, time_to=9000, tags=["deploy"], text="v2")
    found = client.annotations.find_annotations(time_from=500, time_to=1500)
    assert [(each["text"], each["tags"]) for each in found] == [("surge", ["drill", "catalog"])]
    assert [each["text"] for each in client.annotations.find_annotations(tags=["deploy"])] == ["v2"]
    client.annotations.partial_update_annotation(made["id"], text="surge of three")
    assert client.annotations.find_annotations(time_from=500, time_to=1500)[0]["text"] == "surge of three"
    client.annotations.delete_annotations_by_id(made["id"])
    assert client.annotations.find_annotations(time_from=500, time_to=1500) == []


@pytest.mark.parametrize(
    "body",
    [
        {"dashboard": {"panels": []}},
        {"dashboard": {"title": "x", "panels": [], "uid": "../up"}},
        {"dashboard": {"title": "x", "panels": []}, "folderUid": "nowhere"},
        {"dashboard": {"title": "x", "panels": [{}] * 501}},
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_reason(client_of, body):
    with pytest.raises(GrafanaBadInputError):
        client_of().dashboard.update_dashboard(body)


def test_reading_needs_no_token_and_health_is_told(grafana, client_of):
    assert httpx.get(f"{grafana.url}/api/health").json()["database"] == "ok"
    assert httpx.post(f"{grafana.url}/api/annotations", json={"text": "x"}).status_code == 401
    assert client_of().health.check()["edition"] == "Steersman"
