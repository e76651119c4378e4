"""
A drill's definition, as YAML. `drills/latency-surge.yaml` is the example to read.

    name, title, description, service, timeout
    steady_state:   {within, hold, conditions: [CONDITION…]}   all must hold together before anything is broken
    inject:         [INJECTION…]                               undone at `end_injection`, on failure, and by their TTL
    weight:         how much it counts in the score of all drills (`steersman drill history`); 1 if not given
    charts:         [{title, promql, unit}]                    drawn in the report, beside latency, load and replicas
    confirm:        [EXPECTATION…]                             telemetry's proof that the injection landed
    expect:         [EXPECTATION…]
    end_injection:  {after: NAME | [NAME…]}                    default: once everything expected is decided
    then:           [EXPECTATION…]                             measured from `end_injection`
    stop_conditions: [CONDITION with `hold`…]                  checked all along; one that holds aborts the drill

A CONDITION has a `name` and exactly one check (see `checks`). An INJECTION is told in `injection`. An EXPECTATION is a
condition with `within` (must become true, and hold for `hold`) or `stays` (must be true all that long), `after` (an
earlier expectation's name, `injection` or `end_injection`, or a list of these), and, to be graded, `grade`, `aim` and
`weight` (in the score; see `score`). Durations are Prometheus's: 500ms, 1m30s.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, Field, ValidationError, field_validator, model_validator

from remediation.drills.bounds import ServiceName
from remediation.drills.checks import Checks
from remediation.drills.duration import Duration
from remediation.drills.errors import DefinitionError, UnknownDrillError
from remediation.drills.injection import Injection, Model, Name

MAX_DEFINITION_BYTES = 256 * 1024  # a hundred times the drills that we ship
INJECTION, END_INJECTION = "injection", "end_injection"  # the events that are no expectation's name


class Condition(Checks):
    name: Name
    hold: Duration = 0.0


class SteadyState(Model):
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


class Expectation(Checks):
    name: Name
    within: Duration | None = None
    stays: Duration | None = None
    hold: Duration = 0.0
    after: Name | tuple[Name, ...] | None = None
    grade: Annotated[str, Field(pattern=r"^[a-z][a-z-]{0,19}$")] | None = None
    aim: Duration | None = None
    weight: Annotated[float, Field(gt=0, le=100)] | None = None

    @property
    def after_events(self) -> tuple[str, ...]:
        return (self.after,) if isinstance(self.after, str) else self.after or ()

    @model_validator(mode="after")
    def _one_mode(self) -> Self:
        if (self.within is None) == (self.stays is None):
            raise ValueError("give either within (must become true) or stays (must be true all that long)")
        if self.stays is not None and (self.hold or self.aim or self.grade):
            raise ValueError("stays goes with neither hold, aim nor grade")
        if self.weight is not None and self.grade is None:
            raise ValueError("weight goes with a grade")
        if self.aim is not None and (self.grade is None or self.aim > (self.within or 0)):
            raise ValueError("aim wants a grade, and may not be longer than within")
        return self


class EndInjection(Model):
    after: Name | tuple[Name, ...]

    @property
    def after_events(self) -> tuple[str, ...]:
        return (self.after,) if isinstance(self.after, str) else self.after


class Chart(Model):
    """A line, or one for each series, over the time of the drill. `$capacity` and `$rate` as in conditions."""

    title: Name
    promql: Annotated[str, Field(min_length=1, max_length=4000)]
    unit: Annotated[str, Field(max_length=12)] = ""


class Definition(Model):
    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)*$", max_length=60)]
    title: Name
    description: str
    service: ServiceName
    timeout: Duration
    weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    charts: tuple[Chart, ...] = Field(default=(), max_length=6)
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
        for index, injection in enumerate(self.inject):
            self._check_events(f"inject.{index}", injection.after_events, known)
        if all(injection.after_events for injection in self.inject):
            raise ValueError("one injection at least comes without `after`: it is what starts the clock")
        known.append(END_INJECTION)
        for expectation in self.then:
            self._check_events(expectation.name, expectation.after_events, known)
            known.append(expectation.name)
        self._check_holds()
        if doubles := {name for name in known if known.count(name) > 1}:
            raise ValueError(f"names must differ, but {sorted(doubles)} are given twice (or are reserved)")
        graded = [e.grade for e in (*self.confirm, *self.expect, *self.then) if e.grade]
        if len(set(graded)) != len(graded):
            raise ValueError(f"each grade may be given once, got {graded}")
        return self

    def _check_holds(self) -> None:
        """A deadline counts from the moment since which the earlier expectation held; its `hold` passes after that."""
        everything = (*self.confirm, *self.expect, *self.then)
        holds = {each.name: each.hold for each in everything}
        for each in everything:
            for event in each.after_events:
                if each.within is not None and each.within <= (hold := holds.get(event, 0.0)) and hold:
                    raise ValueError(
                        f"{each.name!r}: within {each.within:g}s is over before {event!r} is met, "
                        f"which has to hold for {hold:g}s and counts from its beginning"
                    )

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
