"""What policies may ask of Prometheus, and how often they may look."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from remediation.errors import TemplateError
from remediation.policy.duration import Duration
from remediation.policy.template import check_promql, names_in


def _query(text: str) -> str:
    try:
        check_promql(text)
    except TemplateError as error:
        raise ValueError(str(error)) from error
    return text


def _of_target_only(text: str) -> str:
    if odd := set(names_in(text)) - {"target"}:
        raise ValueError(f"{{{{ {min(odd)} }}}}: there is no alert here, only {{{{ target }}}}")
    return text


Query = Annotated[str, Field(min_length=1), AfterValidator(_query)]
"""PromQL; {{ target }}, {{ labels.X }} and {{ annotations.X }} may stand inside its double-quoted strings."""

TargetQuery = Annotated[Query, AfterValidator(_of_target_only)]
"""PromQL where no alert is answered: {{ target }} alone."""


def _interval(seconds: float) -> float:
    if not 0.05 <= seconds <= 60:  # below, it would load Prometheus; above, it would miss what it waits for
        raise ValueError(f"must be between 50ms and 1m, got {seconds:g}s")
    return seconds


Interval = Annotated[Duration, AfterValidator(_interval)]
