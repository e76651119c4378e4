"""
The filter language read: text to tree.

TraceQL's syntax, but that `&&` binds tighter than `||`, as everywhere else (TraceQL gives both one precedence), and
that `service` is short for `resource.service.name`. A single condition may stand without braces.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from collector.model.go_duration import parse_go_duration_nano
from collector.query.errors import ParseError
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

if TYPE_CHECKING:
    from lark import Lark, Token

MAX_LENGTH = 10_000  # characters; a filter written by hand has some hundred
MAX_CONDITIONS = 100  # each reads what it needs of every span in the range
MAX_NESTING = 50  # the tree is walked recursively, and so is DuckDB's
MAX_PATTERN = 1_000  # characters of a regular expression, as long as a long name
MAX_SHOWN = 40  # characters of what was found, in a message
_MAX_INT = 2**63

_GRAMMAR = r"""
start: spanset_or ("|" stage)*  -> filter
    | or_condition ("|" stage)*  -> bare
?spanset_or: spanset_and ("||" spanset_and)*  -> either
?spanset_and: spanset_relation ("&&" spanset_relation)*  -> both
?spanset_relation: spanset_atom
    | spanset_relation relation spanset_atom  -> related
!relation: ">>" | "<<" | ">" | "<" | "~" | "!>>" | "!<<" | "!>" | "!<" | "!~"
?spanset_atom: "{" "}"  -> every
    | "{" or_condition "}"  -> spans
    | "(" spanset_or ")"
?or_condition: and_condition ("||" and_condition)*  -> any_of
?and_condition: not_condition ("&&" not_condition)*  -> all_of
?not_condition: "!" not_condition  -> negated
    | comparison
    | "(" or_condition ")"
comparison: _operand (operator _operand)?
!operator: "=" | "!=" | ">" | ">=" | "<" | "<=" | "=~" | "!~"
_operand: ATTRIBUTE | WORD | STRING | DURATION | NUMBER
stage: WORD "(" _operand? ")" operator _operand

