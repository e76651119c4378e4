"""What unit-test files can say that promtool of Prometheus 2 does not know yet, and what they are told of mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from collector.rules import unit_test, unit_test_file
from collector.rules.unit_test import run_file

RULES = "groups: [{name: g, rules: [{record: third, expr: vector(0.1) + vector(0.2)}]}]\n"


@pytest.fixture
def write(tmp_path: Path):
    (tmp_path / "rules.yml").write_text(RULES)

    def to_file(text: str) -> Path:
        path = tmp_path / "test.yml"
        path.write_text(f"rule_files: [rules.yml]\n{text}")
        return path

    return to_file


async def test_neighbouring_floats_are_equal_when_compared_fuzzily(write) -> None:
    tests = "tests: [{promql_expr_test: [{expr: third, eval_time: 1m, exp_samples: [{labels: third, value: 0.3}]}]}]\n"
    assert len((await run_file(write(tests))).failures) == 1
    assert (await run_file(write("fuzzy_compare: true\n" + tests))).failures == ()


@pytest.mark.parametrize("start", ["1700000000", '"2023-11-14T22:13:20Z"'])
async def test_a_test_may_start_at_a_time_of_its_own(write, start: str) -> None:
    case = "{expr: time(), eval_time: 1m, exp_samples: [{labels: '{}', value: 1700000060}]}"
    verdict = await run_file(write(f"tests: [{{start_timestamp: {start}, promql_expr_test: [{case}]}}]\n"))
    assert verdict.failures == ()


HISTOGRAMS = """
tests:
  - interval: 1m
    input_series:
      - {series: 'h{job="a"}', values: '{{count:2 sum:3 buckets:[2]}}x3'}
      - {series: rising, values: '_ {{count:1 sum:1.2 buckets:[1]}}+{{count:1 sum:1.3 buckets:[1]}}x10'}
      - {series: both, values: '1 {{schema:1 count:3 z_bucket:1 z_bucket_w:0.5 buckets:[1 0 1] n_offset:-1}} stale'}
    promql_expr_test:
CASES
"""


@pytest.mark.parametrize(
    ("expr", "at", "expected"),
    [
        ('h{job="a"}', "2m", 'h{job="a"} {{count:2 sum:3 buckets:[2] counter_reset_hint:not_reset}}'),
        ("histogram_sum(h)", "1m", '{job="a"} 3'),
        ("rising", "2m", "rising {{sum:2.5 count:2 counter_reset_hint:not_reset buckets:[2]}}"),
        ("rate(rising[1m30s])", "3m", ("{} {{count:0.016666666666666666 sum:0.021666666666666664"
         " buckets:[0.016666666666666666] counter_reset_hint:gauge}}")),
        ("sum(rising) - sum(rising offset 1m)", "3m", ("{} {{count:1 sum:1.2999999999999998 buckets:[1]"
         " counter_reset_hint:gauge}}")),
        ("both", "0m", "both 1"),
        ("both", "1m", "both {{schema:1 count:3 z_bucket:1 z_bucket_w:5e-1 buckets:[1 0 1]}}"),
        ("both", "2m", None),
        ("count(rising)", "0m", None),
        ("recorded", "3m", "recorded {{count:3 sum:3.8 buckets:[3]}}"),
    ],
)  # fmt: skip
async def test_native_histograms_are_given_and_expected(write, tmp_path, expr, at, expected) -> None:
    (tmp_path / "rules.yml").write_text("groups: [{name: g, rules: [{record: recorded, expr: sum(rising)}]}]\n")
    wanted = []
    if expected is not None:
        labels, _, value = expected.partition(" ")
        wanted = [{"labels": labels, "histogram" if value.startswith("{") else "value": value}]
    case = f"      - {json.dumps({'expr': expr, 'eval_time': at, 'exp_samples': wanted})}"
    verdict = await run_file(write(HISTOGRAMS.replace("CASES", case)))
    assert verdict.failures == ()
    wrong = [{"labels": "{}", "histogram": "{{count:7 sum:NaN buckets:[7]}}"}]
    case = f"      - {json.dumps({'expr': expr, 'eval_time': at, 'exp_samples': wrong})}"
    (failure,) = (await run_file(write(HISTOGRAMS.replace("CASES", case)))).failures
    assert "exp: {} {{count:7 sum:NaN buckets:[7]}}" in failure


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ("{{schema:9}}", "histogram schema 9 is not within -4..8"),
        ("{{schema:1.5}}", "bad histogram descriptor: schema"),
        ("{{colour:1}}", 'bad histogram descriptor found: "colour"'),
        ("{{count:1 count:2}}", 'duplicate key "count" in histogram'),
        ("{{buckets:[1 x]}}", "unexpected 'x' in buckets of a histogram"),
        ("{{counter_reset_hint:maybe}}", "bad histogram descriptor: counter_reset_hint"),
        ("{{count:1}", "unexpected '{{count:1}' in series values"),
        ("{{count:1}}x3y", "unexpected '{{count:1}}x3y' in series values"),
        ("{{count:1}}+{{count:1}}", "unexpected '{{count:1}}+{{count:1}}' in series values"),
        ("{{schema:2}}+{{schema:1}}x2", "cannot merge from schema 1 to 2"),
        ("{{custom_values:[1 2]}}", "histograms with custom buckets (custom_values) are not supported"),
        ("{{count:1}}x999999", "exceed the limit of 10000 histograms"),
        ("{{offset:9999999999 buckets:[1]}}", "histogram offset 9999999999 is not within"),
    ],
)
async def test_a_wrong_histogram_is_named(write, values: str, problem: str) -> None:
    tests = f"tests: [{{interval: 1m, input_series: [{{series: h, values: '{values}'}}]}}]\n"
    (failure,) = (await run_file(write(tests))).failures
    assert problem in failure


async def test_endless_tests_are_refused(write) -> None:
    tests = "evaluation_interval: 1ms\ntests: [{promql_expr_test: [{expr: third, eval_time: 1y}]}]\n"
    (failure,) = (await run_file(write(tests))).failures
    assert f"more than {unit_test.MAX_EVALUATIONS} evaluations" in failure


async def test_endless_series_are_refused(write) -> None:
    tests = "tests: [{interval: 1m, input_series: [{series: a, values: 1x999999999}]}]\n"
    (failure,) = (await run_file(write(tests))).failures
    assert "exceed the limit" in failure


async def test_mistakes_are_named_with_their_key(write) -> None:
    (failure,) = (await run_file(write("tests: [{interval: 1 minute}]\n"))).failures
    assert "test.yml: tests[0].interval: not a valid duration" in failure


async def test_a_bomb_of_aliases_and_deep_nesting_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.yml"
    path.write_text("[" * (unit_test_file.MAX_DEPTH + 5) + "]" * (unit_test_file.MAX_DEPTH + 5))
    (failure,) = (await run_file(path)).failures
    assert "nested deeper" in failure


async def test_a_file_that_is_not_there_fails(tmp_path: Path) -> None:
    (failure,) = (await run_file(tmp_path / "none.yml")).failures
    assert "none.yml" in failure
