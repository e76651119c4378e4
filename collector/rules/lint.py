"""
What is wrong with rules that promtool lets pass: lint.

Each finding names file, line and rule. A comment in a rule's own lines, or above `groups:` for the whole file, lets a
check pass: `# steersman: allow missing-for, unanswered-alert`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from collector.model.duration import format_duration
from collector.model.series import METRIC_NAME, Matcher, MatchOp
from collector.query.promql.syntax import parse
from collector.query.promql.tree import Aggregation, Call, Node, RangeSelector, Selector, children
from collector.rules.rule import AlertingRule, RecordingRule, Rule, RuleGroupSpec

DUPLICATE_RULES = "duplicate-rules"
UNKNOWN_METRIC = "unknown-metric"
UNKNOWN_LABEL = "unknown-label"
SHORT_WINDOW = "short-window"
MISSING_FOR = "missing-for"
UNANSWERED_ALERT = "unanswered-alert"
CHECKS = (DUPLICATE_RULES, UNKNOWN_METRIC, UNKNOWN_LABEL, SHORT_WINDOW, MISSING_FOR, UNANSWERED_ALERT)

# A rate needs two samples. With four intervals in the window one lost scrape, and a window that begins just after a
# sample, still leave two.
MIN_SCRAPES = 4
_RATES = frozenset({"rate", "increase"})
_ABSENCE = frozenset({"absent", "absent_over_time"})
_MAKES_LABELS = frozenset({"label_replace", "label_join", "info"})
# Written by the rules themselves, for every alert.
_OWN_METRICS = frozenset({"ALERTS", "ALERTS_FOR_STATE"})
_ALLOW = re.compile(r"#\s*steersman:\s*allow\s+([\w-]+(?:\s*,\s*[\w-]+)*)")


@dataclass(frozen=True, slots=True)
class Finding:
    file: str
    line: int  # from 1
    group: str
    rule: str  # its name
    check: str  # one of CHECKS
    message: str

    def __str__(self) -> str:
        return f'{self.file}:{self.line}: group "{self.group}", "{self.rule}": {self.message} ({self.check})'


class Data(Protocol):
    """What is known of the series that there are. Each may raise a CollectorError."""

    def metric_names(self) -> set[str]: ...

    def label_names(self, metric: str) -> set[str]: ...

    def label_values(self, metric: str, label: str) -> set[str]: ...

    def interval_ms(self, metric: str) -> int | None:
        """How far apart its samples are, in milliseconds; None if too few are there to tell."""
        ...


# The name of the policy that answers an alert of these labels, if one does. A label that only the series can tell is
# not among them, and counts as whatever the policy wants.
Answer = Callable[[Mapping[str, str]], str | None]
# The same; whether labels that are not given may have any value is the second argument.
PartialAnswer = Callable[[Mapping[str, str], bool], str | None]


def lint(
    groups: Sequence[RuleGroupSpec],
    *,
    data: Data | None,
    answer: Answer | None,
    checks: Iterable[str] = CHECKS,
) -> list[Finding]:
    """
    Findings in the order of files and lines.

    Args:
        groups: Of all files, so that a rule may use what another records.
        data: Without it, what needs series is not checked.
        answer: Without it, whether policies answer alerts is not checked.

    Raises:
        CollectorError: the data cannot be asked.
    """
    wanted = set(checks)
    linter = _Linter({rule.name for group in groups for rule in group.rules if isinstance(rule, RecordingRule)}, data)
    found: list[Finding] = []
    allowances = {file: _Allowances.read(file, groups) for file in {group.file for group in groups}}
    for group in groups:
        allowed = allowances[group.file]
        for rule in group.rules:
            for check, message in _of_rule(rule, linter, answer, wanted):
                if check in wanted and not allowed.cover(rule, check):
                    found.append(Finding(group.file, rule.line, group.name, rule.name, check, message))
    if DUPLICATE_RULES in wanted:
        found += _duplicates(groups)
    return sorted(set(found), key=lambda one: (one.file, one.line, one.check, one.message))


def _of_rule(rule: Rule, linter: _Linter, answer: Answer | None, wanted: set[str]) -> Iterator[tuple[str, str]]:
    if isinstance(rule, AlertingRule):
        if not rule.for_ms:
            yield MISSING_FOR, "no `for`: a single evaluation is enough to fire it"
        if answer is not None and UNANSWERED_ALERT in wanted and answer(static_labels(rule)) is None:
            yield UNANSWERED_ALERT, "no policy answers this alert"
    if linter.data is not None and wanted & {UNKNOWN_METRIC, UNKNOWN_LABEL, SHORT_WINDOW}:
        yield from linter.expression(parse(rule.expr), linter.data)


def static_labels(rule: AlertingRule) -> dict[str, str]:
    """The labels that an alert of this rule has whatever the series are; templates are left out."""
    return {name: value for name, value in rule.labels if "{{" not in value} | {"alertname": rule.name}


def _duplicates(groups: Sequence[RuleGroupSpec]) -> Iterator[Finding]:
    """As promtool finds them: within a file, the same name with the same labels."""
    for file in dict.fromkeys(group.file for group in groups):
        rules = [(rule, group) for group in groups if group.file == file for rule in group.rules]
        rules.sort(key=lambda one: (one[0].name, one[0].labels, one[0].line))
        for (first, _), (second, group) in pairwise(rules):
            if (first.name, first.labels) == (second.name, second.labels):
                message = f"the same name and labels as the rule in line {first.line}"
                yield Finding(file, second.line, group.name, second.name, DUPLICATE_RULES, message)


@dataclass(frozen=True, slots=True)
class _Allowances:
    """What comments of a rule file let pass: by line, line 0 for the whole file."""

    by_line: Mapping[int, frozenset[str]]
    lines: tuple[int, ...]  # where the file's rules begin

    @classmethod
    def read(cls, file: str, groups: Sequence[RuleGroupSpec]) -> _Allowances:
        try:
            text = Path(file).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            text = []
        top = next((number for number, line in enumerate(text, 1) if line.startswith("groups")), 0)
        found: dict[int, frozenset[str]] = {}
        for number, line in enumerate(text, 1):
            if match := _ALLOW.search(line):
                at = 0 if number < top else number
                found[at] = found.get(at, frozenset()) | frozenset(re.split(r"\s*,\s*", match[1]))
        return cls(found, tuple(rule.line for group in groups if group.file == file for rule in group.rules))

    def cover(self, rule: Rule, check: str) -> bool:
        following = min((line for line in self.lines if line > rule.line), default=1 << 30)
        return any(
            check in names and (line == 0 or rule.line - 1 <= line < following - 1)
            for line, names in self.by_line.items()
        )


class _Linter:
    """Expressions against the series that there are. Answers are kept, for rules ask the same again and again."""

    def __init__(self, recorded: set[str], data: Data | None) -> None:
        self.data = None if data is None else _Remembered(data)
        self._recorded = recorded

    def expression(self, node: Node, data: _Remembered) -> Iterator[tuple[str, str]]:
        for selector, window_ms, function, absence in _uses(node):
            metric = _metric(selector)
            if metric is None or metric in _OWN_METRICS:
                continue
            if metric not in data.metric_names():
                if metric not in self._recorded and not absence:
                    yield UNKNOWN_METRIC, f"no series is named {metric}"
                continue
            if not absence:
                yield from _labels(selector, metric, data)
            if window_ms is not None and function in _RATES:
                yield from _window(metric, window_ms, function, data)
        yield from self._groupings(node, data)

    def _groupings(self, node: Node, data: _Remembered) -> Iterator[tuple[str, str]]:
        """`by (…)` with a label that nothing below it has."""
        if isinstance(node, Aggregation) and node.by and node.operator != "count_values":
            names = self._label_names(node.body, data)
            if names is not None:
                for label in node.labels:
                    if label not in names:
                        yield UNKNOWN_LABEL, f"by ({label}): none of the series below has this label"
        for child in children(node):
            yield from self._groupings(child, data)

    def _label_names(self, node: Node, data: _Remembered) -> set[str] | None:
        """The labels of the series that an expression reads; None if that cannot be told."""
        if isinstance(node, Call) and node.name in _MAKES_LABELS | _ABSENCE:
            return None
        if isinstance(node, Aggregation) and node.operator == "count_values":
            return None
        if isinstance(node, RangeSelector):
            node = node.selector
        if isinstance(node, Selector):
            metric = _metric(node)
            if metric is None or metric not in data.metric_names():
                return None
            return data.label_names(metric)
        names: set[str] = set()
        for child in children(node):
            below = self._label_names(child, data)
            if below is None:
                return None
            names |= below
        return names


Use = tuple[Selector, int | None, str, bool]  # a selector, its window, the function of that, whether absence is wanted


def _uses(node: Node, function: str = "", *, absence: bool = False) -> Iterator[Use]:
    match node:
        case Selector():
            yield node, None, function, absence
        case RangeSelector():
            yield node.selector, node.range_ms, function, absence
        case _:
            name = node.name if isinstance(node, Call) else ""
            for child in children(node):
                yield from _uses(child, name, absence=absence or name in _ABSENCE)


def _metric(selector: Selector) -> str | None:
    return next(
        (one.value for one in selector.matchers if one.name == METRIC_NAME and one.op is MatchOp.EQUAL and one.value),
        None,
    )


def _labels(selector: Selector, metric: str, data: _Remembered) -> Iterator[tuple[str, str]]:
    for matcher in selector.matchers:
        if matcher.name == METRIC_NAME or matcher.matches(""):
            continue
        if matcher.name not in data.label_names(metric):
            yield UNKNOWN_LABEL, f"no series of {metric} has the label {matcher.name}"
        elif not any(matcher.matches(value) for value in data.label_values(metric, matcher.name)):
            yield UNKNOWN_LABEL, f"no series of {metric} has {_matcher_text(matcher)}"


def _matcher_text(matcher: Matcher) -> str:
    return f'{matcher.name}{matcher.op.value}"{matcher.value}"'


def _window(metric: str, window_ms: int, function: str, data: _Remembered) -> Iterator[tuple[str, str]]:
    interval_ms = data.interval_ms(metric)
    if interval_ms is not None and window_ms < MIN_SCRAPES * interval_ms:
        message = (
            f"{function}({metric}[{format_duration(window_ms)}]): its samples come every"
            f" {format_duration(interval_ms)}, and a window of less than {MIN_SCRAPES} intervals"
            f" ({format_duration(MIN_SCRAPES * interval_ms)}) can be empty when one is lost"
        )
        yield SHORT_WINDOW, message


class _Remembered:
    """Answers of `Data`, each asked for once."""

    def __init__(self, data: Data) -> None:
        self._data = data
        self._names: set[str] | None = None
        self._labels: dict[str, set[str]] = {}
        self._values: dict[tuple[str, str], set[str]] = {}
        self._intervals: dict[str, int | None] = {}

    def metric_names(self) -> set[str]:
        if self._names is None:
            self._names = self._data.metric_names()
        return self._names

    def label_names(self, metric: str) -> set[str]:
        if metric not in self._labels:
            self._labels[metric] = self._data.label_names(metric)
        return self._labels[metric]

    def label_values(self, metric: str, label: str) -> set[str]:
        if (metric, label) not in self._values:
            self._values[metric, label] = self._data.label_values(metric, label)
        return self._values[metric, label]

    def interval_ms(self, metric: str) -> int | None:
        if metric not in self._intervals:
            self._intervals[metric] = self._data.interval_ms(metric)
        return self._intervals[metric]
