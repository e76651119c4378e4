"""
Rule files in Prometheus's format: from text to checked values.

Every problem of a file is found in one pass and names line, column, group and rule as promtool does.
Source: prometheus/model/rulefmt/rulefmt.go.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import yaml

from collector.errors import CollectorError, ConfigError
from collector.gotemplate.tree import TemplateError
from collector.model.duration import parse_duration_ms
from collector.model.series import METRIC_NAME, Labels, labels_of
from collector.query.promql import syntax
from collector.rules.rule import AlertingRule, RecordingRule, Rule, RuleGroupSpec
from collector.rules.template import Template

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_GROUP_KEYS = {"name", "interval", "limit", "query_offset", "labels", "rules"}
_RULE_KEYS = {"record", "alert", "expr", "for", "keep_firing_for", "labels", "annotations"}
MAX_FILE_BYTES = 16 << 20  # a thousand times the largest rule file we know of; guards against a wrong glob
Pairs = tuple[tuple[str, str], ...]


class Problem(NamedTuple):
    """Why a rule file cannot be used. Its text is promtool's: `FILE: LINE:COLUMN: group "G", rule N, "R": message`."""

    file: str
    message: str
    line: int = 0  # from 1; 0: the file as a whole
    column: int = 0
    group: str = ""
    rule: int = 0  # position in the group, from 1; 0: not in a rule
    rule_name: str = ""

    def __str__(self) -> str:
        where = f"{self.line}:{self.column}: " if self.line else ""
        who = f'group "{self.group}", rule {self.rule}, "{self.rule_name}": ' if self.rule else ""
        return f"{self.file}: {where}{who}{self.message}"


