from __future__ import annotations

import json

import pytest

from collector.receivers.scrape_config import ScrapeConfig
from collector.receivers.scrape_discovery import Discovery, TargetError, target_of

CONFIG = ScrapeConfig(job_name="shop", scrape_interval=1, params={"module": ["a", "b"]})


def test_a_target_has_job_and_instance_unless_it_brings_its_own():
    target = target_of(ScrapeConfig(job_name="shop"), "127.0.0.1:9", {})
    assert dict(target.labels) == {"job": "shop", "instance": "127.0.0.1:9"}
    assert target.url == "http://127.0.0.1:9/metrics"
    own = target_of(
        ScrapeConfig(job_name="shop"), "127.0.0.1:9", {"job": "catalog", "instance": "catalog-1", "zone": ""}
    )
    assert dict(own.labels) == {"job": "catalog", "instance": "catalog-1"}
    assert own.group == "scrape|catalog|catalog-1"


def test_double_underscore_labels_say_how_to_scrape_and_do_not_stay():
    labels = {
        "__metrics_path__": "/m",
        "__scheme__": "https",
        "__param_module": "c",
        "__scrape_interval__": "2s",
        "__scrape_timeout__": "5s",
        "__other": "x",
    }
    target = target_of(CONFIG, "host", labels)
    assert target.url == "https://host/m?module=c&module=b"
    assert (target.interval_s, target.timeout_s) == (2, 2)
    assert dict(target.labels) == {"job": "shop", "instance": "host:443"}
    assert dict(target.discovered)["__other"] == "x"


@pytest.mark.parametrize("address", ["", "http://host:1", "host:1/metrics", "host:notaport", "host:99999", ":80"])
def test_an_address_that_is_not_host_and_port_is_refused(address):
    with pytest.raises(TargetError, match="job shop"):
        target_of(CONFIG, address, {})


def test_files_are_followed_as_they_change_come_and_go(tmp_path):
    config = ScrapeConfig.model_validate(
        {"job_name": "shop", "file_sd_configs": [{"files": [f"{tmp_path}/*.json", f"{tmp_path}/x.yml"]}]}
    )
    discovery = Discovery(config)
    assert discovery.look() == []
    first = tmp_path / "a.json"
    first.write_text(json.dumps([{"targets": ["127.0.0.1:1"], "labels": {"instance": "a-1"}}]))
    (tmp_path / "x.yml").write_text("- targets: ['127.0.0.1:2', '127.0.0.1:2']\n")
    assert [dict(target.labels)["instance"] for target in discovery.look()] == ["a-1", "127.0.0.1:2"]
    first.write_text("[]")
    assert [target.url for target in discovery.look()] == ["http://127.0.0.1:2/metrics"]
    (tmp_path / "x.yml").unlink()
    assert discovery.look() == []


@pytest.mark.parametrize(
    "content", ["[{", '{"targets": []}', '[{"targets": "127.0.0.1:1"}]', '[{"target": []}]', b"\xff"]
)
def test_a_broken_file_keeps_the_targets_it_had(tmp_path, content):
    config = ScrapeConfig.model_validate({"job_name": "shop", "file_sd_configs": [{"files": [f"{tmp_path}/a.json"]}]})
    discovery = Discovery(config)
    path = tmp_path / "a.json"
    path.write_text('[{"targets": ["127.0.0.1:1"]}]')
    before = discovery.look()
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert discovery.look() == before != []
    assert discovery.failed_reads == 1
    discovery.look()
    assert discovery.failed_reads == 1  # not read again until it changes
    path.write_text("[]")
    assert discovery.look() == []


def test_a_wrong_target_does_not_keep_the_others_out():
    config = ScrapeConfig.model_validate(
        {"job_name": "shop", "static_configs": [{"targets": ["http://x/", "127.0.0.1:1"]}]}
    )
    assert [target.url for target in Discovery(config).look()] == ["http://127.0.0.1:1/metrics"]
