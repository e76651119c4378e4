"""What a step may do beside scaling, and what the policy files allow it to use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

import re2
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from remediation.errors import TemplateError
from remediation.policy.duration import Duration
from remediation.policy.template import names_in

MAX_OUTPUT_BYTES = 64 * 1024  # of a command or an answer, kept in the record
MAX_TIMEOUT_S = 3600.0
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _template(text: str) -> str:
    try:
        names_in(text)
    except TemplateError as error:
        raise ValueError(str(error)) from error
    return text


Prose = Annotated[str, Field(min_length=1, max_length=10_000), AfterValidator(_template)]
"""Text with {{ target }}, {{ labels.X }} and {{ annotations.X }}."""


def _timeout(seconds: float) -> float:
    if not 0.1 <= seconds <= MAX_TIMEOUT_S:
        raise ValueError(f"must be between 100ms and 1h, got {seconds:g}s")
    return seconds


Timeout = Annotated[Duration, AfterValidator(_timeout)]


def _pattern(text: str) -> str:
    try:
        re2.compile(text)
    except re2.error as error:
        raise ValueError(f"not a regular expression of RE2: {error}") from error
    return text


class AllowedCommand(_Model):
    """
    A runbook command that steps may run, by its name. There is no shell: each item of `argv` is one argument, and a
    `{placeholder}` in it is one value that fits its pattern as a whole.
    """

    argv: tuple[Annotated[str, Field(min_length=1)], ...] = Field(min_length=1, max_length=64)
    arguments: dict[str, Annotated[str, AfterValidator(_pattern)]] = {}  # name → what its value must match
    timeout: Timeout = 60.0
    # A worker that dies while the command runs cannot know whether it had its effect. Only one that may be repeated is.
    repeatable: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> AllowedCommand:
        if _PLACEHOLDER.search(self.argv[0]) or not Path(self.argv[0]).is_absolute():
            raise ValueError(f"the program must be an absolute path without placeholders, got {self.argv[0]!r}")
        used = {name for item in self.argv for name in _PLACEHOLDER.findall(item)}
        if used != self.arguments.keys():
            odd = ", ".join(sorted(used ^ self.arguments.keys()))
            raise ValueError(f"placeholders in argv and arguments differ: {odd}")
        return self

    def line(self, values: dict[str, str]) -> list[str]:
        """
        Raises:
            ValueError: a value is missing, unknown, or does not match; names it.
        """
        if values.keys() != self.arguments.keys():
            odd = ", ".join(sorted(values.keys() ^ self.arguments.keys()))
            raise ValueError(f"arguments differ from those of the command: {odd}")
        for name, value in values.items():
            if re2.fullmatch(self.arguments[name], value) is None:
                raise ValueError(f"argument {name}: {value[:80]!r} does not match {self.arguments[name]!r}")
        return [_PLACEHOLDER.sub(lambda found: values[found.group(1)], item) for item in self.argv]


class Notifier(_Model):
    """Somebody to be told, through apprise; its address holds a secret, so it stands in a file of its own."""

    url_file: Path


class Restart(_Model):
    """Replace every replica that started before the action, one after the other."""


class Run(_Model):
    command: Name  # one of the file's `commands`
    arguments: dict[str, Prose] = {}


class Call(_Model):
    """An HTTP request. It carries `Idempotency-Key`, the same however often the step is repeated."""

    url: Annotated[str, StringConstraints(pattern=r"^https?://")]
    method: Literal["POST", "PUT", "PATCH", "DELETE", "GET"] = "POST"
    body: Prose | None = None
    headers: dict[str, str] = {}
    token_file: Path | None = None  # sent as a bearer token
    expect: tuple[Annotated[int, Field(ge=100, le=599)], ...] = (200, 201, 202, 204)
    timeout: Timeout = 10.0


class Approval(_Model):
    """Ask a person; go on when it is granted."""

    question: Prose
    within: Duration = 900.0
    otherwise: Literal["approve", "refuse"] = "refuse"  # when nobody has answered by then


class Notify(_Model):
    to: tuple[Name, ...] = Field(min_length=1)  # some of the file's `notifiers`
    title: Prose = "{{ labels.alertname }} on {{ target }}"
    body: Prose


class Snapshot(_Model):
    """Write the evidence into the record now."""
