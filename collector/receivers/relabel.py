"""
Relabelling: rules that rewrite, keep or drop label sets, of targets before they are scraped and of what they serve.

Source: Prometheus model/relabel/relabel.go, Prometheus 3: a dot matches a line break, a label's name is any text.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cached_property
from typing import Any

import re2
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from collector.model.text import quote

_TEMPLATE = re.compile(r"(?:[^${}]|\$(?:\{\w+\}|\w+))+", re.ASCII)  # of a name: no lone dollar, no lone brace
# A reference as Go's regexp.Expand reads it: the longest name; $$ is a dollar.
_REFERENCE = re.compile(r"\$(?:(\$)|\{(\w+)\}|(\w+))", re.ASCII)
_ANY = "(.*)"


class Action(Enum):
    REPLACE = "replace"
    KEEP = "keep"
    DROP = "drop"
    KEEP_EQUAL = "keepequal"
    DROP_EQUAL = "dropequal"
    HASH_MOD = "hashmod"
    LABEL_MAP = "labelmap"
    LABEL_DROP = "labeldrop"
    LABEL_KEEP = "labelkeep"
    LOWERCASE = "lowercase"
    UPPERCASE = "uppercase"


_WRITES_TARGET = frozenset({
    Action.REPLACE, Action.HASH_MOD, Action.LOWERCASE, Action.UPPERCASE, Action.KEEP_EQUAL, Action.DROP_EQUAL,
})  # fmt: skip
_EQUALS = frozenset({Action.KEEP_EQUAL, Action.DROP_EQUAL})
_NAMES_ONLY = frozenset({Action.LABEL_DROP, Action.LABEL_KEEP})


def compiled(pattern: str) -> Any:
    """
    A regular expression in Go's syntax, to be used with `fullmatch`; matched in linear time.

    Raises:
        ValueError: it is none.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(f"(?s:{pattern})", options)
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else str(error)
        raise ValueError(f"bad regular expression {pattern!r}: {reason}") from None


class RelabelRule(BaseModel):
    """One entry of relabel_configs, with Prometheus's defaults and checks."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source_labels: tuple[str, ...] = ()
    separator: str = ";"
    regex: str = _ANY
    modulus: int = Field(default=0, ge=0, lt=1 << 64)
    target_label: str = ""
    replacement: str = "$1"
    action: Action = Action.REPLACE

    @field_validator("regex", "replacement", "separator", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        """YAML reads `regex: 5` as a number; Go's decoder takes it as text."""
        if value is None:
            return ""
        return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("action", mode="before")
    @classmethod
    def _action(cls, value: Any) -> Any:
        if isinstance(value, str) and value.lower() not in {each.value for each in Action}:
            raise ValueError(f'unknown relabel action "{value}"')
        return value.lower() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _checked(self) -> RelabelRule:
        action, target = self.action, self.target_label
        if action is Action.HASH_MOD and not self.modulus:
            raise ValueError("relabel configuration for hashmod requires non-zero modulus")
        if action in _WRITES_TARGET and not target:
            raise ValueError(f"relabel configuration for {action.value} action requires 'target_label' value")
        if action is Action.REPLACE and "$" in target and not _TEMPLATE.fullmatch(target):
            raise ValueError(f"{quote(target)} is invalid 'target_label' for replace action")
        if action is Action.LABEL_MAP and not _TEMPLATE.fullmatch(self.replacement):
            raise ValueError(f"{quote(self.replacement)} is invalid 'replacement' for labelmap action")
        if action in _WRITES_TARGET - {Action.REPLACE, Action.HASH_MOD} and self.replacement != "$1":
            raise ValueError(f"'replacement' can not be set for {action.value} action")
        if action in _EQUALS and not self._only("source_labels", "target_label"):
            raise ValueError(
                f"{action.value} action requires only 'source_labels' and `target_label`, and no other fields"
            )
        if action in _NAMES_ONLY and not self._only("regex"):
            raise ValueError(f"{action.value} action requires only 'regex', and no other fields")
        _ = self.pattern
        return self

    def _only(self, *names: str) -> bool:
        """Whether all other fields have their defaults."""
        return all(
            getattr(self, name) == field.default
            for name, field in type(self).model_fields.items()
            if name not in (*names, "action")
        )

    @cached_property
    def pattern(self) -> Any:
        return compiled(self.regex)

    def apply(self, labels: dict[str, str]) -> bool:
        """Change `labels` in place; False if the rule drops the whole set. An empty value is an absent label."""
        match self.action:
            case Action.LABEL_MAP | Action.LABEL_DROP | Action.LABEL_KEEP:
                self._names(labels)
                return True
        value = self.separator.join(labels.get(name, "") for name in self.source_labels)
        match self.action:
            case Action.KEEP:
                return self.pattern.fullmatch(value) is not None
            case Action.DROP:
                return self.pattern.fullmatch(value) is None
            case Action.KEEP_EQUAL:
                return labels.get(self.target_label, "") == value
            case Action.DROP_EQUAL:
                return labels.get(self.target_label, "") != value
            case Action.REPLACE:
                self._replace(labels, value)
            case Action.HASH_MOD:
                digest = hashlib.md5(value.encode(), usedforsecurity=False).digest()  # relabel.go: its last 8 bytes
                _set(labels, self.target_label, str(int.from_bytes(digest[8:], "big") % self.modulus))
            case Action.LOWERCASE:
                _set(labels, self.target_label, "".join(map(_lower, value)))
            case Action.UPPERCASE:
                _set(labels, self.target_label, "".join(map(_upper, value)))
        return True

    def _replace(self, labels: dict[str, str], value: str) -> None:
        match = self.pattern.fullmatch(value)
        if match is None:
            return
        target = _expanded(self.target_label, match)
        if target:
            _set(labels, target, _expanded(self.replacement, match))

    def _names(self, labels: dict[str, str]) -> None:
        for name, value in list(labels.items()):
            match = self.pattern.fullmatch(name)
            if self.action is Action.LABEL_MAP:
                if match is not None:
                    _set(labels, _expanded(self.replacement, match), value)
            elif (match is not None) == (self.action is Action.LABEL_DROP):
                del labels[name]


def relabelled(labels: Mapping[str, str], rules: Sequence[RelabelRule]) -> dict[str, str] | None:
    """The labels after all rules, in their order; None if a rule drops them."""
    changed = dict(labels)
    return changed if all(rule.apply(changed) for rule in rules) else None


def _set(labels: dict[str, str], name: str, value: str) -> None:
    if value:
        labels[name] = value
    else:
        labels.pop(name, None)


def _expanded(template: str, match: Any) -> str:
    """`$1`, `${1}`, `$name`, `$$`; a group that is unknown or did not take part is empty (Go, regexp.Expand)."""
    if "$" not in template:
        return template

    def group(reference: re.Match[str]) -> str:
        if reference[1]:
            return "$"
        name = reference[2] or reference[3]
        if name.isdecimal():
            return (match.group(int(name)) or "") if int(name) <= match.re.groups else ""
        return (match.group(name) or "") if name in match.re.groupindex else ""

    return _REFERENCE.sub(group, template)


def _lower(character: str) -> str:
    return character.lower()[0]  # Go maps rune by rune; Python's text for U+0130 would grow


def _upper(character: str) -> str:
    upper = character.upper()
    return upper if len(upper) == 1 else character
