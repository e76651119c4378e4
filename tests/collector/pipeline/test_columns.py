from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList

from collector.model.attributes import ValueType, attributes_of, python_value
from collector.pipeline.spans import decode_spans

text = st.text(st.characters(codec="utf-8"), max_size=8)
scalars = st.one_of(
    st.just(AnyValue()),
    st.builds(AnyValue, string_value=text),
    st.builds(AnyValue, bool_value=st.booleans()),
    st.builds(AnyValue, int_value=st.integers(-(2**63), 2**63 - 1)),
    st.builds(AnyValue, double_value=st.floats()),
    st.builds(AnyValue, bytes_value=st.binary(max_size=8)),
)


def nested(inner):
    arrays = st.builds(ArrayValue, values=st.lists(inner, max_size=3))
    maps = st.builds(KeyValueList, values=st.lists(st.builds(KeyValue, key=text, value=inner), max_size=3))
    return st.builds(AnyValue, array_value=arrays) | st.builds(AnyValue, kvlist_value=maps)


values = st.recursive(scalars, nested, max_leaves=6)
attributes = st.lists(st.builds(KeyValue, key=text, value=values), max_size=6)


@given(st.lists(st.tuples(attributes, st.lists(attributes, max_size=2)), max_size=5))
@settings(deadline=None, max_examples=60)
def test_columns_say_what_the_messages_say(spans):
    request = ExportTraceServiceRequest()
    per_scope = request.resource_spans.add().scope_spans.add()
    for index, (of_span, of_events) in enumerate(spans):
        span = per_scope.spans.add(trace_id=b"1" * 16, span_id=(index + 1).to_bytes(8), attributes=of_span)
        for of_event in of_events:
            span.events.add(attributes=of_event)
    rows = decode_spans(request.SerializeToString(), received_ms=0).table.to_pylist()
    assert len(rows) == len(spans)
    for row, (of_span, of_events) in zip(rows, spans, strict=True):
        assert as_read(row["attributes"]) == list(attributes_of(of_span))
        assert [as_read(event["attributes"]) for event in row["events"]] == [list(attributes_of(e)) for e in of_events]


def as_read(pairs):
    return [(pair["k"], pair["t"], pair["v"] or "") for pair in pairs]


@given(scalars)
def test_a_scalar_reads_back_as_it_was(value):
    (attribute,) = attributes_of([KeyValue(key="k", value=value)])
    name = value.WhichOneof("value")
    expected = None if name is None else getattr(value, name)
    read = python_value(attribute.type, attribute.text)
    assert read == expected or (read != read and expected != expected)
    assert type(read) is type(expected)
    assert (attribute.type is ValueType.EMPTY) == (expected is None)
