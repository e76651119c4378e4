from __future__ import annotations

import pytest
from pydantic import ValidationError

from collector.receivers.relabel import RelabelRule, relabelled

LABELS = {"a": "foo", "b": "bar", "c": "baz"}


def after(*rules: dict[str, object], **labels: str) -> dict[str, str] | None:
    return relabelled(labels or LABELS, [RelabelRule.model_validate(rule) for rule in rules])


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # the cases of Prometheus's own relabel_test.go, in their order of ideas
        (
            {"source_labels": ["a"], "regex": "f(.*)", "target_label": "d", "replacement": "ch${1}-ch${1}"},
            LABELS | {"d": "choo-choo"},
        ),
        (
            {"source_labels": ["a", "b"], "regex": "f(.*);(.*)r", "target_label": "a", "replacement": "b${1}${2}m"},
            LABELS | {"a": "boobam"},
        ),
        ({"source_labels": ["a"], "regex": ".*o.*", "action": "drop"}, None),
        ({"source_labels": ["a"], "regex": "no-match", "action": "drop"}, LABELS),
        ({"source_labels": ["a"], "regex": "f|o", "action": "drop"}, LABELS),
        ({"source_labels": ["a"], "regex": "no-match", "action": "keep"}, None),
        ({"source_labels": ["a"], "regex": "f.*", "action": "Keep"}, LABELS),
        ({"source_labels": ["a"], "regex": "f", "target_label": "b", "replacement": "bar"}, LABELS),
        ({"regex": "f.*", "target_label": "b", "replacement": "x"}, LABELS),
        ({"target_label": "b", "replacement": ""}, {"a": "foo", "c": "baz"}),
        ({"source_labels": ["missing"], "target_label": "b"}, {"a": "foo", "c": "baz"}),
        ({"source_labels": ["c"], "target_label": "d", "action": "hashmod", "modulus": 1000}, LABELS | {"d": "976"}),
        ({"regex": "(b.*)", "replacement": "bar_${1}", "action": "labelmap"}, LABELS | {"bar_b": "bar"}),
        ({"regex": "(b.*)", "action": "labeldrop"}, {"a": "foo", "c": "baz"}),
        ({"regex": "(b.*)", "action": "labelkeep"}, {"b": "bar"}),
        ({"source_labels": ["a"], "target_label": "d", "action": "uppercase"}, LABELS | {"d": "FOO"}),
        ({"source_labels": ["a"], "target_label": "a", "action": "lowercase"}, LABELS),
        ({"source_labels": ["a"], "target_label": "b", "action": "keepequal"}, None),
        ({"source_labels": ["a"], "target_label": "b", "action": "dropequal"}, LABELS),
        ({"source_labels": ["a"], "target_label": "a", "action": "dropequal"}, None),
        ({"source_labels": ["a"], "target_label": "${1}_x"}, LABELS | {"foo_x": "foo"}),
        ({"source_labels": ["a"], "target_label": "x$1y", "replacement": "v"}, LABELS | {"x": "v"}),
        ({"source_labels": ["a"], "regex": "f(?P<rest>.*)", "target_label": "d", "replacement": "$rest$$$2"},
         LABELS | {"d": "oo$"}),
    ],
)  # fmt: skip
def test_each_action_does_what_prometheuss_does(rule, expected):
    assert after(rule) == expected


def test_rules_are_applied_in_order_and_end_at_the_first_that_drops():
    rules = [
        {"source_labels": ["a"], "target_label": "d", "replacement": "$1-1"},
        {"source_labels": ["d"], "regex": "foo-1", "action": "keep"},
        {"source_labels": ["d"], "target_label": "e", "action": "uppercase"},
    ]
    assert after(*rules) == LABELS | {"d": "foo-1", "e": "FOO-1"}
    assert after(*rules, {"source_labels": ["e"], "regex": "FOO.*", "action": "drop"}, rules[0]) is None


def test_a_dot_matches_a_line_break_and_letters_are_mapped_one_by_one():
    assert after({"source_labels": ["a"], "regex": "x.y", "action": "drop"}, a="x\ny") is None
    assert after({"source_labels": ["a"], "target_label": "b", "action": "uppercase"}, a="ßé")["b"] == "ßÉ"
    assert after({"source_labels": ["a"], "target_label": "b", "action": "lowercase"}, a="İΣ")["b"] == "iσ"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"action": "explode"}, 'unknown relabel action "explode"'),
        ({"action": "replace"}, "requires 'target_label' value"),
        ({"action": "hashmod", "target_label": "d"}, "requires non-zero modulus"),
        ({"target_label": "a$"}, "is invalid 'target_label' for replace action"),
        ({"action": "lowercase", "target_label": "a", "replacement": "x"}, "'replacement' can not be set"),
        ({"action": "labelmap", "replacement": ""}, "is invalid 'replacement' for labelmap"),
        ({"action": "labelkeep", "source_labels": ["a"]}, "requires only 'regex'"),
        ({"action": "dropequal", "target_label": "a", "regex": "x"}, "requires only 'source_labels'"),
        ({"action": "keep", "regex": "(?=x)"}, "bad regular expression '(?=x)'"),
        ({"action": "keep", "regex": "("}, "missing )"),
        ({"action": "keep", "colour": "red"}, "colour"),
    ],
)
def test_a_wrong_rule_is_refused_as_prometheus_refuses_it(rule, message):
    with pytest.raises(ValidationError) as caught:
        RelabelRule.model_validate(rule)
    assert message in str(caught.value)


def test_a_regular_expression_that_would_take_a_backtracking_engine_for_ever_ends_at_once():
    assert after({"source_labels": ["a"], "regex": "(x+x+)+y", "action": "drop"}, a="x" * 5000) == {"a": "x" * 5000}