ATTRIBUTE.1: /(?:[a-z]+)?\.(?:"(?:\\.|[^"\\])*"|[^\s{}()=~!<>&|^,"]+)+/
WORD: /[A-Za-z]+(?::[A-Za-z]+)?/
STRING: /"(?:\\.|[^"\\])*"|`[^`]*`/
DURATION.3: /(?:(?:\d+(?:\.\d*)?|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+(?![\w.])/
NUMBER.2: /-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?![\w.])/
%ignore /\s+/
"""
# What TraceQL calls the same; its newer names have the scope before a colon.
_INTRINSICS = {
    **{intrinsic.value: intrinsic for intrinsic in Intrinsic},
    "span:name": Intrinsic.NAME,
    "span:duration": Intrinsic.DURATION,
    "span:status": Intrinsic.STATUS,
    "span:statusMessage": Intrinsic.STATUS_MESSAGE,
    "span:kind": Intrinsic.KIND,
    "trace:rootName": Intrinsic.ROOT_NAME,
    "trace:rootService": Intrinsic.ROOT_SERVICE,
    "trace:duration": Intrinsic.TRACE_DURATION,
}
_STATUSES = frozenset({"error", "ok", "unset"})
_KINDS = frozenset({"unspecified", "internal", "server", "client", "producer", "consumer"})
_CONSTANTS: dict[str, Value] = {"true": True, "false": False, "nil": None}
_ORDERED = frozenset({Op.GT, Op.GE, Op.LT, Op.LE})
_PATTERNS = frozenset({Op.MATCH, Op.NOT_MATCH})
_FLIPPED = {Op.GT: Op.LT, Op.GE: Op.LE, Op.LT: Op.GT, Op.LE: Op.GE}
_DURATIONS = frozenset({Intrinsic.DURATION, Intrinsic.TRACE_DURATION})
_WORDS = {Intrinsic.STATUS: _STATUSES, Intrinsic.KIND: _KINDS}
_IDS = {Intrinsic.SPAN_ID: 16, Intrinsic.PARENT_ID: 16, Intrinsic.TRACE_ID: 32}  # hex digits at most


def parse_filter(text: str) -> Filter:
    """
    Read a filter. An empty one is `{}`: every trace.

    Raises:
        ParseError: not that language, with line and column; or longer, deeper or with more conditions than the limits.
    """
    from lark.exceptions import UnexpectedCharacters, UnexpectedEOF, UnexpectedToken

    if len(text) > MAX_LENGTH:
        raise ParseError(1, 1, f"a filter of {len(text)} characters is longer than the limit of {MAX_LENGTH}")
    try:
        found: Filter = _parser().parse(text if text.strip() else "{}")  # type: ignore[assignment]  # not a lark Tree
    except UnexpectedEOF:
        raise _at_end(text) from None
    except UnexpectedToken as error:
        if error.token.type == "$END":
            raise _at_end(text) from None
        raise _error(error.token, f"unexpected {_shown(error.token)}") from None
    except UnexpectedCharacters as error:
        word = text[error.pos_in_stream :].split(maxsplit=1)[0]
        raise ParseError(error.line, error.column, f"unexpected {_shown(word)}") from None
    _check_size(found)
    return found


def _at_end(text: str) -> ParseError:
    lines = text.split("\n")
    return ParseError(len(lines), len(lines[-1]) + 1, "unexpected end of the filter")


def _error(token: Token, reason: str) -> ParseError:
    return ParseError(token.line or 1, token.column or 1, reason)


def _shown(text: str) -> str:
    return repr(str(text) if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}…")


def _check_size(found: Filter) -> None:
    """Bounds the tree before anything walks it recursively."""
    waiting: list[tuple[Any, int]] = [(found.spanset, 1)]
    conditions = 0
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_NESTING:
            raise ParseError(1, 1, f"the filter is nested deeper than the limit of {MAX_NESTING} levels")
        match node:
            case Comparison():
                conditions += 1
            case Spans(condition):
                waiting.append((condition, depth + 1))
            case Not(part):
                waiting.append((part, depth + 1))
            case Related(left, _, _, right):
                waiting += [(left, depth + 1), (right, depth + 1)]
            case All(parts) | AnyOf(parts) | Both(parts) | Either(parts):
                waiting += [(part, depth + 1) for part in parts]
    if conditions + len(found.stages) > MAX_CONDITIONS:
        raise ParseError(1, 1, f"{conditions + len(found.stages)} conditions are over the limit of {MAX_CONDITIONS}")


@cache
def _parser() -> Lark:
    from lark import Lark  # 3 MB, which only who searches pays

    return Lark(_GRAMMAR, parser="lalr", transformer=_Reader())


class _Reader:
    """What lark calls for each rule that it has read, from the leaves up: one method a rule of the grammar."""

    def filter(self, children: list[Any]) -> Filter:
        return Filter(children[0], tuple(children[1:]))

    def bare(self, children: list[Any]) -> Filter:
        return Filter(Spans(children[0]), tuple(children[1:]))

    def every(self, _children: list[Any]) -> Spanset:
        return Spans(Constant(True))

    def spans(self, children: list[Any]) -> Spanset:
        return Spans(children[0])

    def either(self, children: list[Any]) -> Spanset:
        return Either(tuple(children)) if len(children) > 1 else children[0]

    def both(self, children: list[Any]) -> Spanset:
        return Both(tuple(children)) if len(children) > 1 else children[0]

    def relation(self, children: list[Any]) -> str:
        return str(children[0])

    def related(self, children: list[Any]) -> Spanset:
        left, operator, right = children
        return Related(left, Relation(operator.removeprefix("!")), operator.startswith("!"), right)

    def any_of(self, children: list[Any]) -> Condition:
        return AnyOf(tuple(children)) if len(children) > 1 else children[0]

    def all_of(self, children: list[Any]) -> Condition:
        return All(tuple(children)) if len(children) > 1 else children[0]

    def negated(self, children: list[Any]) -> Condition:
        return Not(children[0])

    def operator(self, children: list[Any]) -> Op:
        return Op(str(children[0]))

    def comparison(self, children: list[Any]) -> Condition:
        if len(children) == 1:
            return _alone(children[0])
        left, op, right = children
        if _is_field(left):
            if _is_field(right):
                raise _error(right, f"{_shown(right)} is a field; compare with a value, which is quoted if it is text")
            return _checked(left, _field(left), op, right)
        if not _is_field(right):
            raise _error(left, _not_a_field(left))
        if op in _PATTERNS:
            raise _error(right, "a pattern stands to the right of its field")
        return _checked(left, _field(right), _FLIPPED.get(op, op), left)

    def stage(self, children: list[Any]) -> Stage:
        name, inside, op, value = children if len(children) == 4 else (children[0], None, *children[1:])
        try:
            aggregate = Aggregate(str(name))
        except ValueError:
            there = ", ".join(aggregate.value for aggregate in Aggregate)
            raise _error(name, f"{_shown(name)} is not one of {there}") from None
        if (aggregate is Aggregate.COUNT) is (inside is not None):
            raise _error(name, "count() has no field" if inside is not None else f"{name}() needs a field")
        if op in _PATTERNS:
            raise _error(value, "an aggregate is compared with =, !=, >, >=, < or <=")
        field = None if inside is None else _measured(inside)
        return Stage(aggregate, field, op, _stage_value(value, field))


def _is_field(token: Token) -> bool:
    return token.type == "ATTRIBUTE" or (token.type == "WORD" and str(token) in _INTRINSICS)


def _not_a_field(token: Token) -> str:
    if token.type == "WORD":
        hint = f"; an attribute has a dot, such as span.{token} or .{token}" if len(token) <= MAX_SHOWN else ""
        return f"{_shown(token)} is not a field{hint}"
    return f"a comparison needs a field, {_shown(token)} is a value"


def _alone(token: Token) -> Condition:
    """`{true}`, or an attribute that is itself true or false."""
    if token.type == "WORD" and isinstance(_CONSTANTS.get(str(token)), bool):
        return Constant(str(token) == "true")
    if token.type == "ATTRIBUTE":
        return Comparison(_field(token), Op.EQ, True)
    raise _error(token, f"{_shown(token)} is compared with nothing" if _is_field(token) else _not_a_field(token))


def _field(token: Token) -> Field:
    if token.type == "WORD":
        return _INTRINSICS[str(token)]
    prefix, _, name = str(token).partition(".")
    if '"' in name:
        name = "".join(_unquoted(part) if part.startswith('"') else part for part in _quoted_parts(name))
    try:
        return AttributeField(Scope(prefix), name)
    except ValueError:
        there = ", ".join(f"{scope.value}." for scope in Scope)
        raise _error(token, f"scope {_shown(prefix)} is not one of {there}") from None


def _quoted_parts(name: str) -> list[str]:
    return re.findall(r'"(?:\\.|[^"\\])*"|[^"]+', name)


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    return str(json.loads(text, strict=False))


def _checked(at: Token, field: Field, op: Op, token: Token) -> Comparison:
    value = _value(token)
    if op in _PATTERNS:
        _check_pattern(token, field, value)
    elif value is None:
        if op in _ORDERED:
            raise _error(token, "nil is compared with = or !=")
    elif field in _DURATIONS:
        if not isinstance(value, Duration):
            raise _error(token, f"{at} needs a duration such as 300ms, got {_shown(token)}")
    elif isinstance(field, Intrinsic) and field in _WORDS:
        value = _word(at, token, value, _WORDS[field], op)
    elif isinstance(field, Intrinsic):
        _check_text(at, token, field, value, op)
    elif isinstance(value, Duration | Word):
        what = "has no unit; compare with a number" if isinstance(value, Duration) else "is compared with quoted text"
        raise _error(token, f"an attribute {what}, got {_shown(token)}")
    elif isinstance(value, bool) and op in _ORDERED:
        raise _error(token, f"{_shown(token)} is compared with = or !=")
    return Comparison(field, op, value)


def _check_pattern(token: Token, field: Field, value: Value) -> None:
    if not isinstance(value, str) or field in _DURATIONS or field in _WORDS or field in _IDS:
        raise _error(token, "=~ and !~ compare text with a quoted regular expression")
    if len(value) > MAX_PATTERN:
        raise _error(
            token, f"a regular expression of {len(value)} characters is longer than the limit of {MAX_PATTERN}"
        )
    import re2  # DuckDB's own engine: what compiles here compiles there

    try:
        re2.compile(value, _quiet())
    except re2.error as error:
        reason = error.args[0].decode() if isinstance(error.args[0], bytes) else error.args[0]
        raise _error(token, f"bad regular expression: {reason}") from None


@cache
def _quiet() -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    return options


def _word(at: Token, token: Token, value: Value, there: frozenset[str], op: Op) -> Word:
    text = value.text if isinstance(value, Word) else value
    if not isinstance(text, str) or text not in there:
        raise _error(token, f"{at} is one of {', '.join(sorted(there))}, got {_shown(token)}")
    if op in _ORDERED:
        raise _error(token, f"{at} is compared with = or !=")
    return Word(text)


def _check_text(at: Token, token: Token, field: Intrinsic, value: Value, op: Op) -> None:
    if not isinstance(value, str):
        raise _error(token, f"{at} is compared with quoted text, got {_shown(token)}")
    if field not in _IDS:
        return
    digits = value.lower()
    if op in _ORDERED or not 0 < len(digits) <= _IDS[field] or digits.strip("0123456789abcdef"):
        raise _error(token, f"{at} is compared by = or != with 1 to {_IDS[field]} hex digits")


def _value(token: Token) -> Value:
    match token.type:
        case "STRING":
            try:
                return _unquoted(str(token))
            except ValueError:
                raise _error(token, f"bad escape in {_shown(token)}") from None
        case "DURATION":
            try:
                return Duration(parse_go_duration_nano(str(token)))
            except ValueError as error:
                raise _error(token, str(error)) from None
        case "NUMBER":
            return _number(token)
    text = str(token)
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text in _STATUSES or text in _KINDS:
        return Word(text)
    raise _error(token, f"{_shown(token)} is not a value; text is quoted")


def _number(token: Token) -> int | float:
    text = str(token)
    if text.lstrip("-").isdecimal():
        if len(text) > len(str(_MAX_INT)) + 1 or not -_MAX_INT <= int(text) < _MAX_INT:
            raise _error(token, f"{_shown(token)} is not a 64-bit number")
        return int(text)
    return float(text)


def _measured(token: Token) -> Field:
    if not _is_field(token):
        raise _error(token, _not_a_field(token))
    field = _field(token)
    if isinstance(field, Intrinsic) and field is not Intrinsic.DURATION:
        raise _error(token, f"{token} is not a number; aggregate duration or an attribute")
    return field


def _stage_value(token: Token, field: Field | None) -> int | float | Duration:
    value = _value(token)
    if field is Intrinsic.DURATION:
        if isinstance(value, Duration):
            return value
        raise _error(token, f"a duration such as 300ms is needed, got {_shown(token)}")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _error(token, f"a number is needed, got {_shown(token)}")
    return value
