"""What a template parses to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple


class TemplateError(Exception):
    """A template cannot be parsed or executed; the message reads as Go's."""


class Text(NamedTuple):
    text: str


class Constant(NamedTuple):
    value: object


class Chain(NamedTuple):
    """A start (None: the dot; a str: the variable of that name; else an expression), then fields."""

    start: Pipeline | str | None
    fields: tuple[str, ...]


class Command(NamedTuple):
    """A function with its arguments, a method (a chain) with its own, or one operand alone."""

    function: str | None
    arguments: tuple[Operand, ...]


class Pipeline(NamedTuple):
    commands: tuple[Command, ...]
    variables: tuple[str, ...] = ()
    declares: bool = False  # := rather than =
    line: int = 1


Operand = Constant | Chain | Command | Pipeline


@dataclass(frozen=True, slots=True)
class Action:
    pipeline: Pipeline


@dataclass(frozen=True, slots=True)
class Branch:
    kind: str  # if, with, range
    pipeline: Pipeline
    body: tuple[Node, ...]
    otherwise: tuple[Node, ...]


class Jump(NamedTuple):
    kind: str  # break, continue


class Invoke(NamedTuple):
    """`{{ template "name" pipeline }}`."""

    name: str
    pipeline: Pipeline | None
    line: int


Node = Text | Action | Branch | Jump | Invoke


class Parsed(NamedTuple):
    nodes: tuple[Node, ...]
    templates: dict[str, tuple[Node, ...]]  # what `define` and `block` name
