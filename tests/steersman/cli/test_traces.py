from __future__ import annotations

import pytest
import typer

from steersman.cli.traces import _pointed, _remember, _remembered, combined, seconds
from steersman.runtime.paths import DataDir


@pytest.mark.parametrize(
    ("text", "options", "found"),
    [
        ("", {}, ""),
        ("", {"service": 'a"b'}, '{ service = "a\\"b" }'),
        ("", {"slow": "1s", "errors": True}, "{ duration > 1s && status = error }"),
        ("span.a = 1 || span.b = 2", {"errors": True}, "{ status = error && (span.a = 1 || span.b = 2) }"),
        ("{span.a=1} || {span.b=2}", {"errors": True}, "({span.a=1} || {span.b=2}) && { status = error }"),
        ('{name="a|b"} | count() > 1', {"errors": True}, '({name="a|b"}) && { status = error } | count() > 1'),
        ("| count() > 1", {"errors": True}, "{ status = error } | count() > 1"),
    ],
)
def test_options_join_the_filter(text, options, found):
    assert combined(text, **{"service": None, "slow": None, "errors": False, **options}) == found


def test_times_back_have_a_unit():
    assert [seconds(text) for text in ("90s", "15m", "2h", "7d")] == [90, 900, 7200, 604800]
    for wrong in ("15", "m", "-1h", "1w", "9999999d"):
        with pytest.raises(typer.BadParameter):
            seconds(wrong)


def test_a_number_is_that_of_the_last_list_or_it_is_said_how_to_get_one(tmp_path):
    with pytest.raises(typer.BadParameter, match="no trace 1: none is listed; `steersman traces` lists"):
        _remembered(tmp_path, "1")
    DataDir.at(tmp_path).create()
    _remember(tmp_path, ["ab", "cd"])
    assert [_remembered(tmp_path, text) for text in ("1", "2", "12345abcde")] == ["ab", "cd", "12345abcde"]
    with pytest.raises(typer.BadParameter, match="no trace 3: the last list had 2"):
        _remembered(tmp_path, "3")


def test_a_parse_error_points_at_the_place():
    assert list(_pointed("1:5: parse error: unexpected 'x'", "{a} x")) == [
        "the filter: unexpected 'x'",
        "  {a} x",
        "      ^",
    ]
    assert list(_pointed("no answer", "")) == ["no answer"]
