from __future__ import annotations

import dataclasses

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from collector.pipeline.spans import decode_spans
from collector.query.traces.matching import matching
from collector.query.traces.syntax import parse_filter
from collector.storage.traces import attribute_index, search
from collector.storage.traces.attribute_index import Interval, joined
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.needs import any_of, one_of, texts_of_number
from collector.storage.traces.search import Range, newest
from collector.storage.traces.tag_search import TraceQuery, matching_spans

EVER = Range(0, 2**63 - 1)
ORIGIN = 1_700_000_000 * 10**9
HOUR = 3600 * 10**9
FILTERS = (
    '{span.text = "a"}',
    '{.text = "b" || event.text = "a"}',
    "{span.number = 1}",
    "{span.number = 2.0}",
    "{span.flag = true}",
    '{resource.host = "a" && span.text = "b"}',
    '{name = "a" || service = "b"}',
    '{.host = "b"}',
    '{!(span.text = "a") && span.number = 0}',
    '{span.text =~ "a|b" && name = "b"}',
)
TAGS = ({"text": "a"}, {"host": "b", "number": "1"}, {"error": "true", "text": "b"}, {"number": "0.0"})


def request(spans) -> bytes:
    made = ExportTraceServiceRequest()
    for number, (at, host, name, text, value) in enumerate(spans):
        per_resource = made.resource_spans.add()
        for key, of_resource in (("service.name", name), ("host", host)):
            per_resource.resource.attributes.add(key=key).value.string_value = of_resource
        span = per_resource.scope_spans.add().spans.add(
            trace_id=(at + 1).to_bytes(16), span_id=(number + 1).to_bytes(8), name=name, start_time_unix_nano=at
        )
        span.attributes.add(key="text").value.string_value = text
        match value:
            case bool():
                span.attributes.add(key="flag").value.bool_value = value
            case int():
                span.attributes.add(key="number").value.int_value = value
            case float():
                span.attributes.add(key="number").value.double_value = value
            case str():
                span.events.add().attributes.add(key="text").value.string_value = value
    return made.SerializeToString()


words = st.sampled_from("abc")
moments = st.sampled_from([*range(3)]) | st.integers(0, 20).map(lambda hours: ORIGIN + hours * HOUR)
values = st.sampled_from([True, False, 0, 1, 2, 0.0, -0.0, 2.0, "a", "b"])
batches = st.lists(st.tuples(moments, words, words, words, values), min_size=1, max_size=8)
steps = st.lists(st.one_of(batches, st.just("index"), st.integers(0, 12)), min_size=1, max_size=8)


def index(database: TelemetryDatabase, at_least: int) -> bool:
    with database.reading() as cursor:
        block = attribute_index.next_block(cursor, at_least=at_least)
    if block is not None:
        database.keep_block(block)
    return block is not None


QUESTIONS = [matching(parse_filter(text)) for text in FILTERS]
QUESTIONS += [matching_spans(TraceQuery(within=EVER, limit=5, tags=tags)) for tags in TAGS]
QUESTIONS.append(matching_spans(TraceQuery(within=EVER, limit=5, service="a", operation="a")))


def test_every_one_of_these_questions_uses_the_index():
    assert all(question.needs for question in QUESTIONS)


@settings(max_examples=6, deadline=None)
@given(steps=steps, questions=st.lists(st.sampled_from(QUESTIONS), min_size=1, max_size=4))
def test_a_search_finds_the_same_with_the_index_as_without(tmp_path_factory, steps, questions):
    """Whatever was written, indexed or removed before, and in whatever order."""
    database = TelemetryDatabase.open(tmp_path_factory.mktemp("store") / "telemetry.duckdb")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(search, "FIRST_LOOK_SPANS", 1)
        patch.setattr(attribute_index, "BLOCK_SPANS", 5)
        for number, step in enumerate(steps):
            match step:
                case list():  # not always in the order of time, as an import is not
                    database.write([decode_spans(request(step), received_ms=number * 5 % 12)])
                case "index":
                    while index(database, at_least=1):
                        pass
                case int():
                    database.remove_before(step)
        with database.reading() as cursor:
            for question in questions:
                without = dataclasses.replace(question, needs=())
                expected = newest(cursor, without, EVER, limit=50)
                assert newest(cursor, question, EVER, limit=50) == expected, question.needs
    database.close()


@pytest.fixture
def database(tmp_path, monkeypatch):
    monkeypatch.setattr(attribute_index, "BLOCK_SPANS", 4)
    opened = TelemetryDatabase.open(tmp_path / "telemetry.duckdb")
    yield opened
    opened.close()


