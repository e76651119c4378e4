"""
Every case of testdata/*.test, over blocks without holes and over blocks full of them. The format is in the spirit of
Prometheus's promqltest:

    clear                                 forget every series
    load STEP                             then indented lines: SERIES VALUES
    eval instant at TIME EXPR             then indented lines: LABELS VALUE, or one VALUE for a scalar
    eval range from A to B step S EXPR    then indented lines: LABELS VALUE… with _ where there is none
    eval fail instant at TIME EXPR        then one indented line: what the error says

VALUES are numbers, `A+BxN` (A, A+B, … N more), `AxN` (A, N more), `_` (no sample), `_xN`, `stale`.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import promql_parser
import pytest

from collector.errors import CollectorError
from collector.model.duration import parse_duration_ms
from collector.model.series import ABSENT, METRIC_NAME, STALE, Block, Labels, Vector, is_absent, labels_of
from collector.query.memory import MemorySource
from collector.query.promql.engine import Engine
from collector.query.promql.values import Scalar, display

_REPEATED = re.compile(r"(-?[\d.]+(?:e[+-]?\d+)?)(?:([+-][\d.]+(?:e[+-]?\d+)?))?x(\d+)")


def parse_series(text: str) -> Labels:
    selector = promql_parser.parse(text)
    named = {METRIC_NAME: selector.name} if selector.name else {}
    return labels_of(named | {matcher.name: matcher.value for matcher in selector.matchers.matchers})


def parse_labels(text: str) -> Labels:
    """As `parse_series`, and `{}` too, which is no selector."""
    return () if text == "{}" else parse_series(text)


def parse_values(texts: list[str]) -> list[float]:
    values: list[float] = []
    for text in texts:
        if text == "_":
            values.append(ABSENT)
        elif text == "stale":
            values.append(STALE)
        elif match := re.fullmatch(r"_x(\d+)", text):
            values += [ABSENT] * int(match[1])
        elif match := _REPEATED.fullmatch(text):
            first, step, count = float(match[1]), float(match[2] or 0), int(match[3])
            values += [first + step * number for number in range(count + 1)]
        else:
            values.append(float(text))
    return values


def parse_time_ms(text: str) -> int:
    return int(float(text) * 1000) if re.fullmatch(r"-?[\d.]+", text) else parse_duration_ms(text)


@dataclass
class Case:
    line: int
    expr: str
    times: tuple[int, int, int]  # first, last, step in milliseconds; a step of 0 is an instant query
    fails: bool
    blocks: list[Block]
    expected: list[str] = field(default_factory=list)


def _block(step_ms: int, lines: list[str]) -> Block:
    labels, rows = [], []
    for line in lines:
        match = re.fullmatch(r"(\S*\{.*\}|\w+)\s+(.*)", line)
        assert match is not None, line
        labels.append(parse_series(match[1]))
        rows.append(parse_values(match[2].split()))
    width = max(len(row) for row in rows)
    values = np.full((len(rows), width), ABSENT)
    for target, row in zip(values, rows, strict=True):
        target[: len(row)] = row
    return Block(tuple(labels), np.arange(width, dtype=np.int64) * step_ms, values)


def read_cases(text: str) -> list[Case]:
    cases: list[Case] = []
    blocks: list[Block] = []
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.split("#")[0].strip()]
    at = 0
    while at < len(lines):
        number, head = lines[at]
        at += 1
        body = []
        while at < len(lines) and lines[at][1].startswith(" "):
            body.append(lines[at][1].strip())
            at += 1
        if head == "clear":
            blocks = []
        elif head.startswith("load "):
            blocks = [*blocks, _block(parse_duration_ms(head.split()[1]), body)]
        elif match := re.fullmatch(r"eval (fail )?instant at (\S+) (.*)", head):
            time = parse_time_ms(match[2])
            cases.append(Case(number, match[3], (time, time, 0), bool(match[1]), blocks, body))
        elif match := re.fullmatch(r"eval (fail )?range from (\S+) to (\S+) step (\S+) (.*)", head):
            times = (parse_time_ms(match[2]), parse_time_ms(match[3]), parse_time_ms(match[4]))
            cases.append(Case(number, match[5], times, bool(match[1]), blocks, body))
        else:
            raise AssertionError(f"line {number}: not understood: {head}")
    return cases


def parse_expected(lines: list[str]) -> dict[Labels, list[float]]:
    found = {}
    for line in lines:
        labels, values = re.fullmatch(r"(?:(\S*\{.*\}|[a-zA-Z_]\w*)\s+)?(.*)", line).groups()  # type: ignore[union-attr]
        found[parse_labels(labels or "{}")] = parse_values(values.split())
    return found


def same(one: float, other: float) -> bool:
    absent = is_absent(np.array([one, other]))
    if absent.any():
        return bool(absent.all())
    if math.isnan(one) or math.isnan(other):
        return math.isnan(one) and math.isnan(other)
    return one == other or math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-12)


def with_shared_blocks(blocks: list[Block]) -> MemorySource:
    """The series as they are loaded, but those without holes in blocks of their own."""
    split = []
    for block in blocks:
        complete = ~is_absent(block.values).any(axis=1)
        for rows in (np.flatnonzero(complete), np.flatnonzero(~complete)):
            if len(rows):
                labels = tuple(block.labels[row] for row in rows.tolist())
                split.append(Block(labels, block.timestamps_ms, np.ascontiguousarray(block.values[rows])))
    return MemorySource(split)


def with_holes(blocks: list[Block]) -> MemorySource:
    """The same samples, with two timestamps more between all others, at which no series has a sample."""
    spread = []
    for block in blocks:
        times = block.timestamps_ms
        more = np.unique(np.concatenate([times, times + 1, times - 1]))
        values = np.full((len(block.labels), len(more)), ABSENT)
        values[:, np.searchsorted(more, times)] = block.values
        spread.append(Block(block.labels, more, values))
    return MemorySource(spread)


SOURCES = {"shared": with_shared_blocks, "holes": with_holes}


CASES = [
    pytest.param(case, id=f"{path.stem}:{case.line} {case.expr}")
    for path in sorted((Path(__file__).parent / "testdata").glob("*.test"))
    for case in read_cases(path.read_text())
]


@pytest.mark.parametrize("layout", list(SOURCES))
@pytest.mark.parametrize("case", CASES)
def test_case_is_answered_as_written(case: Case, layout: str) -> None:
    engine = Engine(SOURCES[layout](case.blocks))
    if case.fails:
        with pytest.raises(CollectorError, match=re.escape(case.expected[0]) if case.expected else ""):
            _answer(engine, case)
        return
    expected = parse_expected(case.expected)
    actual = _answer(engine, case)
    assert actual.keys() == expected.keys()
    for labels, values in expected.items():
        assert len(values) == len(actual[labels]), f"{display(labels)}: {actual[labels]}"
        pairs = zip(values, actual[labels], strict=True)
        assert all(same(one, other) for one, other in pairs), f"{display(labels)}: {actual[labels]}"


def _answer(engine: Engine, case: Case) -> dict[Labels, list[float]]:
    start, end, step = case.times
    if step:
        matrix = engine.range(case.expr, start_ms=start, end_ms=end, step_ms=step)
        return dict(zip(matrix.labels, matrix.values.tolist(), strict=True))
    answer = engine.instant(case.expr, at_ms=start)
    if isinstance(answer, Scalar):
        return {(): [answer.value]}
    assert isinstance(answer, Vector)
    return {labels: [value] for labels, value in zip(answer.labels, answer.values.tolist(), strict=True)}


def test_there_are_cases() -> None:
    assert len(CASES) > 50
