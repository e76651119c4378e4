"""
The syntax of Go's text/template, as far as alert templates use it: text to tree.

Built: text, comments, trim markers, pipelines, variables, parentheses, if / else if / else, with, range, break,
continue, define, template, block. Source: Go text/template/parse.
"""

from __future__ import annotations

import re
from collections.abc import Set

from collector.gotemplate.lexer import ACTION, Token, tokens, unquote
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
    Parsed,
    Pipeline,
    TemplateError,
    Text,
)
from collector.model.text import quote

MAX_DEPTH = 50  # of branches in one another, and of templates that call one another; a page of text has three


def parse(text: str, functions: Set[str], *, name: str = "", variables: Set[str] = frozenset()) -> Parsed:
    """
    The tree of a template.

    Args:
        functions: Those that may be called; another is an error, as in Go.
        name: What errors call the template.
        variables: Those defined before the template begins, with their `$`.

    Raises:
        TemplateError: with the template's name and the line.
    """
    return _Parser(text, functions, name, variables).parse()


class _Parser:
    def __init__(self, text: str, functions: Set[str], name: str, variables: Set[str]) -> None:
        self._functions = functions
        self._name = name
        self._line = 1
        self._scopes = [{"$", *variables}]
        self._pieces = self._split(text)
        self._tokens: list[Token] = []
        self._loops = 0
        self._depth = 0  # of branches and definitions
        self._templates: dict[str, tuple[Node, ...]] = {}

    def _error(self, message: str) -> TemplateError:
        return TemplateError(f"template: {self._name}:{self._line}: {message}")

    def _split(self, text: str) -> list[tuple[int, str | None, str]]:
        """(line, action or None, literal text), trim markers applied, comments dropped, last first."""
        pieces: list[tuple[int, str | None, str]] = []
        at, trim = 0, False
        for match in ACTION.finditer(text):
            literal = text[at : match.start()]
            self._line = text.count("\n", 0, match.start()) + 1
            if "{{" in literal:
                raise self._error("unclosed action")
            literal = literal.lstrip() if trim else literal
            pieces.append((self._line, None, literal.rstrip() if match[1] else literal))
            if not match[2].startswith("/*"):
                pieces.append((self._line, match[2], ""))
            at, trim = match.end(), match[3] is not None
        rest = text[at:]
        self._line = text.count("\n", 0, at) + 1
        if "{{" in rest:
            raise self._error("unclosed action")
        pieces.append((self._line, None, rest.lstrip() if trim else rest))
        return pieces[::-1]

    def parse(self) -> Parsed:
        nodes, ended_by = self._nodes()
        if ended_by is not None:
            raise self._error(f"unexpected {{{{{ended_by}}}}}")
        return Parsed(nodes, self._templates)

    def _nodes(self) -> tuple[tuple[Node, ...], str | None]:
        """Nodes up to `end`, `else` (whose tokens are left to the caller) or the end of the text (None)."""
        nodes: list[Node] = []
        while self._pieces:
            self._line, action, literal = self._pieces.pop()
            if action is None:
                nodes += [Text(literal)] if literal else []
                continue
            self._tokens = self._tokens_of(action)
            word = self._tokens[-1].text if self._tokens and self._tokens[-1].kind == "word" else ""
            if word in ("end", "else"):
                self._tokens.pop()
                return tuple(nodes), word
            if word == "define":
                self._define()
            else:
                nodes.append(self._node(word))
        return tuple(nodes), None

    def _define(self) -> None:
        if self._depth:
            raise self._error("unexpected {{define}}")
        self._tokens.pop()
        name = self._template_name("define clause")
        self._skip_space()
        if self._tokens:
            raise self._error(f"unexpected {quote(self._tokens[-1].text)} in define clause")
        self._body(name)

    def _body(self, name: str) -> None:
        """What stands up to `end` is the template of that name. It sees no variables but its own."""
        outer, self._scopes = self._scopes, [{"$"}]
        self._depth += 1
        nodes, ended_by = self._nodes()
        self._depth -= 1
        self._scopes = outer
        if ended_by != "end":
            raise self._error("unexpected EOF" if ended_by is None else "unexpected {{else}} in define clause")
        self._templates[name] = nodes

    def _template_name(self, context: str) -> str:
        self._skip_space()
        if not self._tokens or self._tokens[-1].kind != "string":
            found = quote(self._tokens[-1].text) if self._tokens else "{{end}}"
            raise self._error(f"unexpected {found} in {context}")
        return unquote(self._tokens.pop().text)

    def _invoke(self, word: str) -> Invoke:
        line = self._line
        self._tokens.pop()
        name = self._template_name(f"{word} clause")
        self._skip_space()
        pipeline = self._whole_pipeline(f"{word} clause") if self._tokens else None
        if word == "block":
            if pipeline is None:
                raise self._error("missing value for block clause")
            self._body(name)
        return Invoke(name, pipeline, line)

    def _node(self, word: str) -> Node:
        if word in ("template", "block"):
            return self._invoke(word)
        if word in ("break", "continue"):
            if not self._loops:
                raise self._error(f"{{{{{word}}}}} outside {{{{range}}}}")
            self._tokens.pop()
            return Jump(word)
        if word in ("if", "with", "range"):
            self._tokens.pop()
            return self._branch(word)
        return Action(self._whole_pipeline("command"))

    def _branch(self, kind: str) -> Branch:
        self._scopes.append(set(self._scopes[-1]))
        pipeline = self._whole_pipeline(kind)
        self._loops += kind == "range"
        body, ended_by = self._scoped_nodes()
        self._loops -= kind == "range"
        otherwise: tuple[Node, ...] = ()
        self._skip_space()
        if ended_by == "else" and self._tokens and self._tokens[-1].text in ("if", "with"):
            otherwise = (self._branch(self._tokens.pop().text),)
            ended_by = "end"
        elif ended_by == "else":
            otherwise, ended_by = self._scoped_nodes()
        if ended_by != "end":
            raise self._error("unexpected EOF" if ended_by is None else "unexpected {{else}}")
        self._scopes.pop()
        return Branch(kind, pipeline, body, otherwise)

    def _scoped_nodes(self) -> tuple[tuple[Node, ...], str | None]:
        self._scopes.append(set(self._scopes[-1]))
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._error(f"nested deeper than {MAX_DEPTH} levels")
        try:
            return self._nodes()
        finally:
            self._depth -= 1
            self._scopes.pop()

    def _tokens_of(self, action: str) -> list[Token]:
        """Last first, so that the next one is popped."""
        try:
            return tokens(action)[::-1]
        except TemplateError as error:
            raise self._error(str(error)) from None

    def _skip_space(self) -> None:
        while self._tokens and self._tokens[-1].kind == "space":
            self._tokens.pop()

    def _whole_pipeline(self, context: str) -> Pipeline:
        pipeline = self._pipeline(context)
        if self._tokens:
            raise self._error(f"unexpected {quote(self._tokens[-1].text)} in {context}")
        return pipeline

    def _pipeline(self, context: str) -> Pipeline:
        variables, declares = self._assignment(context)
        commands = [self._command(context)]
        while self._tokens and self._tokens[-1].text == "|":
            self._tokens.pop()
            self._skip_space()
            if not self._tokens or self._tokens[-1].text == ")":
                break  # Go takes a last `|` for nothing
            commands.append(self._command(context))
            if commands[-1].function is None:
                raise self._error(f"non executable command in pipeline stage {len(commands)}")
        if declares:
            self._scopes[-1].update(variables)
        return Pipeline(tuple(commands), variables, declares, self._line)

    def _assignment(self, context: str) -> tuple[tuple[str, ...], bool]:
        text = "".join(token.text for token in reversed(self._tokens))
        match = re.match(r"\s*(\$\w+)(?:\s*,\s*(\$\w+))?\s*(:?=)", text)
        if match is None:
            return (), False
        if match[2] and context != "range":
            raise self._error(f"too many declarations in {context}")
        while self._tokens.pop().text != match[3]:
            pass
        variables = tuple(filter(None, (match[1], match[2])))
        for variable in variables:
            if match[3] == "=" and variable not in self._scopes[-1]:
                raise self._error(f"undefined variable {quote(variable)}")
        return variables, match[3] == ":="

    def _command(self, context: str) -> Command:
        operands: list[Operand] = []
        function = None
        self._skip_space()
        if self._tokens and self._tokens[-1].kind == "word" and self._tokens[-1].text not in ("true", "false", "nil"):
            function = self._function(self._tokens.pop().text)
            self._skip_space()
        while self._tokens and self._tokens[-1].text not in ("|", ")"):
            operands.append(self._operand(context))
            self._skip_space()
        if function is None and not operands:
            raise self._error(f"missing value for {context}")
        if function is None and len(operands) > 1 and not (isinstance(operands[0], Chain) and operands[0].fields):
            raise self._error(f"can't give argument to non-function in {context}")
        return Command(function, tuple(operands))

    def _function(self, name: str) -> str:
        if name not in self._functions:
            raise self._error(f"function {quote(name)} not defined")
        return name

    def _operand(self, context: str) -> Operand:
        token = self._tokens.pop()
        match token.kind:
            case "string":
                return Constant(unquote(token.text))
            case "char":
                return Constant(ord(unquote(token.text)))
            case "number":
                return Constant(self._number(token.text))
            case "field":
                return Chain(None, self._fields((token.text[1:],)))
            case "dot":
                return Chain(None, ())
            case "variable":
                if token.text not in self._scopes[-1]:
                    raise self._error(f"undefined variable {quote(token.text)}")
                return Chain(token.text, self._fields(()))
            case "word" if token.text in ("true", "false", "nil"):
                return Constant({"true": True, "false": False, "nil": None}[token.text])
            case "word":
                return Command(self._function(token.text), ())
            case "sign" if token.text == "(":
                inner = self._pipeline("parenthesized pipeline")
                if not self._tokens or self._tokens.pop().text != ")":
                    raise self._error("unclosed left paren")
                fields = self._fields(())
                return Chain(inner, fields) if fields else inner
        raise self._error(f"unexpected {quote(token.text)} in {context}")

    def _fields(self, fields: tuple[str, ...]) -> tuple[str, ...]:
        while self._tokens and self._tokens[-1].kind == "field":
            fields += (self._tokens.pop().text[1:],)
        return fields

    def _number(self, text: str) -> int | float:
        try:
            return int(text.replace("_", ""), 0)
        except ValueError:
            return float(text.replace("_", ""))
