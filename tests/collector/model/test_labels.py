from __future__ import annotations

import pytest

from collector.errors import BadRequestError
from collector.model.labels import Matcher, MatchOp, labels_of, text_of


@pytest.mark.parametrize(
    ("pattern", "value", "found"),
    [
        ("a|b", "b", True),
        ("a|b", "ab", False),  # anchored as a whole
        ("5..", "503", True),
        ("a.c", "a\nc", True),  # as since Prometheus 3
        (".*", "", True),
        (".+", "", False),
        ("(?i)get", "GET", True),
        (r"\d+", "42", True),
        ("a.b", "a\ud800b", True),
        ("é+", "éé", True),
    ],
)
def test_regular_expressions_are_of_gos_syntax_and_anchored(pattern, value, found):
    assert Matcher("x", MatchOp.REGEX, pattern).matches(value) is found
    assert Matcher("x", MatchOp.NOT_REGEX, pattern).matches(value) is not found


@pytest.mark.parametrize("pattern", ["(", "a**", r"(?=a)b", r"\1", "[z-a]", "\ud800"])
def test_what_go_does_not_compile_is_a_bad_request_with_the_reason(pattern):
    with pytest.raises(BadRequestError, match=r"invalid regular expression .*: ."):
        Matcher("x", MatchOp.REGEX, pattern).matches("a")


def test_an_expression_made_to_backtrack_takes_linear_time():
    assert not Matcher("x", MatchOp.REGEX, "(a+)+b").matches("a" * 100_000)


def test_labels_print_as_prometheus_writes_them():
    assert text_of(labels_of({"job": "shop", "__name__": "up", "empty": ""})) == '{__name__="up",job="shop"}'
