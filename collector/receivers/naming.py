"""
OpenTelemetry names and units to Prometheus names, in each of Prometheus's translation strategies.

Source: OpenTelemetry's "Prometheus and OpenMetrics Compatibility", and prometheus/otlptranslator (metric_namer.go,
unit_namer.go, label_namer.go, strategy.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from typing import NamedTuple

_NOT_IN_METRIC_NAME = re.compile(r"[^a-zA-Z0-9:]+")
_NOT_IN_BARE_NAME = re.compile(r"[^a-zA-Z0-9:_]")
_NOT_IN_LABEL_NAME = re.compile(r"[^a-zA-Z0-9_]")
_UNDERSCORES = re.compile(r"_+")

_UNITS = {
    # time
    "d": "days", "h": "hours", "min": "minutes", "s": "seconds", "ms": "milliseconds", "us": "microseconds",
    "ns": "nanoseconds",
    # bytes
    "By": "bytes", "KiBy": "kibibytes", "MiBy": "mebibytes", "GiBy": "gibibytes", "TiBy": "tibibytes",
    "KBy": "kilobytes", "MBy": "megabytes", "GBy": "gigabytes", "TBy": "terabytes",
    # SI
    "m": "meters", "V": "volts", "A": "amperes", "J": "joules", "W": "watts", "g": "grams",
    # others
    "Cel": "celsius", "Hz": "hertz", "1": "", "%": "percent",
}  # fmt: skip
_PER_UNITS = {
    "s": "second", "m": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month", "y": "year",
}  # fmt: skip


class Strategy(Enum):
    """`otlp.translation_strategy`; the first is Prometheus's default."""

    UNDERSCORES_WITH_SUFFIXES = "UnderscoreEscapingWithSuffixes"
    UNDERSCORES_WITHOUT_SUFFIXES = "UnderscoreEscapingWithoutSuffixes"
    UTF8_WITH_SUFFIXES = "NoUTF8EscapingWithSuffixes"
    NO_TRANSLATION = "NoTranslation"

    @property
    def escapes(self) -> bool:
        return self in (Strategy.UNDERSCORES_WITH_SUFFIXES, Strategy.UNDERSCORES_WITHOUT_SUFFIXES)


class MetricType(Enum):
    COUNTER = "counter"  # a monotonic sum
    GAUGE = "gauge"  # a gauge or a sum that may fall; only a gauge proper can be a ratio, see NON_MONOTONIC
    NON_MONOTONIC = "non_monotonic"
    HISTOGRAM = "histogram"
    NATIVE_HISTOGRAM = "native_histogram"
    SUMMARY = "summary"

    @property
    def prometheus(self) -> str:
        match self:
            case MetricType.NON_MONOTONIC:
                return "gauge"
            case MetricType.NATIVE_HISTOGRAM:
                return "histogram"
        return str(self.value)


def metric_name(name: str, unit: str, kind: MetricType, strategy: Strategy = Strategy.UNDERSCORES_WITH_SUFFIXES) -> str:
    """
    `http.server.request.duration` in `s` is `http_server_request_duration_seconds`. Empty if no character can stay.

    Histograms and summaries get no suffix here: `_bucket`, `_sum` and `_count` follow.
    """
    match strategy:
        case Strategy.NO_TRANSLATION:
            return name
        case Strategy.UTF8_WITH_SUFFIXES:
            return _suffixed(name, unit, kind)
        case Strategy.UNDERSCORES_WITHOUT_SUFFIXES:
            cleaned = "_".join(word for word in _NOT_IN_BARE_NAME.split(name) if word)
            if not cleaned.strip("_"):
                return name if cleaned == name else ""
            return f"_{cleaned}" if cleaned[0].isdigit() else cleaned
    tokens = [token for token in _NOT_IN_METRIC_NAME.split(name) if token]
    if not tokens:
        return ""
    tokens = _with_unit(tokens, unit.strip())
    if kind is MetricType.COUNTER:
        tokens = [word for word in tokens if word != "total"] + ["total"]
    elif kind is MetricType.GAUGE and unit.strip() == "1":
        tokens = [word for word in tokens if word != "ratio"] + ["ratio"]
    joined = "_".join(tokens)
    return f"_{joined}" if joined[0].isdigit() else joined


def _suffixed(name: str, unit: str, kind: MetricType) -> str:
    """The name as it is, with the words of its unit and kind behind it unless they end it already."""
    if not name:
        return ""
    main, _, per = unit.strip().partition("/")
    main_word, per_word = _plain_word(main, _UNITS), _plain_word(per, _PER_UNITS)
    ends = []
    if kind is MetricType.COUNTER:
        ends.append("total")
    elif kind is MetricType.GAUGE and unit.strip() == "1":
        ends.append("ratio")
    if per_word:
        ends.append(f"per_{per_word}")
    for word in ends:
        if name.endswith(word) and len(name) > len(word) + 1:
            name = name[: -len(word) - 1]
    if main_word and not name.endswith(main_word):
        ends.append(main_word)
    return "_".join([name, *reversed(ends)])


def _plain_word(unit: str, words: dict[str, str]) -> str:
    unit = unit.strip()
    return "" if not unit or "{" in unit or "}" in unit else words.get(unit, unit)


def _with_unit(tokens: list[str], unit: str) -> list[str]:
    main, _, per = unit.partition("/")
    main_word, per_word = _word(main, _UNITS), _word(per, _PER_UNITS)
    added = list(tokens)
    if main_word and main_word not in tokens:
        added.append(main_word)
    if per_word and per_word not in tokens:
        added += ["per", per_word]
    return added


def _word(unit: str, words: dict[str, str]) -> str:
    """The word for a unit; annotations such as `{request}` have none."""
    unit = unit.strip()
    if not unit or "{" in unit or "}" in unit:
        return ""
    return _UNDERSCORES.sub("_", _NOT_IN_METRIC_NAME.sub("_", words.get(unit, unit))).strip("_")


def unit_word(unit: str) -> str:
    """The unit as Prometheus's metadata shows it: `seconds`, `bytes_per_second`, or nothing."""
    return "_".join(_with_unit([""], unit.strip())[1:])


class LabelNaming(NamedTuple):
    """How attributes become labels. The defaults are Prometheus's (config.go, DefaultOTLPConfig)."""

    escapes: bool = True
    underscore_sanitization: bool = True  # one leading underscore gets `key` in front
    preserve_multiple_underscores: bool = True

    def name(self, attribute: str) -> str:
        """`http.route` is `http_route`; a leading digit gets `key_` in front. Empty if nothing can stay."""
        if not attribute or not self.escapes:
            return attribute
        cleaned = _NOT_IN_LABEL_NAME.sub("_", attribute)
        reserved = attribute.startswith("__") and attribute.endswith("__") and len(attribute) > 4
        if not self.preserve_multiple_underscores and not reserved:
            cleaned = _UNDERSCORES.sub("_", cleaned)
        if not cleaned.strip("_"):
            return cleaned if cleaned == attribute else ""
        if cleaned[0].isdigit():
            return f"key_{cleaned}"
        if self.underscore_sanitization and cleaned.startswith("_") and not cleaned.startswith("__"):
            return f"key{cleaned}"
        return cleaned

    def pairs(self, attributes: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Names that fall together share one label, their values joined by `;` in name order."""
        labels: dict[str, str] = {}
        for attribute, value in sorted(attributes):
            label = self.name(attribute)
            if label:
                labels[label] = f"{labels[label]};{value}" if label in labels else value
        return labels
