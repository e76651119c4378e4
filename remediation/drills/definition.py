"""
A drill's definition, as YAML. `drills/latency-surge.yaml` is the example to read.

    name, title, description, service, timeout
    steady_state:   {within, hold, conditions: [CONDITION…]}   all must hold together before anything is broken
    inject:         [INJECTION…]                               undone at `end_injection`, on failure, and by their TTL
    confirm:        [EXPECTATION…]                             telemetry's proof that the injection landed
    expect:         [EXPECTATION…]
    end_injection:  {after: NAME | [NAME…]}                    default: once everything expected is decided
    then:           [EXPECTATION…]                             measured from `end_injection`
    stop_conditions: [CONDITION with `hold`…]                  checked all along; one that holds aborts the drill

A CONDITION has a `name` and exactly one check (see `checks`). An EXPECTATION is a condition with `within` (must become
true, and hold for `hold`) or `stays` (must be true all that long), `after` (an earlier expectation's name, `injection`
or `end_injection`, or a list of these), and, to be graded, `grade` and `aim`. Durations are Prometheus's: 500ms, 1m30s.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from remediation.drills.checks import Checks, ServiceName
from remediation.drills.errors import DefinitionError, UnknownDrillError

MAX_DEFINITION_BYTES = 256 * 1024  # a hundred times the drills that we ship
MAX_TIMEOUT_S = 3600.0  # a drill holds the stack in a broken state; nobody waits longer for a verdict
MAX_ARRIVALS_PER_S = 500.0  # what Locust on one core of a laptop still sends as an open load
INJECTION, END_INJECTION = "injection", "end_injection"  # the events that are no expectation's name

_DURATION = re.compile(r"(?:(?P<h>\d+)h)?(?:(?P<m>\d+)m(?!s))?(?:(?P<s>\d+)s)?(?:(?P<ms>\d+)ms)?")
_UNIT_S = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def seconds(text: Any) -> float:
    """
    A Prometheus duration as seconds.

    Raises:
        ValueError: not one; a bare number too, since its unit would be a guess.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if not match or not text:
        raise ValueError(f"expected a duration such as 500ms, 20s or 1m30s, got {text!r}")
    return sum(int(count) * _UNIT_S[unit] for unit, count in match.groupdict().items() if count)


Duration = Annotated[float, BeforeValidator(seconds), Field(ge=0, le=MAX_TIMEOUT_S)]
Name = Annotated[str, Field(min_length=1, max_length=80)]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)


class Condition(Checks):
    name: Name
    hold: Duration = 0.0


class SteadyState(_Model):
    within: Duration
    hold: Duration = 0.0
    conditions: tuple[Condition, ...] = Field(min_length=1)

    @field_validator("conditions")
    @classmethod
    def _held_together(cls, conditions: tuple[Condition, ...]) -> tuple[Condition, ...]:
        for condition in conditions:
            if condition.hold:
                raise ValueError(f"{condition.name!r}: the steady state holds as a whole; set steady_state.hold")
        return conditions


class Load(_Model):
    """Arrivals of one journey; a `browse` is one request to catalog."""

    journey: Literal["browse", "recommend", "cart", "buy"]
    service: ServiceName | None = None  # whose capacity `times_capacity` multiplies
    times_capacity: Annotated[float, Field(gt=0, le=20)] | None = None
    rate: Annotated[float, Field(ge=0, le=MAX_ARRIVALS_PER_S)] | None = None  # arrivals a second

    @model_validator(mode="after")
    def _one_size(self) -> Self:
        if (self.times_capacity is None) == (self.rate is None):
            raise ValueError("give either times_capacity or rate")
        if (self.times_capacity is None) != (self.service is None):
            raise ValueError("service and times_capacity belong together")
        return self


class Fault(_Model):
    service: ServiceName
    kind: Literal["latency", "errors", "slow_dependency", "crash"]
    latency_ms: Annotated[int, Field(gt=0, le=60_000)] | None = None
    error_ratio: Annotated[float, Field(gt=0, le=1)] | None = None
    dependency: ServiceName | None = None

    @model_validator(mode="after")
    def _fields_of_the_kind(self) -> Self:
        needed = {
            "latency": {"latency_ms"},
            "errors": {"error_ratio"},
            "slow_dependency": {"latency_ms", "dependency"},
            "crash": set[str](),
        }[self.kind]
        given = {name for name in ("latency_ms", "error_ratio", "dependency") if getattr(self, name) is not None}
        if given != needed:
            raise ValueError(f"kind {self.kind} takes {sorted(needed) or 'no field'}, got {sorted(given) or 'none'}")
        return self


class Injection(_Model):
    load: Load | None = None
    fault: Fault | None = None
    ttl: Duration | None = None  # default: the drill's timeout and a margin

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if (self.load is None) == (self.fault is None):
            raise ValueError("give exactly one of load, fault")
        return self


