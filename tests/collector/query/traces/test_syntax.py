from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collector.errors import BadRequestError
from collector.query.errors import ParseError
from collector.query.traces.expression import (
    Aggregate,
    All,
    AnyOf,
    AttributeField,
    Both,
    Comparison,
    Constant,
    Duration,
    Either,
    Filter,
    Intrinsic,
    Not,
    Op,
    Related,
    Relation,
    Scope,
    Spans,
    Stage,
    Word,
)
from collector.query.traces.syntax import MAX_CONDITIONS, MAX_LENGTH, MAX_NESTING, parse_filter

A, B, C = (Comparison(AttributeField(Scope.SPAN, name), Op.EQ, 1) for name in "abc")
SERVICE = Comparison(Intrinsic.SERVICE, Op.EQ, "shop")


@pytest.mark.parametrize("text", ["", "  ", "{}", "{ }", "{true}"])
def test_an_empty_filter_is_every_trace(text):
    assert parse_filter(text) == Filter(Spans(Constant(True)))


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ('service = "shop"', SERVICE),
        ("`shop` = service", SERVICE),
        ("duration > 1m30s", Comparison(Intrinsic.DURATION, Op.GT, Duration(90 * 10**9))),
        ("300ms <= duration", Comparison(Intrinsic.DURATION, Op.GE, Duration(300 * 10**6))),
        ("span:status != error", Comparison(Intrinsic.STATUS, Op.NE, Word("error"))),
        ('status = "error"', Comparison(Intrinsic.STATUS, Op.EQ, Word("error"))),
        ("kind=server", Comparison(Intrinsic.KIND, Op.EQ, Word("server"))),
        ('rootName =~ "GET .*"', Comparison(Intrinsic.ROOT_NAME, Op.MATCH, "GET .*")),
        ("resource.a.b-c = nil", Comparison(AttributeField(Scope.RESOURCE, "a.b-c"), Op.EQ, None)),
        ('event."a \\"b\\" {c}" = "\\u00e9\\n"', Comparison(AttributeField(Scope.EVENT, 'a "b" {c}'), Op.EQ, "é\n")),
        (".x = true", Comparison(AttributeField(Scope.ANY, "x"), Op.EQ, True)),
        ("span.cached", Comparison(AttributeField(Scope.SPAN, "cached"), Op.EQ, True)),
        (".n > -1.5e3", Comparison(AttributeField(Scope.ANY, "n"), Op.GT, -1500.0)),
        (".n = -9223372036854775808", Comparison(AttributeField(Scope.ANY, "n"), Op.EQ, -(2**63))),
        ("span.a=1 || span.b=1 && span.c=1", AnyOf((A, All((B, C))))),
        ("(span.a=1 || span.b=1) && span.c=1", All((AnyOf((A, B)), C))),
        ("!span.a=1 && !(span.b=1)", All((Not(A), Not(B)))),
    ],
)
def test_a_condition_is_read_with_and_without_braces(text, condition):
    assert parse_filter(f"{{ {text} }}") == Filter(Spans(condition))
    assert parse_filter(text) == Filter(Spans(condition))


a, b, c = Spans(A), Spans(B), Spans(C)
CHILD = Relation.CHILD


@pytest.mark.parametrize(
    ("text", "spanset"),
    [
        ("{span.a=1} >> {span.b=1}", Related(a, Relation.DESCENDANT, False, b)),
        ("{span.a=1} < {span.b=1}", Related(a, Relation.PARENT, False, b)),
        ("{span.a=1} !~ {span.b=1}", Related(a, Relation.SIBLING, True, b)),
        ("{span.a=1} > {span.b=1} > {span.c=1}", Related(Related(a, CHILD, False, b), CHILD, False, c)),
        ("{span.a=1} > ({span.b=1} > {span.c=1})", Related(a, CHILD, False, Related(b, CHILD, False, c))),
        ("{span.a=1} || {span.b=1} && {span.c=1}", Either((a, Both((b, c))))),
        ("({span.a=1} || {span.b=1}) && {span.c=1}", Both((Either((a, b)), c))),
    ],
)
def test_spansets_are_related_and_combined(text, spanset):
    assert parse_filter(text) == Filter(spanset)


