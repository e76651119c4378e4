from __future__ import annotations

import pytest

from collector.model.text import bound_text
from collector.receivers.naming import LabelNaming, MetricType, Strategy, metric_name, unit_word

COUNTER, GAUGE, UP_DOWN, HISTOGRAM = (
    MetricType.COUNTER,
    MetricType.GAUGE,
    MetricType.NON_MONOTONIC,
    MetricType.HISTOGRAM,
)


@pytest.mark.parametrize(
    ("name", "unit", "kind", "expected"),
    [
        ("http.server.request.duration", "s", HISTOGRAM, "http_server_request_duration_seconds"),
        ("http.server.active_requests", "{request}", UP_DOWN, "http_server_active_requests"),
        ("shop.orders", "{order}", COUNTER, "shop_orders_total"),
        ("shop.orders.total", "", COUNTER, "shop_orders_total"),
        ("total.orders", "", COUNTER, "orders_total"),
        ("system.network.io", "By", COUNTER, "system_network_io_bytes_total"),
        ("system.cpu.utilization", "1", GAUGE, "system_cpu_utilization_ratio"),
        ("hit.ratio", "1", GAUGE, "hit_ratio"),
        ("queue.depth", "1", UP_DOWN, "queue_depth"),
        ("objects", "1", COUNTER, "objects_total"),
        ("disk.speed", "By/s", GAUGE, "disk_speed_bytes_per_second"),
        ("requests", "{request}/s", GAUGE, "requests_per_second"),
        ("duration_seconds", "s", GAUGE, "duration_seconds"),
        ("temperature", "Cel", GAUGE, "temperature_celsius"),
        ("load", "%", GAUGE, "load_percent"),
        ("memory", "MiBy", GAUGE, "memory_mebibytes"),
        ("fuel", "l", GAUGE, "fuel_l"),
        ("price", "€", GAUGE, "price"),
        ("a..b--c", "", GAUGE, "a_b_c"),
        ("ns:rule", "", GAUGE, "ns:rule"),
        ("2xx.responses", "", COUNTER, "_2xx_responses_total"),
        ("größe", "", GAUGE, "gr_e"),
        ("…", "s", GAUGE, ""),
    ],
)
def test_metric_names_follow_the_specification(name, unit, kind, expected):
    assert metric_name(name, unit, kind) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("http.route", "http_route"),
        ("service.instance.id", "service_instance_id"),
        ("k8s.pod/name", "k8s_pod_name"),
        ("a..b", "a__b"),
        ("2nd", "key_2nd"),
        ("_private", "key_private"),
        ("__reserved__", "__reserved__"),
        ("__x", "__x"),
        ("ä", ""),
        ("", ""),
    ],
)
def test_label_names_follow_the_specification(name, expected):
    assert LabelNaming().name(name) == expected


def test_attributes_whose_names_fall_together_share_a_label_in_the_order_of_their_names():
    assert LabelNaming().pairs([("a_b", "2"), ("a.b", "1"), ("c", "3")]) == {"a_b": "1;2", "c": "3"}


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (0.005, "0.005"),
        (1.0, "1"),
        (7500.0, "7500"),
        (1e21, "1000000000000000000000"),
        (1e-7, "0.0000001"),
        (float("inf"), "+Inf"),
    ],
)
def test_bounds_are_written_without_exponent_and_without_a_needless_point(bound, text):
    assert bound_text(bound) == text


@pytest.mark.parametrize(("unit", "word"), [("s", "seconds"), ("By/s", "bytes_per_second"), ("1", ""), ("{order}", "")])
def test_units_are_words_in_metadata(unit, word):
    assert unit_word(unit) == word


@pytest.mark.parametrize(
    ("strategy", "name", "unit", "kind", "expected"),
    [
        (Strategy.UNDERSCORES_WITHOUT_SUFFIXES, "http.requests", "By", COUNTER, "http_requests"),
        (Strategy.UNDERSCORES_WITHOUT_SUFFIXES, "a__b", "", GAUGE, "a__b"),
        (Strategy.UNDERSCORES_WITHOUT_SUFFIXES, "2xx", "", COUNTER, "_2xx"),
        (Strategy.UNDERSCORES_WITHOUT_SUFFIXES, "…", "", COUNTER, ""),
        (Strategy.UTF8_WITH_SUFFIXES, "http.requests", "", COUNTER, "http.requests_total"),
        (Strategy.UTF8_WITH_SUFFIXES, "http.requests.total", "", COUNTER, "http.requests_total"),
        (Strategy.UTF8_WITH_SUFFIXES, "größe", "By", GAUGE, "größe_bytes"),
        (Strategy.UTF8_WITH_SUFFIXES, "io.bytes", "By", COUNTER, "io.bytes_total"),
        (Strategy.UTF8_WITH_SUFFIXES, "disk.io", "By/s", GAUGE, "disk.io_bytes_per_second"),
        (Strategy.UTF8_WITH_SUFFIXES, "hit.ratio", "1", GAUGE, "hit_ratio"),
        (Strategy.NO_TRANSLATION, "http.requests", "By", COUNTER, "http.requests"),
    ],
)
def test_each_strategy_names_as_prometheuss_translator_does(strategy, name, unit, kind, expected):
    assert metric_name(name, unit, kind, strategy) == expected


def test_label_names_may_keep_what_the_configuration_says():
    assert LabelNaming(escapes=False).name("http.route") == "http.route"
    assert LabelNaming(preserve_multiple_underscores=False).name("a..b") == "a_b"
    assert LabelNaming(underscore_sanitization=False).name("_private") == "_private"
