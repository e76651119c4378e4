"""A filter as SQL over the store's tables. What the filter's author wrote is bound, never part of the text."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from collector.model.attributes import ValueType
from collector.model.ids import TraceId, trace_id_halves
from collector.model.telemetry import SpanKind, StatusCode
from collector.query.traces.expression import (
    Aggregate,
    All,
    AnyOf,
    AttributeField,
    Both,
    Comparison,
    Condition,
    Constant,
    Duration,
    Either,
    Field,
    Filter,
    Intrinsic,
    Not,
    Op,
    Related,
    Relation,
    Scope,
    Spans,
    Spanset,
    Stage,
    Value,
    Word,
)
from collector.storage.traces.conditions import Parameters, has, on_event, on_resource, on_scope
from collector.storage.traces.needs import OPERATION, Needs, all_of, any_of, of_service, one_of, texts_of_number
from collector.storage.traces.search import Matching

_IN_RANGE = "start_unix_nano BETWEEN $start AND $end"
_COLUMNS = "trace_hi, trace_lo, span_id, parent_span_id, start_unix_nano, duration_nano"
_SAME_TRACE = "{0}.trace_lo = {1}.trace_lo AND {0}.trace_hi = {1}.trace_hi"
_INT, _DOUBLE = int(ValueType.INT), int(ValueType.DOUBLE)
_OF_TRACE = frozenset({Intrinsic.ROOT_NAME, Intrinsic.ROOT_SERVICE, Intrinsic.TRACE_DURATION})
_TEXT_COLUMNS = {
    Intrinsic.NAME: "name",
    Intrinsic.SERVICE: "service",
    Intrinsic.STATUS_MESSAGE: "status_message",
}


def matching(found: Filter, *, prefix: str = "p") -> Matching:
    """The spans that a filter is for: those of its spanset, in traces that its stages keep."""
    return _Compiler(Parameters(prefix)).matching(found)


def span_condition(condition: Condition, parameters: Parameters) -> str:
    """
    A condition on one span, over the columns of `spans`.

    What it says of the trace (rootName, traceDuration) it reads from the spans that start from $start to $end.
    """
    match condition:
        case Constant(value):
            return "TRUE" if value else "FALSE"
        case All(parts):
            return f"({' AND '.join(span_condition(part, parameters) for part in parts)})"
        case AnyOf(parts):
            return f"({' OR '.join(span_condition(part, parameters) for part in parts)})"
        case Not(part):
            return f"NOT coalesce({span_condition(part, parameters)}, FALSE)"
        case Comparison(AttributeField(), _, _):
            return _attribute(condition, parameters)
    return _intrinsic(condition, parameters)


class _Compiler:
    """Each spanset becomes a named step of one WITH clause; a later step refers to the former by name."""

    def __init__(self, parameters: Parameters) -> None:
        self._parameters = parameters
        self._steps: list[str] = []

    def matching(self, found: Filter) -> Matching:
        alone = _one_condition(found.spanset)
        if alone is not None and not found.stages:
            sql = f"SELECT {_COLUMNS} FROM spans WHERE {_IN_RANGE} AND {span_condition(alone, self._parameters)}"  # noqa: S608
            by_span = not _speaks_of_trace(alone)
            return Matching(sql, self._parameters.values, by_span=by_span, needs=_needs(alone))
        last = self._spanset(found.spanset)
        for stage in found.stages:
            last = self._stage(last, stage)
        sql = f"WITH RECURSIVE {', '.join(self._steps)} SELECT {_COLUMNS} FROM {last}"  # noqa: S608
        return Matching(sql, self._parameters.values, by_span=False)

    def _step(self, sql: str, *, columns: str = "", materialized: bool = True) -> str:
        name = f"n{len(self._steps)}"
        self._steps.append(f"{name}{columns} AS {'MATERIALIZED ' if materialized else ''}({sql})")
        return name

    def _spanset(self, spanset: Spanset) -> str:
        match spanset:
            case Spans(condition):
                where = f"{_IN_RANGE} AND {span_condition(condition, self._parameters)}"
                return self._step(f"SELECT DISTINCT {_COLUMNS} FROM spans WHERE {where}")  # noqa: S608
            case Either(parts):
                return self._step(" UNION ".join(f"SELECT * FROM {self._spanset(part)}" for part in parts))  # noqa: S608
            case Both(parts):
                return self._both([self._spanset(part) for part in parts])
            case Related(left, relation, negated, right):
                return self._related(self._spanset(left), relation, self._spanset(right), negated=negated)

    def _both(self, names: Sequence[str]) -> str:
        every = " UNION ".join(f"SELECT * FROM {name}" for name in names)  # noqa: S608
        kept = " ".join(f"SEMI JOIN {name} USING (trace_hi, trace_lo)" for name in names)
        return self._step(f"SELECT * FROM ({every}) {kept}")  # noqa: S608

    def _related(self, left: str, relation: Relation, right: str, *, negated: bool) -> str:
        same = _SAME_TRACE.format("l", "r")
        match relation:
            case Relation.CHILD:
                on = f"{same} AND l.span_id = r.parent_span_id"
            case Relation.PARENT:
                on = f"{same} AND l.parent_span_id = r.span_id"
            case Relation.SIBLING:
                on = f"{same} AND l.parent_span_id = r.parent_span_id AND l.span_id <> r.span_id"
                on += " AND r.parent_span_id <> 0"
            case Relation.DESCENDANT | Relation.ANCESTOR:
                left = self._reached(left, right, downward=relation is Relation.DESCENDANT)
                on = f"{same} AND l.span_id = r.span_id"
        return self._step(f"SELECT r.* FROM {right} r {'ANTI' if negated else 'SEMI'} JOIN {left} l ON {on}")  # noqa: S608

    def _reached(self, left: str, right: str, *, downward: bool) -> str:
        """The spans under those of `left`, or above them, in traces that `right` has too. Each once, so cycles end."""
        tree = self._step(f"""
            SELECT DISTINCT trace_hi, trace_lo, span_id, parent_span_id FROM spans
            SEMI JOIN {left} USING (trace_hi, trace_lo) SEMI JOIN {right} USING (trace_hi, trace_lo)
            WHERE {_IN_RANGE}
        """)  # noqa: S608
        if downward:
            first = f"t JOIN {left} o ON {_SAME_TRACE.format('t', 'o')} AND t.parent_span_id = o.span_id"
            on = "t.parent_span_id = o.span_id"
        else:
            first = f"t JOIN {left} o ON {_SAME_TRACE.format('t', 'o')} AND t.span_id = o.parent_span_id"
            on = "t.span_id = o.parent_span_id"
        name = f"n{len(self._steps)}"
        columns = "t.trace_hi, t.trace_lo, t.span_id, t.parent_span_id"
        return self._step(
            f"""
            SELECT {columns} FROM {tree} {first}
            UNION
            SELECT {columns} FROM {tree} t JOIN {name} o ON {_SAME_TRACE.format("t", "o")} AND {on}
            """,  # noqa: S608
            columns="(trace_hi, trace_lo, span_id, parent_span_id)",
            materialized=False,
        )

    def _stage(self, last: str, stage: Stage) -> str:
        value = stage.value.nano if isinstance(stage.value, Duration) else stage.value
        source, measured = last, "span_id"
        match stage.field:
            case Intrinsic.DURATION:
                measured = "duration_nano"
            case AttributeField() as field:
                source = self._numbers(last, field)
                measured = "number"
        call = "count(*)" if stage.aggregate is Aggregate.COUNT else f"{stage.aggregate.value}({measured})"
        keep = f"{call} {_sql_op(stage.op)} {self._parameters.bind(value)}"
        traces = f"SELECT trace_hi, trace_lo FROM {source} GROUP BY trace_hi, trace_lo HAVING {keep}"  # noqa: S608
        return self._step(f"SELECT * FROM {last} SEMI JOIN ({traces}) USING (trace_hi, trace_lo)")  # noqa: S608

    def _numbers(self, last: str, field: AttributeField) -> str:
        """The numbers that an attribute has on the matched spans; none for spans without it."""
        key = f"a.k = {self._parameters.bind(field.name)} AND a.t IN ({_INT}, {_DOUBLE})"
        places = {
            Scope.SPAN: "s.attributes",
            Scope.RESOURCE: "r.attributes",
            Scope.ANY: "s.attributes || r.attributes",
            Scope.EVENT: "flatten(list_transform(s.events, lambda e: e.attributes))",
        }
        number = f"TRY_CAST(list_filter({places[field.scope]}, lambda a: {key})[1].v AS DOUBLE)"
        return self._step(f"""
            SELECT DISTINCT s.trace_hi, s.trace_lo, s.span_id, {number} AS number FROM spans s
            SEMI JOIN {last} l ON {_SAME_TRACE.format("s", "l")} AND s.span_id = l.span_id
            LEFT JOIN resources r ON r.id = s.resource_id WHERE {_IN_RANGE}
        """)  # noqa: S608


def _one_condition(spanset: Spanset) -> Condition | None:
    """The one condition that says the same as the spanset, if there is one."""
    match spanset:
        case Spans(condition):
            return condition
        case Either(parts):
            conditions = [_one_condition(part) for part in parts]
            found = tuple(condition for condition in conditions if condition is not None)
            return AnyOf(found) if len(found) == len(parts) else None
    return None


def _needs(condition: Condition) -> Needs:
    match condition:
        case All(parts):
            return all_of(_needs(part) for part in parts)
        case AnyOf(parts):
            return any_of([_needs(part) for part in parts])
        case Comparison(AttributeField(_, name), Op.EQ, value):
            match value:
                case bool():
                    return one_of(name, ["true" if value else "false"])
                case str():
                    return one_of(name, [value])
                case int() | float():
                    texts = texts_of_number(value)
                    return one_of(name, texts) if texts else ()
        case Comparison(Intrinsic.NAME, Op.EQ, str(value)):
            return one_of(OPERATION, [value])
        case Comparison(Intrinsic.SERVICE, Op.EQ, str(value)):
            return of_service(value)
    return ()


def _speaks_of_trace(condition: Condition) -> bool:
    match condition:
        case Comparison(field, _, _):
            return field in _OF_TRACE
        case Not(part):
            return _speaks_of_trace(part)
        case All(parts) | AnyOf(parts):
            return any(_speaks_of_trace(part) for part in parts)
    return False


def _sql_op(op: Op) -> str:
    return "<>" if op is Op.NE else op.value


def _text(operand: str, op: Op, value: str, parameters: Parameters) -> str:
    bound = parameters.bind(value)
    match op:
        case Op.MATCH:  # anchored, as in TraceQL and in PromQL
            return f"regexp_full_match({operand}, {bound})"
        case Op.NOT_MATCH:
            return f"NOT regexp_full_match({operand}, {bound})"
    return f"{operand} {_sql_op(op)} {bound}"


def _attribute(comparison: Comparison, parameters: Parameters) -> str:
    field, op, value = comparison.field, comparison.op, comparison.value
    assert isinstance(field, AttributeField)  # noqa: S101  (the caller's match says so)
    key = f"a.k = {parameters.bind(field.name)}"
    if value is None:
        there = _somewhere(field.scope, key)
        return f"NOT coalesce({there}, FALSE)" if op is Op.EQ else there
    return _somewhere(field.scope, f"{key} AND {_attribute_value(op, value, parameters)}")


def _somewhere(scope: Scope, condition: str) -> str:
    places: dict[Scope, Callable[[], str]] = {
        Scope.SPAN: lambda: has("attributes", condition),
        Scope.RESOURCE: lambda: on_resource(has("attributes", condition)),
        Scope.EVENT: lambda: on_event(has("e.attributes", condition)),
        Scope.ANY: lambda: f"({has('attributes', condition)} OR {on_resource(has('attributes', condition))})",
    }
    return places[scope]()


def _attribute_value(op: Op, value: Value, parameters: Parameters) -> str:
    match value:
        case bool():
            return f"a.t = {int(ValueType.BOOL)} AND a.v {_sql_op(op)} '{'true' if value else 'false'}'"
        case str():
            return f"a.t = {int(ValueType.STRING)} AND {_text('a.v', op, value, parameters)}"
    # CASE, because only what is a number may be cast; whole numbers compare exactly, beyond what a double holds.
    bound = parameters.bind(value)
    whole = f"CAST(a.v AS {'HUGEINT' if isinstance(value, int) else 'DOUBLE'}) {_sql_op(op)} {bound}"
    real = f"NOT isnan(CAST(a.v AS DOUBLE)) AND CAST(a.v AS DOUBLE) {_sql_op(op)} {bound}"
    return f"CASE a.t WHEN {_INT} THEN {whole} WHEN {_DOUBLE} THEN {real} ELSE FALSE END"


def _intrinsic(comparison: Comparison, parameters: Parameters) -> str:
    field, op, value = comparison.field, comparison.op, comparison.value
    assert isinstance(field, Intrinsic)  # noqa: S101  (the caller's match says so)
    if value is None:
        absent = _absent(field)
        return absent if op is Op.EQ else f"NOT {absent}"
    match field, value:
        case (Intrinsic.NAME | Intrinsic.SERVICE | Intrinsic.STATUS_MESSAGE, str()):
            return _text(_TEXT_COLUMNS[field], op, value, parameters)
        case (Intrinsic.DURATION, Duration(nano)):
            return f"duration_nano {_sql_op(op)} {parameters.bind(nano)}"
        case (Intrinsic.STATUS, Word(text)):
            return f"status_code {_sql_op(op)} {int(StatusCode[text.upper()])}"
        case (Intrinsic.KIND, Word(text)):
            return f"kind {_sql_op(op)} {int(SpanKind[text.upper()])}"
        case (Intrinsic.SPAN_ID | Intrinsic.PARENT_ID, str()):
            column = "span_id" if field is Intrinsic.SPAN_ID else "parent_span_id"
            return f"{column} {_sql_op(op)} {parameters.bind(int(value, 16))}"
        case (Intrinsic.TRACE_ID, str()):
            high, low = (parameters.bind(half) for half in trace_id_halves(TraceId(int(value, 16))))
            same = f"(trace_lo = {low} AND trace_hi = {high})"
            return same if op is Op.EQ else f"NOT {same}"
        case (Intrinsic.EVENT_NAME, str()):
            return on_event(_text("e.name", op, value, parameters))
        case (Intrinsic.SCOPE_NAME | Intrinsic.SCOPE_VERSION, str()):
            column = "name" if field is Intrinsic.SCOPE_NAME else "version"
            return on_scope(_text(column, op, value, parameters))
        case (Intrinsic.ROOT_NAME | Intrinsic.ROOT_SERVICE, str()):
            column = "name" if field is Intrinsic.ROOT_NAME else "service"
            return _of_traces(f"AND parent_span_id = 0 AND {_text(column, op, value, parameters)}")
        case (Intrinsic.TRACE_DURATION, Duration(nano)):
            longest = "max(start_unix_nano::HUGEINT + duration_nano) - min(start_unix_nano)"
            having = f"{longest} {_sql_op(op)} {parameters.bind(nano)}"
            return _of_traces(f"GROUP BY trace_hi, trace_lo HAVING {having}")
    raise AssertionError(f"the parser lets no {field} be compared with {value!r}")


def _of_traces(rest: str) -> str:
    return f"(trace_hi, trace_lo) IN (SELECT trace_hi, trace_lo FROM spans WHERE {_IN_RANGE} {rest})"  # noqa: S608


def _absent(field: Field) -> str:
    """`= nil`. OTLP's strings are empty where they are not set; what is always set is never nil."""
    match field:
        case Intrinsic.NAME | Intrinsic.SERVICE | Intrinsic.STATUS_MESSAGE:
            return f"({_TEXT_COLUMNS[field]} = '')"
        case Intrinsic.PARENT_ID:
            return "(parent_span_id = 0)"
        case Intrinsic.EVENT_NAME:
            return "(len(events) = 0)"
        case Intrinsic.SCOPE_NAME | Intrinsic.SCOPE_VERSION:
            column = "name" if field is Intrinsic.SCOPE_NAME else "version"
            empty = f"{column} = ''"
            return f"({on_scope(empty)})"
        case Intrinsic.ROOT_NAME | Intrinsic.ROOT_SERVICE:
            return f"(NOT {_of_traces('AND parent_span_id = 0')})"
    return "(FALSE)"
