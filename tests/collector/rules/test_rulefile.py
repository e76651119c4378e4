from __future__ import annotations

from pathlib import Path

import pytest

from collector.rules.rule import AlertingRule, RecordingRule
from collector.rules.rulefile import RuleFileError, check, load, parse

GOOD = """
groups:
  - name: shop
    interval: 1500ms
    limit: 10
    query_offset: 2s
    labels: {team: shop, tier: "1"}
    rules:
      - record: job:latency:max
        expr: max by (job) (latency)
        labels: {tier: ""}
      - alert: Slow
        expr: job:latency:max > 0.5
        for: 1m30s
        keep_firing_for: 10s
        labels: {severity: critical, on: yes}
        annotations:
          summary: "{{ $labels.job }} is slow"
"""


def problems(text: str) -> list[str]:
    with pytest.raises(RuleFileError) as caught:
        parse(text, "r.yml")
    return [str(problem) for problem in caught.value.problems]


def rule(text: str) -> str:
    return "groups:\n- name: g\n  rules:\n  - " + text.replace("\n", "\n    ")


def test_every_key_of_a_group_and_its_rules_is_read() -> None:
    (group,) = parse(GOOD, "r.yml")
    assert (group.key, group.interval_ms, group.limit, group.query_offset_ms) == ("r.yml;shop", 1500, 10, 2000)
    labels = (("on", "yes"), ("severity", "critical"), ("team", "shop"), ("tier", "1"))
    assert group.rules == (
        RecordingRule("job:latency:max", "max by (job) (latency)", (("team", "shop"), ("tier", "")), 9),
        AlertingRule(
            name="Slow",
            expr="job:latency:max > 0.5",
            labels=labels,
            annotations=(("summary", "{{ $labels.job }} is slow"),),
            line=12,
            for_ms=90_000,
            keep_firing_for_ms=10_000,
        ),
    )
    assert [rule.line for rule in group.rules] == [9, 12]


def test_moved_rule_is_the_same_rule() -> None:
    assert parse(GOOD, "r.yml") == parse("# a comment\n" + GOOD, "r.yml")


@pytest.mark.parametrize("text", ["", "groups:", "groups: []", "# nothing"])
def test_file_without_groups_is_good(text: str) -> None:
    assert parse(text, "r.yml") == []


def test_anchors_and_merge_keys_are_followed() -> None:
    text = rule("alert: A\nexpr: up\nlabels: &l {a: b}\n") + "\n  - alert: B\n    expr: up\n    labels: {<<: *l, c: d}"
    (group,) = parse(text, "r.yml")
    assert group.rules[1].labels == (("a", "b"), ("c", "d"))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            rule("alert: A\nexpr: sum("),
            '5:11: group "g", rule 1, "A": could not parse expression: 1:5: parse error: unclosed left parenthesis',
        ),
        (rule("alert: A"), "4:5: group \"g\", rule 1, \"A\": field 'expr' must be set in rule"),
        (rule("expr: up"), "4:5: group \"g\", rule 1, \"\": one of 'record' or 'alert' must be set"),
        (
            rule("alert: A\nrecord: a\nexpr: up"),
            "4:5: group \"g\", rule 1, \"a\": only one of 'record' and 'alert' must be set",
        ),
        (
            rule("record: a\nexpr: up\nfor: 1m"),
            "6:10: group \"g\", rule 1, \"a\": invalid field 'for' in recording rule",
        ),
        (rule("record: a b\nexpr: up"), '4:13: group "g", rule 1, "a b": invalid recording rule name: a b'),
        (rule("alert: A\nexpr: up\nfor: soon"), '6:10: group "g", rule 1, "A": not a valid duration string: \'soon\''),
        (rule("alert: A\nexpr: up\nlabels: {a-b: c}"), '6:19: group "g", rule 1, "A": invalid label name: a-b'),
        (
            rule("alert: A\nexpr: up\nannotations: {s: '{{ nope }}'}"),
            (
                '6:22: group "g", rule 1, "A": annotation "s": error parsing template __alert_A: '
                'template: __alert_A:1: function "nope" not defined'
            ),
        ),
        (rule("alert: A\nexpr: up\nfro: 1m"), '6:5: group "g", rule 1, "A": field fro not found in type rulefmt.Rule'),
        ("groups:\n- name: g\n- name: g", '3:3: groupname: "g" is repeated in the same file'),
        ("groups:\n- rules: []", "2:3: Groupname must not be empty"),
        ("group: []", "1:1: field group not found in type rulefmt.RuleGroups"),
        ("groups: 3", "1:9: cannot unmarshal !!int `3` into []rulefmt.RuleGroup"),
        ("groups:\n- name: g\n  limit: many", "3:10: cannot unmarshal 'many' into int"),
        ("groups: [", "2:1: yaml: did not find expected node content"),
    ],
)  # fmt: skip
def test_problem_names_file_line_group_and_rule(text: str, problem: str) -> None:
    assert f"r.yml: {problem}" in problems(text)


def test_all_problems_of_a_file_are_told_at_once() -> None:
    assert len(problems(rule("alert: A\nexpr: sum(\nfor: x\nfro: y"))) == 3


def test_check_reads_files_and_tells_of_each(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yml", tmp_path / "bad.yml"
    good.write_text(GOOD)
    bad.write_bytes(b"\xff\xfe")
    assert check([good]) == []
    assert [problem.file for problem in check([good, bad, tmp_path / "none.yml"])] == [
        str(bad),
        str(tmp_path / "none.yml"),
    ]
    assert load(good)[0].name == "shop"


def test_a_group_without_a_query_offset_takes_the_global_one() -> None:
    text = "groups: [{name: a}, {name: b, query_offset: 0s}, {name: c, query_offset: 5s}]"
    assert [group.query_offset_ms for group in parse(text, "r.yml", query_offset_ms=2000)] == [2000, 0, 5000]
