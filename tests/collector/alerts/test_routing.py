from __future__ import annotations

from typing import Any

import pytest

from collector.alerts.config import load_config
from collector.alerts.routing import RouteNode, route_tree
from collector.model.series import labels_of

ROUTES = {
    "receiver": "default",
    "group_by": ["alertname"],
    "group_wait": "1s",
    "routes": [
        {
            "receiver": "shop",
            "matchers": ["team=shop"],
            "routes": [
                {"receiver": "pager", "matchers": ["severity=critical"], "group_by": ["..."], "group_wait": "0s"}
            ],
        },
        {"receiver": "archive", "matchers": ['severity=~"critical|warning"'], "continue": True},
        {"receiver": "rest", "matchers": ["severity!=critical"]},
    ],
}


def tree(route: dict[str, Any] = ROUTES) -> RouteNode:
    names = ("default", "shop", "pager", "archive", "rest")
    return route_tree(load_config({"route": route, "receivers": [{"name": name} for name in names]}).route)


@pytest.mark.parametrize(
    ("labels", "receivers"),
    [
        ({"team": "shop", "severity": "critical"}, ["pager"]),
        ({"team": "shop", "severity": "warning"}, ["shop"]),
        ({"team": "x", "severity": "warning"}, ["archive", "rest"]),
        ({"team": "x", "severity": "critical"}, ["archive"]),
        ({}, ["rest"]),
        ({"team": "shop"}, ["shop"]),
    ],
)
def test_the_deepest_match_takes_the_alert_and_continue_lets_siblings_have_it(
    labels: dict[str, str], receivers: list[str]
) -> None:
    assert [node.receiver for node in tree().match(labels_of(labels))] == receivers


def test_alert_that_no_child_takes_stays_with_the_root() -> None:
    root = tree({"receiver": "default", "routes": [{"matchers": ["a=b"]}]})
    assert [node.key for node in root.match(labels_of({"c": "d"}))] == ["{}"]


def test_options_are_inherited_unless_given() -> None:
    shop = tree().children[0]
    pager = shop.children[0]
    assert (shop.group_wait_ms, shop.group_by) == (1000, frozenset({"alertname"}))
    assert (pager.group_wait_ms, pager.group_by, pager.group_interval_ms) == (0, None, 300_000)


def test_group_key_is_the_path_and_the_group_labels() -> None:
    labels = labels_of({"alertname": "Slow", "team": "shop", "severity": "critical"})
    root = tree()
    assert root.group_key(labels) == '{}:{alertname="Slow"}'
    assert root.children[0].group_key(labels) == '{}/{team="shop"}:{alertname="Slow"}'
    assert root.children[0].children[0].group_key(labels) == (
        '{}/{team="shop"}/{severity="critical"}:{alertname="Slow", severity="critical", team="shop"}'
    )
