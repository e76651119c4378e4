"""
Expanding the templates of alert labels and annotations, as Prometheus does.

A template that fails yields Prometheus's text `<error expanding template: …>` and never stops an evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from collector.model.text import quote
from collector.rules.goformat import format_value, type_name
from collector.rules.gotime import method_of
from collector.rules.template_functions import FUNCTION_NAMES, functions, truth
from collector.rules.template_syntax import (
    MAX_DEPTH,
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
    parse,
)

# What Prometheus defines before every alert template (rules/alerting.go, defs).
PREDEFINED = {
    "$labels": "Labels",
    "$externalLabels": "ExternalLabels",
    "$externalURL": "ExternalURL",
    "$value": "Value",
}
MAX_OUTPUT_CHARS = 65_536  # an annotation is a text for people; a template must not fill the memory
Samples = list[dict[str, object]]


class _Break(Exception):  # noqa: N818  (a jump, not an error)
    pass


class _Continue(Exception):  # noqa: N818
    pass


@dataclass(frozen=True, slots=True)
class TemplateContext:
    """What templates of one evaluation share."""

    external_url: str
    query: Callable[[str], Samples]  # evaluates an expression at the time of the alert; may raise
    external_labels: Mapping[str, str] = field(default_factory=dict)
    at_ms: int = 0  # of the evaluation, Unix milliseconds: what `now` says


class Template:
    """
    One parsed template.

    Args:
        text: With or without actions.
        name: The rule's name; errors call the template `__alert_NAME`.

    Raises:
        TemplateError: the text does not parse; use `expand` of a `Template.lenient` to get the error as text instead.
    """

    __slots__ = ("_error", "_name", "_nodes", "_templates")

    def __init__(self, text: str, name: str) -> None:
        self._name = f"__alert_{name}"
        self._error: str | None = None
        self._nodes: tuple[Node, ...] = (Text(text),)
        self._templates: dict[str, tuple[Node, ...]] = {}
        if "{{" in text:
            try:
                self._nodes, self._templates = parse(text, FUNCTION_NAMES, name=self._name, variables=PREDEFINED.keys())
            except TemplateError as error:
                raise TemplateError(f"error parsing template {self._name}: {error}") from error

    @classmethod
    def lenient(cls, text: str, name: str) -> Template:
        """A template whose parse error, if any, is what it expands to."""
        try:
            return cls(text, name)
        except TemplateError as error:
            template = cls("", name)
            template._error = str(error)
            return template

    def expand(self, labels: Mapping[str, str], value: float, context: TemplateContext) -> str:
        """The text for one alert; an error becomes text, worded as Prometheus words it."""
        if self._error is not None:
            return f"<error expanding template: {self._error}>"
        if len(self._nodes) == 1 and isinstance(self._nodes[0], Text):
            return self._nodes[0].text
        data = {
            "Labels": labels,
            "ExternalLabels": context.external_labels,
            "ExternalURL": context.external_url,
            "Value": value,
        }
        try:
            return _Execution(self._name, self._templates, data, context).run(self._nodes)
        except Exception as error:  # whatever a template provokes must not stop the rule
            return f"<error expanding template: error executing template {self._name}: {error}>"


class _Execution:
    """One run over the tree; variables live in a chain of scopes."""

    def __init__(
        self,
        name: str,
        templates: Mapping[str, tuple[Node, ...]],
        data: Mapping[str, object],
        context: TemplateContext,
    ) -> None:
        self._name = name
        self._templates = templates
        self._depth = 0
        self._functions = functions(context.external_url, context.query, now_s=context.at_ms / 1000)
        predefined = {variable: data[field] for variable, field in PREDEFINED.items()}
        self._scopes: list[dict[str, object]] = [{"$": data, **predefined}]
        self._out: list[str] = []
        self._length = 0

    def run(self, nodes: Sequence[Node]) -> str:
        self._walk(nodes, self._scopes[0]["$"])
        return "".join(self._out)

    def _fail(self, line: int, what: str, reason: object) -> TemplateError:
        return TemplateError(f"template: {self._name}:{line}: executing {quote(self._name)} at <{what}>: {reason}")

    def _write(self, text: str) -> None:
        self._length += len(text)
        if self._length > MAX_OUTPUT_CHARS:
            raise TemplateError(f"the text exceeds the limit of {MAX_OUTPUT_CHARS} characters")
        self._out.append(text)

    def _walk(self, nodes: Sequence[Node], dot: object) -> None:
        for node in nodes:
            match node:
                case Text():
                    self._write(node.text)
                case Action():
                    value = self._evaluate(node.pipeline, dot)
                    if not node.pipeline.variables:
                        self._write(format_value(value))
                case Branch():
                    self._branch(node, dot)
                case Invoke():
                    data = None if node.pipeline is None else self._evaluate(node.pipeline, dot)
                    self._invoke(node.name, data, node.line)
                case Jump():
                    raise _Break if node.kind == "break" else _Continue

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
        if isinstance(over, Mapping):
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
            if name not in value and ("Value" in value or "Labels" in value):
                raise self._fail(line, f".{name}", f"can't evaluate field {name} in type template.AlertTemplateData")
            value = value.get(name, "")  # missingkey=zero, as Prometheus sets it
        return value
