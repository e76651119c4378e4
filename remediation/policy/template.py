"""
`{{ target }}`, `{{ labels.service }}`, `{{ annotations.summary }}`: substitution and nothing more.

In PromQL a value may stand only inside a double-quoted string, compared with = or !=. There it is escaped, so that no
alert, whatever its labels hold, can change what a query asks.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from remediation.errors import TemplateError

_PLACEHOLDER = re.compile(r"\{\{\s*([a-zA-Z_][\w.]*)\s*\}\}")
# A PromQL string (Prometheus's lexer knows three quotes) or a comment; what a placeholder stands in.
_TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|`[^`]*`|#[^\n]*', re.DOTALL)
_ROOTS = ("target", "labels.", "annotations.")


@dataclass(frozen=True, slots=True)
class Values:
    """What a template may name."""

    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    target: str = ""

    def get(self, name: str) -> str:
        """
        Raises:
            TemplateError: the alert has no such label or annotation.
        """
        if name == "target" and self.target:
            return self.target
        kind, _, key = name.partition(".")
        found = {"labels": self.labels, "annotations": self.annotations}.get(kind, {}).get(key)
        if found is None:
            raise TemplateError(f"{{{{ {name} }}}}: the alert has no such value")
        return found


def names_in(template: str) -> list[str]:
    """
    Raises:
        TemplateError: braces that are no placeholder, or a name that no alert could have.
    """
    names = _PLACEHOLDER.findall(template)
    rest = _PLACEHOLDER.sub("", template)
    if "{{" in rest or "{%" in rest:
        raise TemplateError(f"only {{{{ name }}}} is understood, in {template!r}")
    for name in names:
        if name != "target" and not (name.startswith(_ROOTS[1:]) and name.count(".") == 1 and not name.endswith(".")):
            raise TemplateError(f"{{{{ {name} }}}} is not one of target, labels.NAME, annotations.NAME")
    return names


def render(template: str, values: Values) -> str:
    """The template with its values as they are: for names and prose, never for a query."""
    names_in(template)
    return _PLACEHOLDER.sub(lambda found: values.get(found.group(1)), template)


def check_promql(template: str) -> None:
    """
    Raises:
        TemplateError: a placeholder stands outside a double-quoted string, or in a regular expression.
    """
    names_in(template)
    position = 0
    for token in _TOKEN.finditer(template):
        _refuse_placeholder(template[position : token.start()], template)
        if not token.group().startswith('"'):
            _refuse_placeholder(token.group(), template)
        elif re.search(r"[=!]~\s*$", template[: token.start()]) and _PLACEHOLDER.search(token.group()):
            raise TemplateError(f"a placeholder cannot stand in a regular expression: {template!r}")
        position = token.end()
    _refuse_placeholder(template[position:], template)


def _refuse_placeholder(part: str, template: str) -> None:
    if found := _PLACEHOLDER.search(part):
        raise TemplateError(f"{found.group()} must stand inside a double-quoted string: {template!r}")


def render_promql(template: str, values: Values) -> str:
    """A query: each value escaped for the double-quoted string it stands in."""
    check_promql(template)
    return _PLACEHOLDER.sub(lambda found: _escaped(values.get(found.group(1))), template)


def _escaped(value: str) -> str:
    # PromQL strings follow Go's escaping (prometheus.io, querying basics, string literals).
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
