from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.alerts.matchers import MatcherError, matcher_text, matches_all, parse_matchers
from collector.model.series import Matcher, MatchOp


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a=b", ['a="b"']),
        ("{a = b , c!=d,}", ['a="b"', 'c!="d"']),
        ('a="b,c", d=~"e|f"', ['a="b,c"', 'd=~"e|f"']),
        (r'a="say \"hi\", \\ and \n"', [r'a="say \"hi\", \\ and \n"']),
        (r"a=C:\dir", [r'a="C:\\dir"']),
        ('"my label"="x"', ['"my label"="x"']),
        ('{"ünï"=~"c.*", plain=1}', ['"ünï"=~"c.*"', 'plain="1"']),
        ("a=", ['a=""']),
        ("", []),
    ],
)
def test_classic_and_utf8_syntax_are_read(text: str, shown: list[str]) -> None:
    assert [matcher_text(matcher) for matcher in parse_matchers(text)] == shown


@pytest.mark.parametrize("text", ["a", "=b", '"a"', '{"ü"=x', 'a="b', 'a=b"c', 'a=~"("', "a=b,,c=d", "1a=~["])
def test_what_is_no_matcher_is_refused(text: str) -> None:
    with pytest.raises(MatcherError):
        parse_matchers(text)


def test_lists_over_the_limit_are_refused() -> None:
    with pytest.raises(MatcherError, match="matchers of 70002 characters are over the limit of 65536"):
        parse_matchers("a=" + "b" * 70_000)


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20),
    st.sampled_from([MatchOp.EQUAL, MatchOp.NOT_EQUAL]),
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30),
)
def test_written_matcher_is_read_as_itself(name: str, op: MatchOp, value: str) -> None:
    assert parse_matchers(matcher_text(Matcher(name, op, value))) == [Matcher(name, op, value)]


def test_matching_is_anchored_counts_absent_as_empty_and_takes_linear_time() -> None:
    fits = matches_all(parse_matchers('a=~"b+", c!~".+", d!=x'))
    assert fits({"a": "bb"})
    assert not fits({"a": "xbb"})
    assert not fits({"a": "bb", "c": "1"})
    assert not matches_all(parse_matchers('a=~"(x+x+)+y"'))({"a": "x" * 50_000})
