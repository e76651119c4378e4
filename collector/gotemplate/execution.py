"""
Running a template's tree over data.

Source: Go text/template/exec.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from collector.gotemplate.builtins import Function, truth
from collector.gotemplate.goformat import format_value, type_name
from collector.gotemplate.parser import MAX_DEPTH
from collector.gotemplate.tree import (
    Action,
    Branch,
    Chain,
    Command,
    Constant,
    Invoke,
    Jump,
    Node,
    Operand,
    Pipeline,
    TemplateError,
    Text,
)
from collector.gotemplate.values import Struct, method_of
from collector.model.text import quote

Templates = Mapping[str, tuple[Node, ...]]


class TooLongError(TemplateError):
    """
    The output exceeds its bound.

    Attributes:
        text: What there was until then.
    """

    def __init__(self, max_chars: int, text: str) -> None:
        super().__init__(f"the text exceeds the limit of {max_chars} characters")
        self.text = text


class Writer(Protocol):
    """How output is made of literal text and of values: as it is, or escaped for HTML."""

    def literal(self, text: str) -> str: ...

    def value(self, value: object, last_function: str | None) -> str:
        """Raises ValueError: a value may not stand here."""
        ...


class PlainWriter:
    def literal(self, text: str) -> str:
        return text

    def value(self, value: object, _last_function: str | None) -> str:
        return format_value(value)


class _Break(Exception):  # noqa: N818  (a jump, not an error)
    pass


class _Continue(Exception):  # noqa: N818
    pass


class Execution:
    """
    One run over a tree.

    Args:
        name: What errors call the template.
        templates: Those that it may invoke.
        variables: Known before it begins, with their `$`; `$` itself is the data.
        max_chars: Of the output.
    """

    def __init__(
        self,
        name: str,
        templates: Templates,
        functions: Mapping[str, Function],
        *,
        variables: Mapping[str, object] | None = None,
        max_chars: int,
        writer: Writer | None = None,
    ) -> None:
        self._name = name
        self._templates = templates
        self._depth = 0
        self._functions = functions
        self._scopes: list[dict[str, object]] = [dict(variables or {})]  # a chain, the innermost last
        self._max_chars = max_chars
        self._writer = writer or PlainWriter()
        self._out: list[str] = []
        self._length = 0

    def run(self, nodes: Sequence[Node], data: object) -> str:
        """
        Raises:
            TooLongError: the output exceeds its bound.
            TemplateError: worded as Go words it.
        """
        self._scopes[0]["$"] = data
        self._walk(nodes, data)
        return "".join(self._out)

    def _fail(self, line: int, what: str, reason: object) -> TemplateError:
        return TemplateError(f"template: {self._name}:{line}: executing {quote(self._name)} at <{what}>: {reason}")

    def _write(self, text: str) -> None:
        self._length += len(text)
        if self._length > self._max_chars:
            raise TooLongError(self._max_chars, "".join(self._out))
        self._out.append(text)

    def _walk(self, nodes: Sequence[Node], dot: object) -> None:
        for node in nodes:
            match node:
                case Text():
                    self._write(self._writer.literal(node.text))
                case Action():
                    value = self._evaluate(node.pipeline, dot)
                    if not node.pipeline.variables:
                        self._write(self._shown(value, node.pipeline))
                case Branch():
                    self._branch(node, dot)
                case Invoke():
                    data = None if node.pipeline is None else self._evaluate(node.pipeline, dot)
                    self._invoke(node.name, data, node.line)
                case Jump():
                    raise _Break if node.kind == "break" else _Continue

    def _shown(self, value: object, pipeline: Pipeline) -> str:
        try:
            return self._writer.value(value, pipeline.commands[-1].function)
        except ValueError as error:
            raise self._fail(pipeline.line, "action", error) from None

    def _invoke(self, name: str, data: object, line: int) -> None:
        nodes = self._templates.get(name)
        if nodes is None:
            raise self._fail(line, f"template {quote(name)}", f"template {quote(name)} not defined")
        if self._depth >= MAX_DEPTH:
            raise self._fail(line, f"template {quote(name)}", f"exceeded maximum template depth ({MAX_DEPTH})")
        outer, self._scopes = self._scopes, [{"$": data}]
        self._depth += 1
        try:
            self._walk(nodes, data)
        finally:
            self._depth -= 1
            self._scopes = outer

    def _branch(self, node: Branch, dot: object) -> None:
        depth = len(self._scopes)
        self._scopes.append({})
        try:
            if node.kind == "range":
                self._range(node, dot)
                return
            value = self._evaluate(node.pipeline, dot)
            if truth(value):
                self._walk(node.body, value if node.kind == "with" else dot)
            else:
                self._walk(node.otherwise, dot)
        finally:
            del self._scopes[depth:]

    def _range(self, node: Branch, dot: object) -> None:
        unassigned = Pipeline(node.pipeline.commands, line=node.pipeline.line)
        over = self._evaluate(unassigned, dot)
        if isinstance(over, Mapping) and not isinstance(over, Struct):
            pairs: list[tuple[object, object]] = sorted(over.items())
        elif isinstance(over, list):
            pairs = list(enumerate(over))
        elif over is None:
            pairs = []
        else:
            raise self._fail(node.pipeline.line, "range", f"range can't iterate over {format_value(over)}")
        if not pairs:
            self._walk(node.otherwise, dot)
        for pair in pairs:
            depth = len(self._scopes)
            names = node.pipeline.variables
            self._scopes.append(dict(zip(names, pair if len(names) == 2 else pair[1:], strict=False)))
            try:
                self._walk(node.body, pair[1])
            except _Break:
                break
            except _Continue:
                continue
            finally:
                del self._scopes[depth:]

    def _evaluate(self, pipeline: Pipeline, dot: object) -> object:
        value: object = None
        for position, command in enumerate(pipeline.commands):
            value = self._command(command, dot, (value,) if position else (), pipeline.line)
        for variable in pipeline.variables:
            self._assign(variable, value, declares=pipeline.declares)
        return value

    def _assign(self, variable: str, value: object, *, declares: bool) -> None:
        owner = self._scopes[-1]
        if not declares:
            owner = next(scope for scope in reversed(self._scopes) if variable in scope)
        owner[variable] = value

    def _command(self, command: Command, dot: object, last: tuple[object, ...], line: int) -> object:
        if command.function is None:
            first = command.arguments[0]
            if not isinstance(first, Chain) or not first.fields:
                return self._operand(first, dot, line)
            arguments = [self._operand(operand, dot, line) for operand in command.arguments[1:]]
            return self._chain(first, dot, line, (*arguments, *last))
        if command.function in ("and", "or"):
            return self._short_circuit(command, dot, last, line)
        arguments = [self._operand(operand, dot, line) for operand in command.arguments]
        try:
            return self._functions[command.function](*arguments, *last)
        except TypeError as error:
            message = f"wrong number of args for {command.function}: got {len(arguments) + len(last)}"
            raise self._fail(line, command.function, message) from error
        except TemplateError:
            raise
        except Exception as error:
            raise self._fail(line, command.function, f"error calling {command.function}: {error}") from error

    def _called(self, method: Callable[..., object], name: str, arguments: tuple[object, ...], line: int) -> object:
        try:
            return method(*arguments)
        except TypeError as error:
            raise self._fail(line, f".{name}", f"wrong number of args for {name}: got {len(arguments)}") from error

    def _short_circuit(self, command: Command, dot: object, last: tuple[object, ...], line: int) -> object:
        """`and` and `or` stop at the first argument that decides; what follows is not evaluated."""
        value: object = None
        for operand in (*command.arguments, *(Constant(item) for item in last)):
            value = self._operand(operand, dot, line)
            if truth(value) == (command.function == "or"):
                break
        return value

    def _operand(self, operand: Operand, dot: object, line: int) -> object:
        match operand:
            case Constant():
                return operand.value
            case Pipeline():
                return self._evaluate(operand, dot)
            case Command():
                return self._command(operand, dot, (), line)
            case Chain():
                return self._chain(operand, dot, line)

    def _chain(self, chain: Chain, dot: object, line: int, arguments: tuple[object, ...] = ()) -> object:
        if isinstance(chain.start, str):
            value = next(scope[chain.start] for scope in reversed(self._scopes) if chain.start in scope)
        else:
            value = dot if chain.start is None else self._evaluate(chain.start, dot)
        for position, name in enumerate(chain.fields):
            given = arguments if position + 1 == len(chain.fields) else ()
            if (method := method_of(value, name)) is not None:
                value = self._called(method, name, given, line)
                continue
            if given:
                raise self._fail(line, f".{name}", f"{name} has arguments but cannot be invoked as function")
            if not isinstance(value, Mapping):
                raise self._fail(line, f".{name}", f"can't evaluate field {name} in type {type_name(value)}")
            if isinstance(value, Struct) and name not in value:
                raise self._fail(line, f".{name}", f"can't evaluate field {name} in type {type_name(value)}")
            value = value.get(name, "")  # missingkey=zero, as Prometheus sets it
        return value