class Expectation(Checks):
    name: Name
    within: Duration | None = None
    stays: Duration | None = None
    hold: Duration = 0.0
    after: Name | tuple[Name, ...] | None = None
    grade: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,19}$")] | None = None
    aim: Duration | None = None

    @property
    def after_events(self) -> tuple[str, ...]:
        return (self.after,) if isinstance(self.after, str) else self.after or ()

    @model_validator(mode="after")
    def _one_mode(self) -> Self:
        if (self.within is None) == (self.stays is None):
            raise ValueError("give either within (must become true) or stays (must be true all that long)")
        if self.stays is not None and (self.hold or self.aim or self.grade):
            raise ValueError("stays goes with neither hold, aim nor grade")
        if self.aim is not None and (self.grade is None or self.aim > (self.within or 0)):
            raise ValueError("aim wants a grade, and may not be longer than within")
        return self


class EndInjection(_Model):
    after: Name | tuple[Name, ...]

    @property
    def after_events(self) -> tuple[str, ...]:
        return (self.after,) if isinstance(self.after, str) else self.after


class Definition(_Model):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=60)]
    title: Name
    description: str
    service: ServiceName
    timeout: Duration
    steady_state: SteadyState
    inject: tuple[Injection, ...] = Field(min_length=1)
    confirm: tuple[Expectation, ...] = Field(min_length=1)
    expect: tuple[Expectation, ...] = Field(min_length=1)
    end_injection: EndInjection | None = None
    then: tuple[Expectation, ...] = ()
    stop_conditions: tuple[Condition, ...] = ()

    @model_validator(mode="after")
    def _events_exist(self) -> Self:
        known = [INJECTION]
        for expectation in (*self.confirm, *self.expect):
            self._check_events(expectation.name, expectation.after_events, known)
            known.append(expectation.name)
        if self.end_injection:
            self._check_events(END_INJECTION, self.end_injection.after_events, known)
        known.append(END_INJECTION)
        for expectation in self.then:
            self._check_events(expectation.name, expectation.after_events, known)
            known.append(expectation.name)
        if doubles := {name for name in known if known.count(name) > 1}:
            raise ValueError(f"names must differ, but {sorted(doubles)} are given twice (or are reserved)")
        graded = [e.grade for e in (*self.confirm, *self.expect, *self.then) if e.grade]
        if len(set(graded)) != len(graded):
            raise ValueError(f"each grade may be given once, got {graded}")
        return self

    @staticmethod
    def _check_events(name: str, after: tuple[str, ...], known: list[str]) -> None:
        for event in after:
            if event not in known:
                raise ValueError(f"{name!r} comes after {event!r}, which is no earlier event; those are {known}")


def parse(text: str, source: str) -> Definition:
    """
    Raises:
        DefinitionError: every problem, one a line, each with `source` and the key.
    """
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise DefinitionError(f"{source}: not YAML: {error}") from error
    if not isinstance(document, dict):
        raise DefinitionError(f"{source}: expected a mapping with name, title, …, got {type(document).__name__}")
    try:
        return Definition.model_validate(document)
    except ValidationError as error:
        raise DefinitionError("\n".join(_problem(source, problem) for problem in error.errors())) from error


def _problem(source: str, problem: Any) -> str:
    key = ".".join(str(part) for part in problem["loc"])
    message = problem["msg"].removeprefix("Value error, ")
    got = problem.get("input")
    shown = "" if isinstance(got, dict | list | BaseModel) or repr(got) in message else f", got {got!r}"
    return f"{source}: {key + ': ' if key else ''}{message}{shown}"


def load(path: Path) -> Definition:
    """
    Raises:
        DefinitionError: not readable, too large, or not a drill; or its name is not its file's.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_DEFINITION_BYTES + 1)
        text = raw.decode()
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError(f"{path}: {error}") from error
    if len(raw) > MAX_DEFINITION_BYTES:
        raise DefinitionError(f"{path}: larger than the limit of {MAX_DEFINITION_BYTES} bytes")
    definition = parse(text, str(path))
    if definition.name != path.stem:
        raise DefinitionError(f"{path}: name: is {definition.name!r}, but the file is called {path.name!r}")
    return definition


def available(folder: Path) -> list[Path]:
    """The definitions in `folder`, by name. Empty if there is none."""
    return sorted(folder.glob("*.yaml"))


def find(name: str, folder: Path) -> Definition:
    """
    The drill called `name` in `folder`; `name` may also be the path of a YAML file.

    Raises:
        UnknownDrillError: neither.
        DefinitionError: found, but not a drill.
    """
    if name.endswith((".yaml", ".yml")):
        return load(Path(name))
    known = {path.stem: path for path in available(folder)}
    if name not in known:
        raise UnknownDrillError(f"no drill {name!r}; there are: {', '.join(known) or 'none'} (in {folder})")
    return load(known[name])
