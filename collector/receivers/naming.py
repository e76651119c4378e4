"""
OpenTelemetry names and units to Prometheus names.

Source: OpenTelemetry's "Prometheus and OpenMetrics Compatibility", and prometheus/otlptranslator (metric_namer.go,
unit_namer.go, label_namer.go) in the strategy UnderscoreEscapingWithSuffixes, which is Prometheus's default.
"""

from __future__ import annotations

import re
from enum import Enum

_NOT_IN_METRIC_NAME = re.compile(r"[^a-zA-Z0-9:]+")
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


class MetricType(Enum):
    COUNTER = "counter"  # a monotonic sum
    GAUGE = "gauge"  # a gauge or a sum that may fall; only a gauge proper can be a ratio, see NON_MONOTONIC
    NON_MONOTONIC = "non_monotonic"
    HISTOGRAM = "histogram"
    SUMMARY = "summary"

    @property
    def prometheus(self) -> str:
        return "gauge" if self is MetricType.NON_MONOTONIC else self.value


def metric_name(name: str, unit: str, kind: MetricType) -> str:
    """
    `http.server.request.duration` in `s` is `http_server_request_duration_seconds`. Empty if no character can stay.

    Histograms and summaries get no suffix here: `_bucket`, `_sum` and `_count` follow.
    """
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


def label_name(name: str) -> str:
    """`http.route` is `http_route`; a leading digit gets `key_` in front, a single leading underscore `key`."""
    if not name:
        return ""
    if name.startswith("__") and name.endswith("__") and len(name) > 4:
        return _NOT_IN_LABEL_NAME.sub("_", name)  # reserved names stay reserved
    cleaned = _UNDERSCORES.sub("_", _NOT_IN_LABEL_NAME.sub("_", name))
    if cleaned[0].isdigit():
        return f"key_{cleaned}"
    return f"key{cleaned}" if cleaned.startswith("_") else cleaned


def label_pairs(attributes: list[tuple[str, str]]) -> dict[str, str]:
    """Attributes as labels. Names that fall together share one label, their values joined by `;` in name order."""
    labels: dict[str, str] = {}
    for name, value in sorted(attributes):
        label = label_name(name)
        if label:
            labels[label] = f"{labels[label]};{value}" if label in labels else value
    return labels


def bound_text(bound: float) -> str:
    """A bucket's bound as the value of `le`: shortest decimal notation without an exponent, `+Inf` for infinity."""
    if bound == float("inf"):
        return "+Inf"
    if bound == float("-inf"):
        return "-Inf"
    text = repr(float(bound))
    if "e" in text:
        text = f"{bound:.20f}".rstrip("0") if abs(bound) < 1 else f"{bound:.0f}"
    return text.removesuffix(".0")
