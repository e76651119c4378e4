"""
Expanding the templates of alert labels and annotations, as Prometheus does.

A template that fails yields Prometheus's text `<error expanding template: …>` and never stops an evaluation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from collector.gotemplate.execution import Execution
from collector.gotemplate.parser import parse
from collector.gotemplate.tree import Node, TemplateError, Text
from collector.gotemplate.values import Struct
from collector.rules.template_functions import FUNCTION_NAMES, functions

# What Prometheus defines before every alert template (rules/alerting.go, defs).
PREDEFINED = {
    "$labels": "Labels",
    "$externalLabels": "ExternalLabels",
    "$externalURL": "ExternalURL",
    "$value": "Value",
}
MAX_OUTPUT_CHARS = 65_536  # an annotation is a text for people; a template must not fill the memory
Samples = list[Struct]


def sample(labels: Mapping[str, str], value: float) -> Struct:
    """An element of what `query` yields."""
    return Struct("*template.sample", {"Labels": labels, "Value": value})


@dataclass(frozen=True, slots=True)
class TemplateContext:
    """What templates of one evaluation share."""

    external_url: str
    query: Callable[[str], Samples]  # evaluates an expression at the time of the alert; may raise
    external_labels: Mapping[str, str] = field(default_factory=dict)
    at_ms: int = 0  # of the evaluation, Unix milliseconds: what `now` says


class Template:
    """
    One parsed template.

    Args:
        text: With or without actions.
        name: The rule's name; errors call the template `__alert_NAME`.

    Raises:
        TemplateError: the text does not parse; use `expand` of a `Template.lenient` to get the error as text instead.
    """

    __slots__ = ("_error", "_name", "_nodes", "_templates")

    def __init__(self, text: str, name: str) -> None:
        self._name = f"__alert_{name}"
        self._error: str | None = None
        self._nodes: tuple[Node, ...] = (Text(text),)
        self._templates: dict[str, tuple[Node, ...]] = {}
        if "{{" in text:
            try:
                self._nodes, self._templates = parse(text, FUNCTION_NAMES, name=self._name, variables=PREDEFINED.keys())
            except TemplateError as error:
                raise TemplateError(f"error parsing template {self._name}: {error}") from error

    @classmethod
    def lenient(cls, text: str, name: str) -> Template:
        """A template whose parse error, if any, is what it expands to."""
        try:
            return cls(text, name)
        except TemplateError as error:
            template = cls("", name)
            template._error = str(error)
            return template

    def expand(self, labels: Mapping[str, str], value: float, context: TemplateContext) -> str:
        """The text for one alert; an error becomes text, worded as Prometheus words it."""
        if self._error is not None:
            return f"<error expanding template: {self._error}>"
        if len(self._nodes) == 1 and isinstance(self._nodes[0], Text):
            return self._nodes[0].text
        data = Struct(
            "template.AlertTemplateData",
            {
                "Labels": labels,
                "ExternalLabels": context.external_labels,
                "ExternalURL": context.external_url,
                "Value": value,
            },
        )
        execution = Execution(
            self._name,
            self._templates,
            functions(context.external_url, context.query, now_s=context.at_ms / 1000),
            variables={variable: data[field] for variable, field in PREDEFINED.items()},
            max_chars=MAX_OUTPUT_CHARS,
        )
        try:
            return execution.run(self._nodes, data)
        except Exception as error:  # whatever a template provokes must not stop the rule
            return f"<error expanding template: error executing template {self._name}: {error}>"
