from __future__ import annotations

import json

import pytest

from collector.receivers.scrape_config import ScrapeConfig
from collector.receivers.scrape_discovery import Discovery
from collector.receivers.scrape_target import DroppedTarget, TargetError, target_of

CONFIG = ScrapeConfig(job_name="shop", scrape_interval="1s", scrape_timeout="1s", params={"module": ("a", "b")})


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
        "__scrape_timeout__": "1s",
        "__other": "x",
    }
    target = target_of(CONFIG, "host", labels)
    assert target.url == "https://host/m?module=c&module=b"
    assert (target.interval_s, target.timeout_s) == (2, 1)
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
    assert discovery.look().targets == []
    first = tmp_path / "a.json"
    first.write_text(json.dumps([{"targets": ["127.0.0.1:1"], "labels": {"instance": "a-1"}}]))
    (tmp_path / "x.yml").write_text("- targets: ['127.0.0.1:2', '127.0.0.1:2']\n")
    assert [dict(target.labels)["instance"] for target in discovery.look().targets] == ["a-1", "127.0.0.1:2"]
    first.write_text("[]")
    assert [target.url for target in discovery.look().targets] == ["http://127.0.0.1:2/metrics"]
    (tmp_path / "x.yml").unlink()
    assert discovery.look().targets == []


@pytest.mark.parametrize(
    "content", ["[{", '{"targets": []}', '[{"targets": "127.0.0.1:1"}]', '[{"target": []}]', b"\xff"]
)
def test_a_broken_file_keeps_the_targets_it_had(tmp_path, content):
    config = ScrapeConfig.model_validate({"job_name": "shop", "file_sd_configs": [{"files": [f"{tmp_path}/a.json"]}]})
    discovery = Discovery(config)
    path = tmp_path / "a.json"
    path.write_text('[{"targets": ["127.0.0.1:1"]}]')
    before = discovery.look().targets
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert discovery.look().targets == before != []
    assert discovery.failed_reads == 1
    discovery.look()
    assert discovery.failed_reads == 1  # not read again until it changes
    path.write_text("[]")
    assert discovery.look().targets == []


def found(**keys: object):
    return Discovery(ScrapeConfig.model_validate({"job_name": "shop", **keys})).look()


def test_a_wrong_target_does_not_keep_the_others_out():
    at = found(static_configs=[{"targets": ["127.0.0.1:x", "127.0.0.1:1"]}])
    assert [target.url for target in at.targets] == ["http://127.0.0.1:1/metrics"]


def test_targets_are_relabelled_and_those_left_out_are_shown_up_to_a_number():
    at = found(
        static_configs=[{"targets": ["a", "b:1", "c:1", "d:1"], "labels": {"__meta_zone": "x", "keep": "1"}}],
        keep_dropped_targets=1,
        relabel_configs=[
            {"source_labels": ["__address__"], "regex": "[cd].*", "action": "drop"},
            {"source_labels": ["__meta_zone"], "target_label": "zone"},
            {"source_labels": ["__address__"], "regex": "(.*):.*", "target_label": "__param_target"},
            {"source_labels": ["zone"], "target_label": "__metrics_path__", "replacement": "/probe/$1"},
        ],
    )
    assert [target.url for target in at.targets] == ["http://a/probe/x", "http://b:1/probe/x?target=b"]
    assert dict(at.targets[0].labels) == {"job": "shop", "instance": "a:80", "zone": "x", "keep": "1"}
    assert at.dropped_count == 2
    assert [isinstance(each, DroppedTarget) and dict(each.discovered)["__address__"] for each in at.dropped] == ["c:1"]
    assert "__meta_zone" in dict(at.dropped[0].discovered)


def test_more_targets_than_the_limit_are_a_problem_of_all_of_them():
    at = found(static_configs=[{"targets": ["a:1", "b:1"]}], target_limit=1)
    assert at.problem == "target_limit exceeded (number of targets: 2, limit: 1)"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"target_label": "__address__", "replacement": ""}, "no address"),
        ({"target_label": "__scheme__", "replacement": "ftp"}, 'invalid scheme: "ftp"'),
        ({"target_label": "__scrape_interval__", "replacement": "soon"}, "error parsing scrape interval"),
        ({"target_label": "__scrape_interval__", "replacement": "0s"}, "scrape interval cannot be 0"),
        ({"target_label": "__scrape_timeout__", "replacement": "2h"}, "scrape timeout cannot be greater"),
    ],
)
def test_what_relabelling_makes_of_a_target_is_checked(rule, message):
    config = ScrapeConfig.model_validate({"job_name": "shop", "relabel_configs": [rule]})
    with pytest.raises(TargetError, match=message):
        target_of(config, "a:1", {})
