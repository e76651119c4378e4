"""What unit-test files can say that promtool of Prometheus 2 does not know yet, and what they are told of mistakes."""

from __future__ import annotations

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


async def test_a_native_histogram_is_refused_by_name(write) -> None:
    tests = "tests: [{interval: 1m, input_series: [{series: h, values: '{{schema:0 count:1}}'}]}]\n"
    (failure,) = (await run_file(write(tests))).failures
    assert "native histograms" in failure


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
