from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

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


PROMETHEUS = """
global:
  scrape_interval: 15s
  query_log_file: queries.log
  external_labels: {site: "${SITE_NAME}-$$"}
runtime: {gogc: 50}
tracing: {endpoint: "localhost:4317"}
otlp: {promote_resource_attributes: [cloud.region]}
storage:
  tsdb: {out_of_order_time_window: 30m, retention: {time: 3d, size: 2GB}}
  exemplars: {max_exemplars: 5}
remote_write: []
rule_files:
scrape_config_files: ["more/*.yml"]
scrape_configs:
  - job_name: all
    scrape_interval: 0s
    scrape_failure_log_file: failures.log
    sample_limit: 7
    basic_auth: {username: me, password: hunter2}
    http_headers: {X-Token: {secrets: [hunter3]}}
    http_sd_configs: [{url: "http://me:hunter4@sd/", authorization: {credentials: hunter5}}]
    tls_config: {cert_file: c.pem, key: hunter6}
    relabel_configs: [{action: drop, source_labels: [key], regex: "x"}]
    static_configs: [{targets: ["a:1"], labels: {key: shown}}]
alertmanager:
  route: {receiver: hook}
  receivers: [{name: hook, webhook_configs: [{url: "http://hooks/hunter7"}]}]
"""


def test_a_whole_prometheus_file_loads_and_says_what_has_no_effect(tmp_path, monkeypatch):
    monkeypatch.setenv("SITE_NAME", "north")
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "a.yml").write_text("scrape_configs: [{job_name: added, tls_config: {ca_file: ca.pem}}]")
    config = load(write(tmp_path, PROMETHEUS))
    assert config.global_.external_labels == {"site": "north-$"}
    assert (config.storage.metrics_retention, config.storage.tsdb.out_of_order_time_window) == (3 * 86_400, 1800)
    assert config.storage.tsdb.retention.size == 2 * 1024**3
    every, added = config.scrape_configs
    assert (every.scrape_interval, every.timeout_s, every.sample_limit) == (15, 10, 7)
    assert added.tls_config is not None
    assert added.tls_config.ca_file == tmp_path / "more" / "ca.pem"
    assert [text.partition(": ")[2].partition(" has no effect")[0] for text in config.warnings] == [
        "runtime",
        "tracing",
        "global.query_log_file",
        "scrape_failure_log_file of job all",
    ]


def test_a_configuration_is_shown_without_its_secrets(tmp_path):
    text = load(write(tmp_path, PROMETHEUS)).text
    assert "hunter" not in text
    assert text.count("<secret>") == 5
    assert "http://me:xxxxx@sd/" in text
    assert "key: shown" in text
    shown = yaml.safe_load(text)
    assert next(iter(shown)) == "global"
    assert shown["global"]["scrape_interval"] == "15s"
    assert shown["scrape_configs"][0]["relabel_configs"] == [{"action": "drop", "source_labels": ["key"], "regex": "x"}]


def test_an_error_does_not_tell_a_secret(tmp_path):
    for broken in (
        "password: [hunter2]",
        "password: hunter2, passwort: hunter2",
        "password_file: x, password: hunter2",
    ):
        with pytest.raises(ConfigError) as caught:
            load(write(tmp_path, f"scrape_configs: [{{job_name: a, basic_auth: {{{broken}}}}}]"))
        assert "hunter" not in str(caught.value)


CHECKED = [
    "",
    "global: {scrape_interval: 5s, scrape_timeout: 6s}",
    "global: {scrape_interval: 5}",
    "global: {external_labels: {a: b}}",
    "global: {colour: red}",
    "scrape_configs: [{}]",
    "scrape_configs: [{job_name: a}, {job_name: a}]",
    "scrape_configs: [{job_name: a, scrape_interval: 5s, scrape_timeout: 6s}]",
    "scrape_configs: [{job_name: a, scrape_interval: 5s}]",
    "scrape_configs: [{job_name: a, scrape_interval: 1h30m2s5ms}]",
    "scrape_configs: [{job_name: a, scrape_interval: 0s}]",
    "scrape_configs: [{job_name: a, static_configs: [{targets: ['http://a/']}]}]",
    "scrape_configs: [{job_name: a, static_configs: [{target: [b]}]}]",
    "scrape_configs: [{job_name: a, file_sd_configs: [{files: [a.txt]}]}]",
    "scrape_configs: [{job_name: a, http_sd_configs: [{url: 'ftp://a'}]}]",
    "scrape_configs: [{job_name: a, http_sd_configs: [{url: 'http://a', refresh_interval: 5s}]}]",
    "scrape_configs: [{job_name: a, dns_sd_configs: [{names: [a], type: A, port: 5}]}]",
    "scrape_configs: [{job_name: a, dns_sd_configs: [{names: [a], type: A}]}]",
    "scrape_configs: [{job_name: a, dns_sd_configs: [{names: [], type: A, port: 5}]}]",
    "scrape_configs: [{job_name: a, relabel_configs: [{action: replace}]}]",
    "scrape_configs: [{job_name: a, relabel_configs: [{action: hashmod, target_label: b}]}]",
    "scrape_configs: [{job_name: a, metric_relabel_configs: [{regex: '(', action: drop}]}]",
    "scrape_configs: [{job_name: a, metric_relabel_configs: [{regex: 5, action: Drop, source_labels: [b]}]}]",
    "scrape_configs: [{job_name: a, basic_auth: {username: a, password: b, password_file: c}}]",
    "scrape_configs: [{job_name: a, basic_auth: {username: a}, bearer_token: b}]",
    "scrape_configs: [{job_name: a, authorization: {type: Basic, credentials: b}}]",
    "scrape_configs: [{job_name: a, bearer_token: a, bearer_token_file: b}]",
    "scrape_configs: [{job_name: a, params: {b: [c, d]}, honor_labels: true, follow_redirects: false}]",
    "scrape_configs: [{job_name: a, enable_http2: false, label_name_length_limit: 5, label_value_length_limit: 6}]",
    "scrape_configs: [{job_name: a, body_size_limit: 1.5GB}]",
    "scrape_configs: [{job_name: a, body_size_limit: much}]",
    "storage: {tsdb: {out_of_order_time_window: 1h}, exemplars: {max_exemplars: 5}}",
    "storage: {tsdb: {out_of_order_time_window: long}}",
    "rule_files: [rules/*.yml]",
    "tracing: {endpoint: 'a:1'}",
    "scrape_configs: {job_name: a}",
    "not_a_key: 1",
]


@pytest.mark.peer
def test_promtool_takes_and_refuses_the_same_files(tmp_path):
    if shutil.which("promtool") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have promtool on PATH")
        pytest.skip("promtool is not on PATH")
    paths = [tmp_path / f"{number}.yml" for number in range(len(CHECKED))]
    for path, text in zip(paths, CHECKED, strict=True):
        path.write_text(text)
    command = ["promtool", "check", "config", "--syntax-only", *paths]
    said = subprocess.run(command, capture_output=True, text=True, timeout=60).stdout
    verdicts = []
    for path, text in zip(paths, CHECKED, strict=True):
        try:
            load(path)
            ours = "taken"
        except ConfigError as error:
            ours = f"refused: {error}"
        if (ours == "taken") != (f"SUCCESS: {path} is valid" in said):
            verdicts.append(f"{text}: {ours}, by promtool it is the other way round")
    assert not verdicts, "\n".join(verdicts)
    assert 5 < said.count("SUCCESS") < len(CHECKED) - 5