def test_stages_follow_a_bar():
    stages = (
        Stage(Aggregate.COUNT, None, Op.GT, 2),
        Stage(Aggregate.AVG, Intrinsic.DURATION, Op.GE, Duration(10**9)),
        Stage(Aggregate.SUM, AttributeField(Scope.SPAN, "bytes"), Op.LT, 5.5),
    )
    text = "{span.a=1} | count() > 2 | avg(duration) >= 1s | sum(span.bytes) < 5.5"
    assert parse_filter(text) == Filter(a, stages)


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("{", (1, 2), "unexpected end"),
        ("{ span.a = 1\n  && }", (2, 6), "unexpected '}'"),
        ("{ span.a = 1 } §", (1, 16), "unexpected '§'"),
        ("{a > 3}", (1, 2), "span.a or .a"),
        ("{ foo.bar = 1 }", (1, 3), "scope 'foo'"),
        ("{ name = shop }", (1, 10), "text is quoted"),
        ("{ name = 3 }", (1, 10), "quoted text"),
        ("{ duration > 300 }", (1, 14), "duration such as 300ms"),
        ("{ span.a > 300ms }", (1, 12), "no unit"),
        ("{ span.a = span.b }", (1, 12), "is a field"),
        ('{ "x" = "y" }', (1, 3), "needs a field"),
        ("{ status = broken }", (1, 12), "is not a value"),
        ("{ status = server }", (1, 12), "one of error, ok, unset"),
        ("{ status > error }", (1, 12), "= or !="),
        ("{ span.a > nil }", (1, 12), "nil"),
        ("{ span.a < true }", (1, 12), "= or !="),
        ("{ name }", (1, 3), "compared with nothing"),
        ('{ name =~ "(" }', (1, 11), "bad regular expression: missing )"),
        ('{ name =~ "' + "a" * 1001 + '" }', (1, 11), "limit of 1000"),
        ('{ "a" =~ name }', (1, 10), "to the right"),
        ("{ duration =~ 3 }", (1, 15), "regular expression"),
        ('{ name = "\\q" }', (1, 10), "bad escape"),
        ("{ .a = 9223372036854775808 }", (1, 8), "64-bit"),
        ('{ trace:id = "xyz" }', (1, 14), "32 hex digits"),
        ("{} | rate() > 1", (1, 6), "count, avg, min, max, sum"),
        ("{} | count(duration) > 1", (1, 6), "no field"),
        ("{} | avg() > 1", (1, 6), "needs a field"),
        ("{} | avg(name) > 1", (1, 10), "not a number"),
        ("{} | avg(duration) > 1", (1, 22), "duration such as"),
        ("!" * 100 + "span.a", (1, 1), f"limit of {MAX_NESTING}"),
        (" && ".join(["span.a"] * (MAX_CONDITIONS + 1)), (1, 1), f"limit of {MAX_CONDITIONS}"),
        ("(" * (MAX_LENGTH - 1), (1, MAX_LENGTH), "unexpected end"),
        (" " * (MAX_LENGTH + 1), (1, 1), f"limit of {MAX_LENGTH}"),
        ("x" * 1_000_000, (1, 1), f"limit of {MAX_LENGTH}"),
        ("x" * 9_000, (1, 1), "xxx…' is not a field"),
        ("span." + "x" * 9_000 + " = span.b", (1, 9_009), "'span.b' is a field"),
        ("y" * 9_000 + ".x = 1", (1, 1), "yyy…' is not one of"),
    ],
)
def test_a_mistake_is_named_with_its_place(text, place, words):
    with pytest.raises(ParseError, match=r"parse error") as raised:
        parse_filter(text)
    assert (raised.value.line, raised.value.column) == place, raised.value
    assert words in raised.value.reason
    assert len(str(raised.value)) < 200


@given(st.text(alphabet='{}()!=<>~&|."` \\abns0159span.x:status=erro', max_size=60))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(BadRequestError):
        parse_filter(text)