def spans_at(*hours: int, text: str = "common"):
    return [(ORIGIN + hour * HOUR, "h", "n", text, 1) for hour in hours]


def where(database, key, text):
    with database.reading() as cursor:
        return attribute_index.blocks_with(cursor, one_of(key, [text]))


def test_what_is_rare_is_looked_for_in_its_block_alone(database):
    for hour in range(6):
        text = "rare" if hour == 2 else "common"
        database.write([decode_spans(request(spans_at(*[hour] * 4, text=text)), received_ms=hour)])
    while index(database, at_least=4):
        pass
    assert where(database, "text", "rare") == [Interval(ORIGIN + 2 * HOUR, ORIGIN + 2 * HOUR)]
    assert len(where(database, "text", "common")) == 5
    assert where(database, "text", "nowhere") == []
    with database.reading() as cursor:
        assert attribute_index.waiting_intervals(cursor) == []


def test_one_span_with_a_wrong_clock_does_not_widen_its_block(database):
    spans = [*spans_at(1, 1, 1, text="rare"), (0, "h", "n", "rare", 1)]
    database.write([decode_spans(request(spans), received_ms=1)])
    assert index(database, at_least=4)
    assert where(database, "text", "rare") == [Interval(0, 0), Interval(ORIGIN + HOUR, ORIGIN + HOUR)]


def test_a_block_with_too_many_pairs_is_always_searched(database, monkeypatch):
    monkeypatch.setattr(attribute_index, "MAX_PAIRS", 2)
    database.write([decode_spans(request(spans_at(1, 1, 1, 1)), received_ms=1)])
    assert index(database, at_least=4)
    assert where(database, "text", "nowhere") == [Interval(ORIGIN + HOUR, ORIGIN + HOUR)]


def test_what_retention_removes_leaves_the_index(database):
    for hour in range(3):
        database.write([decode_spans(request(spans_at(*[hour] * 4)), received_ms=hour)])
        assert index(database, at_least=4)
    database.remove_before(2)
    assert where(database, "text", "common") == [Interval(ORIGIN + 2 * HOUR, ORIGIN + 2 * HOUR)]
    with database.reading() as cursor:
        assert cursor.execute("SELECT count(DISTINCT block), count(*) FROM attribute_pairs").fetchone()[0] == 1
        assert attribute_index.next_block(cursor, at_least=1) is None


def test_what_was_removed_from_the_middle_keeps_nothing_from_the_index(database):
    for hour, received_ms in enumerate([50, 1, 1, 1, 50]):
        text = "rare" if hour == 4 else "common"
        database.write([decode_spans(request(spans_at(*[hour] * 4, text=text)), received_ms=received_ms)])
    assert index(database, at_least=4)
    assert index(database, at_least=4)
    assert database.remove_before(2).spans == 12
    while index(database, at_least=1):
        pass
    assert where(database, "text", "rare") == [Interval(ORIGIN + 4 * HOUR, ORIGIN + 4 * HOUR)]


def test_hashes_of_another_version_of_duckdb_are_made_anew(tmp_path, monkeypatch):
    path = tmp_path / "telemetry.duckdb"
    database = TelemetryDatabase.open(path)
    database.write([decode_spans(request(spans_at(1)), received_ms=1)])
    assert index(database, at_least=1)
    assert not index(database, at_least=1)
    database.close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE attribute_index SET hashed_by = 'another'")
    database = TelemetryDatabase.open(path)
    assert where(database, "text", "common") == []
    with database.reading() as cursor:
        assert attribute_index.waiting_intervals(cursor) == [Interval(ORIGIN + HOUR, ORIGIN + HOUR)]
    assert index(database, at_least=1)
    database.close()


def test_intervals_that_lie_together_are_joined_and_others_not():
    assert joined([Interval(100, 200), Interval(0, 90), Interval(500, 600), Interval(550, 580)]) == [
        Interval(0, 200),
        Interval(500, 600),
    ]


def test_an_alternative_of_which_one_side_is_unknown_needs_nothing():
    assert any_of([one_of("a", ["1"]), ()]) == ()
    assert any_of([one_of("a", ["1"]), one_of("b", ["2"])]) == (one_of("a", ["1"])[0] | one_of("b", ["2"])[0],)


@pytest.mark.parametrize(
    ("number", "texts"),
    [
        (418, {"418", "418.0"}),
        (1.5, {"1.5"}),
        (2.0, {"2", "2.0"}),
        (0, {"0", "0.0", "-0.0"}),
        (2**60, set()),
        (float("nan"), set()),
        (float("inf"), set()),
    ],
)
def test_numbers_are_known_by_every_text_that_is_equal(number, texts):
    assert set(texts_of_number(number)) == texts
