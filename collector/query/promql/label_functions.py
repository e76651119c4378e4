"""label_replace, label_join, and the labels of what `absent` reports."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from collector.errors import BadRequestError
from collector.model.labels import METRIC_NAME, Labels, Matcher, MatchOp, compiled, labels_of
from collector.query.errors import ExecutionError
from collector.query.promql.values import Frame, merged

# $1, ${1}, $name, ${name} and $$, as Go's Regexp.Expand reads them: an unbraced name is as long as it can be.
_REFERENCE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))", re.ASCII)


def label_replace(frame: Frame, target: str, replacement: str, source: str, pattern: str) -> Frame:
    try:
        regex = compiled(pattern)
    except BadRequestError as error:
        raise ExecutionError(f"invalid regular expression in label_replace(): {pattern}") from error
    if not target:  # any other text is a name since Prometheus 3
        raise ExecutionError(f"invalid destination label name in label_replace(): {target}")
    return _relabelled(frame, lambda labels: _replaced(labels, target, replacement, source, regex))


def _replaced(labels: dict[str, str], target: str, replacement: str, source: str, regex: Any) -> None:
    match = regex.fullmatch(labels.get(source, ""))
    if match is not None:
        labels[target] = _REFERENCE.sub(lambda reference: _expanded(reference, match), replacement)


def _expanded(reference: re.Match[str], match: Any) -> str:
    name = reference[1] or reference[2]
    if name is None:
        return "$"
    try:
        return match[int(name) if name.isdigit() else name] or ""
    except IndexError:
        return ""


def label_join(frame: Frame, target: str, separator: str, sources: Sequence[str]) -> Frame:
    if not target:  # any other text is a name since Prometheus 3
        raise ExecutionError(f"invalid destination label name in label_join(): {target}")
    for source in sources:
        if not source:
            raise ExecutionError(f"invalid source label name in label_join(): {source}")

    def join(labels: dict[str, str]) -> None:
        labels[target] = separator.join(labels.get(source, "") for source in sources)

    return _relabelled(frame, join)


def _relabelled(frame: Frame, change: Callable[[dict[str, str]], None]) -> Frame:
    result: list[Labels] = []
    for labels in frame.labels:
        pairs = dict(labels)
        change(pairs)
        result.append(labels_of(pairs))
    return merged(frame.relabelled(tuple(result)))


def absent_labels(matchers: Sequence[Matcher]) -> Labels:
    """
    What `absent` can say of the series that is not there: the labels that exactly one equality matcher fixes.

    Source: prometheus/promql/functions.go, createLabelsForAbsentFunction.
    """
    known: dict[str, str] = {}
    seen: set[str] = set()
    for matcher in matchers:
        if matcher.name == METRIC_NAME:
            continue
        if matcher.op is MatchOp.EQUAL and matcher.name not in seen:
            known[matcher.name] = matcher.value
            seen.add(matcher.name)
        else:
            known.pop(matcher.name, None)
    return labels_of(known)