class RuleFileError(ConfigError):
    """A rule file cannot be used. `problems` holds everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def load(path: Path, *, query_offset_ms: int = 0) -> list[RuleGroupSpec]:
    """
    Read and check one file.

    Args:
        query_offset_ms: Of groups that name none (Prometheus, global.rule_query_offset).

    Raises:
        RuleFileError: with all of its problems, each begun with the path.
    """
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            size = f"file size {path.stat().st_size} exceeds the limit of {MAX_FILE_BYTES} bytes"
            raise RuleFileError([Problem(str(path), size)])
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RuleFileError([Problem(str(path), str(error))]) from error
    return parse(text, str(path), query_offset_ms=query_offset_ms)


def parse(text: str, file: str, *, query_offset_ms: int = 0) -> list[RuleGroupSpec]:
    """As `load`, of a text; an empty one has no groups."""
    return _Reader(file, query_offset_ms).read(text)


def check(paths: Sequence[Path]) -> list[Problem]:
    """Every problem of these files, those of templates too; empty when all is well."""
    problems: list[Problem] = []
    for path in paths:
        try:
            load(path)
        except RuleFileError as error:
            problems += error.problems
    return problems


@dataclass(slots=True)
class _Place:
    """Where in the file the reader stands."""

    group: str = ""
    rule: int = 0  # from 1; 0: not in a rule
    rule_name: str = ""


class _Reader:
    def __init__(self, file: str, query_offset_ms: int) -> None:
        self._file = file
        self._query_offset_ms = query_offset_ms
        self._problems: list[Problem] = []
        self._place = _Place()

    def read(self, text: str) -> list[RuleGroupSpec]:
        try:
            root = yaml.compose(text, Loader=yaml.CSafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            where = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            raise RuleFileError([Problem(self._file, f"yaml: {error.problem}", *where)]) from error
        except (yaml.YAMLError, RecursionError) as error:
            raise RuleFileError([Problem(self._file, f"yaml: {error}")]) from error
        groups = [] if root is None or _is_null(root) else self._groups(root)
        if self._problems:
            raise RuleFileError(self._problems)
        return groups

    def _problem(self, node: yaml.Node, message: str) -> None:
        mark, place = node.start_mark, self._place
        self._problems.append(
            Problem(self._file, message, mark.line + 1, mark.column + 1, place.group, place.rule, place.rule_name)
        )

    def _mapping(self, node: yaml.Node, allowed: set[str] | None, type_: str) -> dict[str, yaml.Node]:
        """The entries of a mapping; unknown and repeated keys are problems and left out."""
        if not isinstance(node, yaml.MappingNode):
            self._problem(node, f"cannot unmarshal {_kind(node)} into {type_}")
            return {}
        entries: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                merged = value.value if isinstance(value, yaml.SequenceNode) else [value]
                for item in merged:
                    entries = self._mapping(item, allowed, type_) | entries
            elif not isinstance(key, yaml.ScalarNode) or (allowed is not None and key.value not in allowed):
                self._problem(key, f"field {key.value} not found in type {type_}")
            elif key.value in entries and any(key.value == other.value for other, _ in node.value if other is not key):
                self._problem(key, f'mapping key "{key.value}" already defined')
            else:
                entries[key.value] = value
        return entries

    def _items(self, node: yaml.Node | None, type_: str) -> list[yaml.Node]:
        if node is None or _is_null(node):
            return []
        if not isinstance(node, yaml.SequenceNode):
            self._problem(node, f"cannot unmarshal {_kind(node)} into []{type_}")
            return []
        return list(node.value)

    def _groups(self, root: yaml.Node) -> list[RuleGroupSpec]:
        names: set[str] = set()
        groups = []
        for node in self._items(
            self._mapping(root, {"groups"}, "rulefmt.RuleGroups").get("groups"), "rulefmt.RuleGroup"
        ):
            group = self._group(node)
            if not group.name:
                self._problem(node, "Groupname must not be empty")
            elif group.name in names:
                self._problem(node, f'groupname: "{group.name}" is repeated in the same file')
            names.add(group.name)
            groups.append(group)
        return groups

    def _group(self, node: yaml.Node) -> RuleGroupSpec:
        entries = self._mapping(node, _GROUP_KEYS, "rulefmt.RuleGroup")
        name = self._string(entries.get("name"))
        self._place = _Place(group=name)
        labels = self._labels(entries.get("labels"))
        interval_ms = self._duration(entries.get("interval"))
        if "interval" in entries and not interval_ms:
            self._problem(entries["interval"], "interval must be greater than 0")
        rules: list[Rule] = []
        for position, item in enumerate(self._items(entries.get("rules"), "rulefmt.Rule"), start=1):
            rules += self._rule(item, position, labels)
        self._place = _Place()
        return RuleGroupSpec(
            name=name,
            file=self._file,
            rules=tuple(rules),
            interval_ms=interval_ms or None,
            limit=self._integer(entries.get("limit")),
            query_offset_ms=(
                self._duration(entries["query_offset"]) if "query_offset" in entries else self._query_offset_ms
            ),
            labels=labels_of(dict(labels)),
        )

    def _rule(self, node: yaml.Node, position: int, group_labels: Pairs) -> Iterator[Rule]:
        self._place = replace(self._place, rule=position, rule_name=_name_of(node))
        entries = self._mapping(node, _RULE_KEYS, "rulefmt.Rule")
        record, alert, expr = (self._string(entries.get(key)) for key in ("record", "alert", "expr"))
        if record and alert:
            self._problem(node, "only one of 'record' and 'alert' must be set")
        elif not record and not alert:
            self._problem(node, "one of 'record' or 'alert' must be set")
        self._check_expr(expr, entries.get("expr", node))
        labels = dict(group_labels) | dict(self._labels(entries.get("labels")))
        pairs: Labels = tuple(sorted(labels.items()))
        if record:
            for key in ("annotations", "for", "keep_firing_for"):
                if key in entries:
                    self._problem(entries[key], f"invalid field '{key}' in recording rule")
            if not _METRIC_NAME.fullmatch(record):
                self._problem(entries["record"], f"invalid recording rule name: {record}")
            yield RecordingRule(record, expr, pairs, node.start_mark.line + 1)
        elif alert:
            annotations = self._annotations(entries.get("annotations"))
            yield AlertingRule(
                name=alert,
                expr=expr,
                labels=pairs,
                annotations=annotations,
                line=node.start_mark.line + 1,
                for_ms=self._duration(entries.get("for")),
                keep_firing_for_ms=self._duration(entries.get("keep_firing_for")),
            )
            for key, kind in (("labels", "label"), ("annotations", "annotation")):
                self._check_templates(entries.get(key), kind, alert)

    def _check_expr(self, expr: str, node: yaml.Node) -> None:
        if not expr:
            self._problem(node, "field 'expr' must be set in rule")
            return
        try:
            syntax.parse(expr)
        except CollectorError as error:
            self._problem(node, f"could not parse expression: {error}")

    def _check_templates(self, node: yaml.Node | None, kind: str, alert: str) -> None:
        if not isinstance(node, yaml.MappingNode):
            return
        for key, value in node.value:
            if isinstance(value, yaml.ScalarNode):
                try:
                    Template(value.value, alert)
                except TemplateError as error:
                    self._problem(value, f'{kind} "{key.value}": {error}')

    def _labels(self, node: yaml.Node | None) -> Pairs:
        return self._pairs(node, lambda name: name != METRIC_NAME, "invalid label name")

    def _annotations(self, node: yaml.Node | None) -> Pairs:
        return self._pairs(node, lambda _name: True, "invalid annotation name")

    def _pairs(self, node: yaml.Node | None, allowed: Callable[[str], bool], complaint: str) -> Pairs:
        if node is None or _is_null(node):
            return ()
        pairs = []
        for name, value in self._mapping(node, None, "map[string]string").items():
            if not _LABEL_NAME.fullmatch(name) or not allowed(name):
                self._problem(value, f"{complaint}: {name}")
            pairs.append((name, self._string(value)))
        return tuple(sorted(pairs))

    def _string(self, node: yaml.Node | None) -> str:
        if node is None or _is_null(node):
            return ""
        if not isinstance(node, yaml.ScalarNode):
            self._problem(node, f"cannot unmarshal {_kind(node)} into string")
            return ""
        return str(node.value)

    def _integer(self, node: yaml.Node | None) -> int:
        text = self._string(node)
        if node is not None and not re.fullmatch(r"\d{1,9}", text or "0"):
            self._problem(node, f"cannot unmarshal {text!r} into int")
            return 0
        return int(text or 0)

    def _duration(self, node: yaml.Node | None) -> int:
        text = self._string(node)
        if node is None or not text:
            return 0
        try:
            return parse_duration_ms(text)
        except ValueError as error:
            self._problem(node, str(error))
            return 0


def _name_of(rule: yaml.Node) -> str:
    pairs = rule.value if isinstance(rule, yaml.MappingNode) else []
    names = {key.value: value.value for key, value in pairs if isinstance(value, yaml.ScalarNode)}
    return str(names.get("record") or names.get("alert") or "")


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null"


def _kind(node: yaml.Node) -> str:
    kind = node.tag.rpartition(":")[2]
    return f"!!{kind} `{node.value}`" if isinstance(node, yaml.ScalarNode) else f"!!{kind}"
