from __future__ import annotations

from pathlib import Path

import pytest

from collector.errors import ConfigError
from collector.receivers.scrape_config import duration_s, parse_scrape_configs

BASE = Path("/etc/steersman")


def parsed(**keys):
    (config,) = parse_scrape_configs([{"job_name": "shop", **keys}], base=BASE)
    return config


def test_defaults_are_prometheuss():
    config = parsed()
    assert (config.scrape_interval, config.timeout_s, config.metrics_path, config.scheme) == (
        60,
        10,
        "/metrics",
        "http",
    )
    assert parse_scrape_configs(None, base=BASE) == []


def test_global_values_apply_where_a_job_has_none():
    raw = [{"job_name": "a"}, {"job_name": "b", "scrape_interval": "1s"}]
    first, second = parse_scrape_configs(raw, base=BASE, defaults={"scrape_interval": "15s", "scrape_timeout": "5s"})
    assert (first.scrape_interval, first.timeout_s) == (15, 5)
    assert (second.scrape_interval, second.timeout_s) == (1, 1)


def test_relative_paths_are_relative_to_the_configuration_file():
    config = parsed(file_sd_configs=[{"files": ["targets/*.json"]}], bearer_token_file="token")
    assert config.file_sd_configs[0].files == ("/etc/steersman/targets/*.json",)
    assert config.authorization.credentials_file == Path("/etc/steersman/token")


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            {"kubernetes_sd_configs": [{}], "ec2_sd_configs": [{}]},
            "not supported: ec2_sd_configs, kubernetes_sd_configs",
        ),
        ({"proxy_url": "http://p"}, "job shop: not supported: proxy_url"),
        ({"oauth2": {"client_id": "x"}}, "not supported: oauth2"),
        ({"dns_sd_configs": [{"names": ["x"]}]}, "dns_sd_configs.0: type SRV is not supported"),
        (
            {"basic_auth": {}, "authorization": {"credentials": "x"}},
            "at most one of basic_auth, oauth2 & authorization",
        ),
        ({"tls_config": {"cert_file": "x"}}, "exactly one of cert and key is set"),
        ({"convert_classic_histograms_to_nhcb": True}, "not supported: convert_classic_histograms_to_nhcb"),
        ({"scrape_protocols": ["Prometheus"]}, "scrape_protocols.0: Input should be"),
        ({"relabel_configs": [{"action": "explode"}]}, 'relabel_configs.0.action: unknown relabel action "explode"'),
        ({"relabel_configs": [None]}, "relabel_configs.0"),
        ({"http_headers": {"Host": {"values": ["x"]}}}, 'setting header "Host" in http_headers is not allowed'),
        ({"static_configs": [{"targets": ["http://a/"]}]}, '"http://a/" is not a valid hostname'),
        (
            {"metric_name_validation_scheme": "legacy", "metric_name_escaping_scheme": "allow-utf-8"},
            "utf8 metric names requested",
        ),
        ({"scrape_interval": 5}, "scrape_interval: not a valid duration string: 5"),
        ({"scrape_intervall": "1s"}, "job shop: scrape_intervall: unknown key"),
        ({"scrape_interval": "soon"}, "scrape_interval: not a valid duration string: 'soon'"),
        ({"scrape_interval": "1s", "scrape_timeout": "2s"}, "scrape_timeout 2 s is longer than scrape_interval 1 s"),
        ({"static_configs": [{"targets": ["a:1"], "labels": {"": "c"}}]}, "a label's name is empty"),
        ({"file_sd_configs": [{"files": ["targets.txt"]}]}, "must end in .json, .yml or .yaml"),
        ({"authorization": {"type": "Bearer"}}, "exactly one of credentials and credentials_file"),
        ({"sample_limit": -1}, "sample_limit: Input should be greater than or equal to 0"),
        ({"scheme": "ftp"}, "scheme: Input should be 'http' or 'https'"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_job_and_key(keys, message):
    with pytest.raises(ConfigError) as caught:
        parsed(**keys)
    assert message in str(caught.value)


def test_two_jobs_of_one_name_are_refused():
    with pytest.raises(ConfigError, match="job shop: there are two jobs"):
        parse_scrape_configs([{"job_name": "shop"}, {"job_name": "shop"}], base=BASE)


def test_a_secret_is_not_in_the_message_of_an_error():
    with pytest.raises(ConfigError) as caught:
        parsed(authorization={"type": "basic", "credentials": "hunter2"})
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(parsed(authorization={"credentials": "hunter2"}))


@pytest.mark.parametrize(("text", "seconds"), [("1s", 1), ("500ms", 0.5), ("1m30s", 90), ("1d", 86_400), ("0", 0)])
def test_durations_are_seconds(text, seconds):
    assert duration_s(text) == seconds


@pytest.mark.parametrize(("text", "size"), [("1KB", 1024), ("2MiB", 2 * 1024**2), ("100", 100), ("10B", 10), (7, 7)])
def test_sizes_are_bytes(text, size):
    assert parsed(body_size_limit=text).body_limit == size
