"""
Provisioning through grafana-client into the viewer, which answers Grafana's HTTP API.

A real Grafana cannot run in these tests (it is no Python package), so what is proved here is the traffic of the real
grafana-client and the idempotence of `push`, not Grafana's own validation.
"""

from __future__ import annotations

import json

import httpx
import pytest
from grafana_client.client import GrafanaBadInputError, GrafanaClientError, GrafanaUnauthorizedError

from dashboards.errors import DashboardError
from dashboards.fleet import UID
from dashboards.folder import read_folder, write_folder
from dashboards.provisioning import FOLDER_UID, DataSources, differences, pull, push


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


def test_diff_tells_what_push_would_change_and_changes_nothing(grafana, client_of):
    client = client_of()
    before = differences(client, DataSources())
    assert {(each.kind, each.name) for each in before} == {
        ("data source", "Prometheus"),
        ("data source", "Jaeger"),
        ("folder", "Steersman"),
    }  # the viewer ships the dashboards
    assert grafana.store.documents("datasource") == []
    push(client, DataSources())
    assert differences(client, DataSources()) == []
    edited = {**client.dashboard.get_dashboard(UID)["dashboard"], "title": "Somebody's edit"}
    client.dashboard.update_dashboard({"dashboard": edited, "overwrite": True})
    (found,) = differences(client, DataSources(prometheus_url="http://127.0.0.1:9090"))
    assert [line for line in found.lines if line[0] in "+-"][2:] == [
        '-  "title": "Somebody\'s edit",',
        '+  "title": "Fleet overview",',
    ]


def test_what_was_pulled_is_pushed_elsewhere_and_pulled_again_unchanged(client_of, tmp_path):
    client = client_of()
    board = {"title": "Mine", "uid": "mine", "panels": [], "schemaVersion": 39}
    client.dashboard.update_dashboard({"dashboard": board, "overwrite": True})
    kept = dict.fromkeys((model["uid"] for model, _ in write_folder(tmp_path, pull(client))), "created")
    assert {"mine", UID} <= set(kept)
    assert {action for _, action in write_folder(tmp_path, pull(client))} == {"unchanged"}
    assert json.loads((tmp_path / "mine.json").read_text()) == board  # neither number nor version

    (tmp_path / "mine.json").write_text(json.dumps({**board, "title": "Mine, changed"}))
    boards = read_folder(tmp_path)
    changed = [each.name for each in differences(client, DataSources(), boards) if each.kind == "dashboard"]
    assert changed == ["Mine, changed"]
    assert actions(push(client, DataSources(), boards))["dashboard", "Mine, changed"] == "updated"
    assert differences(client, DataSources(), boards) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "Expecting property name"),
        ("[]", "needs a title"),
        ('{"uid": "a"}', "needs a title"),
        ('{"title": "x", "uid": "../a"}', "uid must be"),
        ('{"title": "x"}', "uid must be"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_a_file_that_is_no_dashboard_is_named_before_anything_is_pushed(tmp_path, text, told):
    (tmp_path / "one.json").write_text(text)
    with pytest.raises(DashboardError, match=told) as caught:
        read_folder(tmp_path)
    assert str(tmp_path / "one.json") in str(caught.value)


def test_a_folder_without_dashboards_and_one_with_a_uid_twice_are_refused(tmp_path):
    with pytest.raises(DashboardError, match="holds no dashboards"):
        read_folder(tmp_path)
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text('{"title": "x", "uid": "same"}')
    with pytest.raises(DashboardError, match="uid 'same', too"):
        read_folder(tmp_path)


def test_a_uid_that_leaves_the_folder_is_not_written(tmp_path):
    with pytest.raises(DashboardError, match="no file's name"):
        write_folder(tmp_path / "out", [{"uid": "ok", "title": "x"}, {"uid": "../up", "title": "x"}])
    assert not (tmp_path / "out").exists()


def test_the_calls_that_grafana_client_has_are_answered(client_of):
    client = client_of()
    push(client, DataSources())
    assert client.health.check()
    assert client.datasource.get_datasource_by_name("Prometheus")["uid"] == "prometheus"
    assert {each["name"] for each in client.datasource.list_datasources()} == {"Prometheus", "Jaeger"}
    assert client.datasource.get_datasource_by_id(1)["uid"] == "prometheus"
    assert client.datasource.get_datasource_id_by_name("Jaeger") == {"id": 2}
    made = client.datasource.create_datasource({"name": "Other", "type": "prometheus", "url": "http://127.0.0.1:1"})
    client.datasource.update_datasource_by_uid(made["datasource"]["uid"], {**made["datasource"], "name": "Another"})
    client.datasource.delete_datasource_by_name("Another")
    assert [each["uid"] for each in client.folder.get_all_folders()] == [FOLDER_UID]
    assert client.folder.get_folder(FOLDER_UID)["title"] == "Steersman"
    number = client.folder.get_folder(FOLDER_UID)["id"]
    assert client.folder.get_folder_by_id(number)["uid"] == FOLDER_UID
    client.folder.update_folder(FOLDER_UID, title="Ours", version=1)
    assert client.folder.get_folder(FOLDER_UID)["title"] == "Ours"
    assert [hit["uid"] for hit in client.search.search_dashboards(folder_uids=[FOLDER_UID])] == []
    assert client.dashboard.get_dashboards_tags() == [{"term": "steersman", "count": 7}]
    assert client.dashboard.get_home_dashboard()["dashboard"]["uid"] == UID
    client.folder.delete_folder(FOLDER_UID)


def test_annotations_of_a_dashboard_and_those_of_none_are_found_by_it(client_of):
    notes = client_of().annotations
    notes.add_annotation(dashboard_uid=UID, panel_id=3, time_from=5, time_to=6, tags=["a", "b"], text="x")
    notes.add_annotation(dashboard_uid="other", time_from=5, time_to=6, tags=["a"], text="y")
    notes.add_annotation(time_from=5, time_to=6, tags=["a"], text="z")
    assert {each["text"] for each in notes.find_annotations(time_from=1, time_to=9)} == {"x", "y", "z"}
    assert {each["text"] for each in notes.find_annotations(dashboard_uid=UID, time_to=9)} == {"x", "z"}
    assert {each["text"] for each in notes.find_annotations(panel_id=3, time_to=9)} == {"x"}
