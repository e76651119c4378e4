"""
Rules replayed over stored data: each group at its own evaluation times, each rule by the live engine's own code.

What cannot be replayed: a sample that arrived late is there for the replay and was not for the live evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from collector.errors import BadRequestError, CollectorError, LimitExceededError, UnsupportedError
from collector.model.series import Labels, NativeHistogram, Vector, is_absent
from collector.model.text import quote
from collector.query.promql.syntax import parse
from collector.rules.backtest.expressions import Expressions, leaves, reach_ms
from collector.rules.backtest.stored import evaluation_phase, missed_evaluations
from collector.rules.backtest.timeline import Episode, Recorder, within
from collector.rules.evaluated_rule import ALERTS, EvaluatedRecording, evaluated_alerting
from collector.rules.group import first_slot
from collector.rules.moment import unix_ms
from collector.rules.remote import Grid, Remote, Table
from collector.rules.rule import AlertingRule, RecordingRule, RuleGroupSpec
from collector.rules.template import Samples, TemplateContext, sample

# Of one rule: at one a second eleven days. More would take minutes and hundreds of megabytes; a larger step is wanted.
MAX_EVALUATIONS = 1_000_000
# How often the time before the window is doubled to learn what an alert with `keep_firing_for` was doing when it began.
MAX_DOUBLINGS = 6
Notice = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Window:
    """What is asked for. Unix milliseconds, both inclusive."""

    from_ms: int
    to_ms: int
    step_ms: int | None = None  # between evaluations, instead of the groups' own interval


@dataclass(frozen=True, slots=True)
class Replayed:
    """What an alerting rule would have done."""

    group: RuleGroupSpec
    rule: AlertingRule
    interval_ms: int
    evaluations: int  # within the window
    episodes: tuple[Episode, ...]  # those that touch the window
    errors: tuple[tuple[str, int], ...]  # message and at how many evaluations


@dataclass(slots=True)
class Replay:
    """
    Args:
        remote: Where the data is.
        default_interval_ms: Of groups that name none: the peer's `evaluation_interval`.
        in_force: The groups that the peer evaluates, as its API lists them; for the times at which it does, and to
            tell whether a stored recording is the one that the files describe.
        notice: Told of everything that a reader of the result should know.
    """

    remote: Remote
    window: Window
    default_interval_ms: int
    in_force: Sequence[Mapping[str, Any]] = ()
    external_url: str = ""
    notice: Notice = print
    expressions: Expressions = field(init=False)
    _phases: dict[str, int] = field(default_factory=dict)
    _missed_at: dict[tuple[str, Grid], NDArray[np.bool_]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.expressions = Expressions(self.remote)

    def run(self, groups: Sequence[RuleGroupSpec], chosen: Callable[[AlertingRule], bool]) -> list[Replayed]:
        """
        Replay the chosen alerting rules, in the order of files and groups, and the recordings that they need.

        Raises:
            CollectorError: the peer does not answer, or refuses; something cannot be replayed.
        """
        wanted = [
            (group, rule) for group in groups for rule in group.rules if isinstance(rule, AlertingRule) and chosen(rule)
        ]
        self._record(groups, [rule for _, rule in wanted])
        return [self._alerting(group, rule) for group, rule in wanted]

    def interval_ms(self, group: RuleGroupSpec) -> int:
        if self.window.step_ms or group.interval_ms:
            return self.window.step_ms or group.interval_ms or 0
        known = next((one for one in self.in_force if one.get("name") == group.name), {})
        return round(float(known.get("interval", 0)) * 1000) or self.default_interval_ms

    def grid(self, group: RuleGroupSpec, since_ms: int) -> Grid:
        """The group's evaluation times from `since_ms` to the end of the window."""
        interval_ms = self.interval_ms(group)
        phase = self._phase(group, interval_ms)
        start = since_ms + (phase - since_ms) % interval_ms
        count = max(0, (self.window.to_ms - start) // interval_ms + 1)
        if count > MAX_EVALUATIONS:
            raise LimitExceededError(
                f'group "{group.name}": {count} evaluations exceed the limit of {MAX_EVALUATIONS}: choose a larger step'
            )
        return Grid(start, interval_ms, count)

    def _phase(self, group: RuleGroupSpec, interval_ms: int) -> int:
        """
        When within the interval the live group is evaluated: by what it has stored, else by what it says, else by the
        hash of its name, which is right for a group of this name in a collector that read it from the same path.
        """
        if group.key in self._phases:
            return self._phases[group.key]
        selectors = [_stored_by(rule) for rule in group.rules]
        phase = None
        if not self.window.step_ms:
            phase = evaluation_phase(
                self.remote,
                selectors,
                from_ms=self.window.from_ms,
                to_ms=self.window.to_ms,
                interval_ms=interval_ms,
                offset_ms=group.query_offset_ms,
            )
        if phase is None:
            known = next((one for one in self.in_force if one.get("name") == group.name), None)
            evaluated_ms = None if known is None else _evaluated_ms(known)
            phase = (first_slot(group.key, 0, interval_ms) if evaluated_ms is None else evaluated_ms) % interval_ms
        self._phases[group.key] = phase
        return phase

    def _alerting(self, group: RuleGroupSpec, rule: AlertingRule) -> Replayed:
        grid, column, missed = self._warmed_up(group, rule)
        # Annotations do not change what an alert does, and expanding them at every evaluation takes long.
        one = evaluated_alerting(replace(rule, annotations=()), column, group.limit)
        recorder = Recorder()
        errors: dict[str, int] = {}
        for position, at_ms in enumerate(grid.times_ms.tolist()):
            if missed[position]:
                continue
            column.position = position
            if recorder.idle and not one.table.alerts and not column.any_present:
                continue
            try:
                one.take(one.ask(at_ms, 0, self.context(at_ms - group.query_offset_ms)), at_ms)
            except Exception as error:  # as in the live engine: this evaluation fails, the next is tried
                if at_ms >= self.window.from_ms:
                    errors[str(error)] = errors.get(str(error), 0) + 1
            recorder.observe(one.table.alerts.values(), at_ms)
        inside = int(np.count_nonzero((grid.times_ms >= self.window.from_ms) & ~missed))
        found = within(recorder.episodes(), self.window.from_ms, self.window.to_ms)
        return Replayed(group, rule, grid.step_ms, inside, tuple(found), tuple(errors.items()))

    def _warmed_up(self, group: RuleGroupSpec, rule: AlertingRule) -> tuple[Grid, _Column, NDArray[np.bool_]]:
        """
        The evaluations from so long before the window that every alert's state at its start is known, what the
        expression yields at each, and which the live group missed.

        An alert that fires at the start has been active for `for`, and one that is kept firing has been kept so long.
        But one that comes and goes faster is kept firing on and on, so there more of the past is asked for.
        """
        step_ms = self.interval_ms(group)
        before_ms = rule.for_ms + rule.keep_firing_for_ms + 2 * step_ms
        for doubling in range(MAX_DOUBLINGS + 1):
            grid = self.grid(group, self.window.from_ms - (before_ms << doubling))
            column = _Column(self.expressions.over(rule.expr, grid.shifted(-group.query_offset_ms)))
            missed = self._missed(group, grid)
            watched = ~missed & (grid.times_ms < self.window.from_ms)
            if not rule.keep_firing_for_ms or column.settled(
                watched, rule.for_ms / step_ms + 1, rule.keep_firing_for_ms / step_ms + 1
            ):
                return grid, column, missed
        self.notice(
            f"{rule.name}: an alert has come and gone since before {grid.start_ms / 1000:.3f}:"
            " whether it fired when the window began is not known"
        )
        return grid, column, missed

    def _missed(self, group: RuleGroupSpec, grid: Grid) -> NDArray[np.bool_]:
        """
        The evaluations that the live group missed, as far as its recordings tell: they are left out here too, or an
        alert could fire at one of them. None are known when the times are not the live group's.
        """
        if (group.key, grid) in self._missed_at:
            return self._missed_at[group.key, grid]
        names = [rule.name for rule in group.rules if isinstance(rule, RecordingRule)]
        if self.window.step_ms:
            names = []
        self._missed_at[group.key, grid] = missed = missed_evaluations(
            self.remote, names, grid, offset_ms=group.query_offset_ms
        )
        if count := int(np.count_nonzero(missed & (grid.times_ms >= self.window.from_ms))):
            self.notice(f'group "{group.name}": {count} evaluations are left out, as the live group missed them')
        return missed

    def context(self, at_ms: int) -> TemplateContext:
        def query(expr: str) -> Samples:
            found = self.remote.instant(expr, at_ms)
            return [sample(dict(labels), value) for labels, value in found]

        return TemplateContext(self.external_url, query)

    # Recordings

    def _record(self, groups: Sequence[RuleGroupSpec], alerts: Iterable[AlertingRule]) -> None:
        """Replay the recordings that the alerts need and that are not stored as these files describe them."""
        by_name: dict[str, list[tuple[RuleGroupSpec, RecordingRule]]] = {}
        for group in groups:
            for rule in group.rules:
                if isinstance(rule, RecordingRule):
                    by_name.setdefault(rule.name, []).append((group, rule))
        order: list[str] = []  # each after those it reads
        for alert in alerts:
            _require(alert.expr, by_name, order, ())
        missing = {name for name in order if not all(self._is_stored(*one) for one in by_name[name])}
        # What reads a replayed recording must be replayed too: what is stored came from another.
        for name in order:
            if any(leaf.metric in missing for _, rule in by_name[name] for leaf in leaves(rule.expr)):
                missing.add(name)
        if not missing:
            return
        longest = max((reach_ms(rule.expr) for rules in by_name.values() for _, rule in rules), default=0)
        longest += max((reach_ms(alert.expr) + alert.for_ms + alert.keep_firing_for_ms for alert in alerts), default=0)
        for name in order:
            if name in missing:
                self.expressions.replayed.add(name)
                for group, recording in by_name[name]:
                    self.notice(f"{name} is replayed: it is not stored as {group.file} describes it")
                    self._recording(group, recording, self.window.from_ms - longest)

    def _is_stored(self, group: RuleGroupSpec, rule: RecordingRule) -> bool:
        others = [
            str(other.get("query", ""))
            for one in self.in_force
            for other in one.get("rules", ())
            if other.get("name") == rule.name
            and other.get("type") == "recording"
            and dict(other.get("labels") or {}) == dict(rule.labels)
        ]
        if others and not any(_same(query, rule.expr) for query in others):
            return False
        window_ms = self.window.to_ms - self.window.from_ms + 1
        found = self.remote.instant(f"count(count_over_time({_stored_by(rule)}[{window_ms}ms]))", self.window.to_ms)
        return bool(found)

    def _recording(self, group: RuleGroupSpec, rule: RecordingRule, since_ms: int) -> None:
        grid = self.grid(group, since_ms)
        column = _Column(self.expressions.over(rule.expr, grid.shifted(-group.query_offset_ms)))
        one = EvaluatedRecording(rule, column, group.limit)
        written: dict[Labels, dict[int, float]] = {}
        times = [at_ms - group.query_offset_ms for at_ms in grid.times_ms.tolist()]
        for position, at_ms in enumerate(times):
            column.position = position
            if not column.any_present:
                continue
            try:
                series = one.ask(at_ms, 0, self.context(at_ms))
            except CollectorError as error:
                self.notice(f"{rule.name} at {at_ms / 1000:.3f}: {error}")
                raise
            for labels, value in series.items():
                if isinstance(value, NativeHistogram):
                    raise UnsupportedError(f"{rule.name} records native histograms, which are not replayed")
                written.setdefault(labels, {})[at_ms] = value
        self.expressions.record(written, times)


class _Column:
    """A table as a query engine that knows one expression: what it yields is the table's column at `position`."""

    def __init__(self, table: Table) -> None:
        self._labels = table.labels
        self._values = table.values
        self._present: NDArray[np.bool_] = np.logical_not(is_absent(table.values))
        self._occupied: NDArray[np.bool_] = np.atleast_1d(self._present.any(axis=0))
        self.position = 0

    @property
    def any_present(self) -> bool:
        return bool(self._occupied[self.position])

    def settled(self, watched: NDArray[np.bool_], present: float, absent: float) -> bool:
        """
        Whether each series was there, or was not, for so many of the watched positions on end that nothing before them
        matters to the state of its alert.
        """
        there = self._present[:, watched]
        return bool(np.all((_longest_run(there) >= present) | (_longest_run(~there) >= absent)))

    def prepare(self, _expr: str) -> _Column:
        return self

    def instant(self, *, at_ms: int) -> Vector:
        rows = np.flatnonzero(self._present[:, self.position])
        return Vector(tuple(self._labels[row] for row in rows.tolist()), self._values[rows, self.position])


def _longest_run(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Of each row of [s, n], how many are true on end, at most."""
    positions = np.arange(mask.shape[1])
    broken = np.maximum.accumulate(np.where(mask, -1, positions), axis=1)
    runs: NDArray[np.int64] = (positions - broken).max(axis=1, initial=0)
    return runs


Recordings = Mapping[str, Sequence[tuple[RuleGroupSpec, RecordingRule]]]


def _require(expr: str, by_name: Recordings, order: list[str], path: tuple[str, ...]) -> None:
    """Append to `order` the recordings that an expression reads, each after those it reads itself."""
    for leaf in leaves(expr):
        name = leaf.metric
        if name is None or name not in by_name or name in order:
            continue
        if name in path:
            raise UnsupportedError(f"recording rules read one another in a circle: {' -> '.join((*path, name))}")
        for _, rule in by_name[name]:
            _require(rule.expr, by_name, order, (*path, name))
        order.append(name)


def _stored_by(rule: AlertingRule | RecordingRule) -> str:
    """A selector of series that this rule writes, as far as its fixed labels tell."""
    pairs = [(name, value) for name, value in rule.labels if "{{" not in value and value]
    if isinstance(rule, AlertingRule):
        pairs += [("__name__", ALERTS), ("alertname", rule.name)]
    else:
        pairs.append(("__name__", rule.name))
    return "{" + ",".join(f"{name}={quote(value)}" for name, value in sorted(pairs)) + "}"


def _evaluated_ms(group: Mapping[str, Any]) -> int | None:
    """When the live group was last evaluated; None if it has not been, or the peer says it in no way we know."""
    try:
        found = unix_ms(str(group.get("lastEvaluation", "")))
    except BadRequestError:
        return None
    return found if found > 0 else None


def _same(left: str, right: str) -> bool:
    """Whether two expressions are one, however they are written: Prometheus prints them its own way."""
    try:
        return parse(left) == parse(right)
    except CollectorError:
        return left == right
