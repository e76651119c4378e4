from __future__ import annotations

from pathlib import Path

import pytest

from collector.config import load, parse
from collector.errors import ConfigError


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "collector.yml"
    path.write_text(text)
    return path


def test_prometheus_keys_and_ours_are_read(tmp_path):
    config = load(
        write(
            tmp_path,
            """
            global: {scrape_interval: 5s, evaluation_interval: 1m30s, external_labels: {site: here}}
            rule_files: [rules/*.yml, /etc/rules.yml]
            scrape_configs:
              - job_name: shop
                file_sd_configs: [{files: [targets/*.json]}]
              - job_name: gateway
                scrape_interval: 2s
                static_configs: [{targets: ["127.0.0.1:8082"]}]
            alertmanager:
              route: {receiver: worker, group_by: [alertname]}
              receivers: [{name: worker, webhook_configs: [{url: "http://127.0.0.1:9095/hook"}]}]
            storage: {retention: 6h}
            limits: {max_requests: 3}
            """,
        )
    )
    assert config.global_.evaluation_interval == 90
    assert config.global_.external_labels == {"site": "here"}
    assert config.rule_files == [f"{tmp_path}/rules/*.yml", "/etc/rules.yml"]
    assert [(job.job_name, job.scrape_interval) for job in config.scrape_configs] == [("shop", 5), ("gateway", 2)]
    assert config.scrape_configs[0].file_sd_configs[0].files == (f"{tmp_path}/targets/*.json",)
    assert config.alertmanager is not None
    assert config.storage.retention == 6 * 3600
    assert config.limits.limits().max_requests == 3


@pytest.mark.parametrize("text", ["", "rule_files:\nscrape_configs:\nalertmanager:\n"])
def test_an_empty_file_has_defaults(tmp_path, text):
    config = load(write(tmp_path, text))
    assert config.scrape_configs == []
    assert config.alertmanager is None
    assert config.global_.scrape_interval == 60


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("scrape_config: []", "scrape_config: unknown key"),
        ("remote_write: [{url: http://x}]", "remote_write: not supported"),
        ("global: {evaluation_interval: fast}", "global.evaluation_interval: not a valid duration"),
        (
            "global: {evaluation_interval: 5}",
            "global.evaluation_interval: not a valid duration string: 5; a duration such as",
        ),
        ("limits: {max_requests: 0}", "limits.max_requests:"),
        ("storage: {retention: 1h, size: 3}", "storage.size: unknown key"),
        ("scrape_configs: [{job_name: a, colour: red}]", "colour"),
        ("scrape_configs: [{job_name: a}, {job_name: a}]", "two jobs of this name"),
        ("alertmanager: {route: {}}", "alertmanager"),
        ("alertmanager: {route: {receiver: a}, receivers: [{name: a}], nonsense: 1}", "nonsense"),
        ("[1, 2]", "collector.yml"),
        ("a: [", "not YAML"),
    ],
)
def test_what_is_wrong_is_named_with_file_and_key(tmp_path, text, message):
    with pytest.raises(ConfigError, match=r"collector\.yml") as caught:
        load(write(tmp_path, text))
    assert message in str(caught.value)


def test_a_missing_file_is_a_configuration_error(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.yml"):
        load(tmp_path / "absent.yml")


def test_every_problem_is_told_at_once():
    with pytest.raises(ConfigError) as caught:
        parse({"one": 1, "two": 2}, source="x.yml", directory=Path("/"))
    assert str(caught.value).splitlines() == ["x.yml: one: unknown key", "x.yml: two: unknown key"]
