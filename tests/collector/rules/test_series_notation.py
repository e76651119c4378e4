"""The notation of series in unit tests."""

from __future__ import annotations

import math

import numpy as np
import pytest

from collector.errors import BadRequestError
from collector.model.series import ABSENT, STALE, is_absent, is_stale
from collector.rules.series_notation import parse_metric, parse_values


@pytest.mark.parametrize(
    ("notation", "expected"),
    [
        ("", []),
        ("1 2.5 -3", [1, 2.5, -3]),
        ("0+5x3", [0, 5, 10, 15]),
        ("10-2.5x2", [10, 7.5, 5]),
        ("-1-1x1", [-1, -2]),
        ("7x2", [7, 7, 7]),
        ("1x0", [1]),
        ("1e3 .5 5. inf -Inf", [1000, 0.5, 5, math.inf, -math.inf]),
    ],
)
def test_values_are_read_as_promtool_reads_them(notation: str, expected: list[float]) -> None:
    assert parse_values(notation).floats.tolist() == expected


def test_steps_are_added_up_one_by_one() -> None:
    assert parse_values("0.1+0.1x2").floats.tolist() == [0.1, 0.2, 0.1 + 0.1 + 0.1]


def test_blanks_and_staleness_keep_their_bits() -> None:
    values = parse_values("_ stale _x2").floats
    assert is_absent(values).tolist() == [True, False, True, True]
    assert is_stale(values).tolist() == [False, True, False, False]
    assert values.view(np.uint64).tolist() == np.array([ABSENT, STALE, ABSENT, ABSENT]).view(np.uint64).tolist()


@pytest.mark.parametrize("notation", ["x3", "1+1", "stalex2", "NaNx2", "0x10+1x1", "1x-1", "one"])
def test_what_is_no_value_is_named(notation: str) -> None:
    with pytest.raises(BadRequestError, match="unexpected"):
        parse_values(notation)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("up", {"__name__": "up"}),
        (' up{job="a", instance = "b:1",} ', {"__name__": "up", "job": "a", "instance": "b:1"}),
        ("{__name__=\"up\",job='a'}", {"__name__": "up", "job": "a"}),
        ('{"http.requests", "net.peer"="x"}', {"__name__": "http.requests", "net.peer": "x"}),
        (r'up{a="quote \" slash \\ line \n \u00fc"}', {"__name__": "up", "a": 'quote " slash \\ line \n ü'}),
        ('up{a=""}', {"__name__": "up"}),
        ("{}", {}),
        ("", {}),
    ],
)
def test_labels_are_read_as_promtool_reads_them(text: str, expected: dict[str, str]) -> None:
    assert dict(parse_metric(text)) == expected


@pytest.mark.parametrize("text", ["up{", "up{a}", "up{a=b}", 'up{a="b"} extra', '{a="b" c="d"}', "1up"])
def test_what_is_no_metric_is_named(text: str) -> None:
    with pytest.raises(BadRequestError, match="not a metric"):
        parse_metric(text)
