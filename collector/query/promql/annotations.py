"""
What a query has to say beside its result: warnings and infos, in Prometheus's words.

Source: prometheus/util/annotations/annotations.go.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from collector.query.promql.tree import UNKNOWN_START

MAX_SHOWN = 10  # of each kind (prometheus/web/api/v1/api.go, AsStrings(query, 10, 10))
_COUNTER_SUFFIXES = ("_total", "_sum", "_count", "_bucket")


@dataclass(slots=True)
class Annotations:
    """Collected while a query runs; each text once for each place. Not safe across threads: one for each query."""

    expr: str
    _warnings: dict[str, None] = field(default_factory=dict)
    _infos: dict[str, None] = field(default_factory=dict)

    @property
    def warnings(self) -> tuple[str, ...]:
        return _shown(self._warnings, "warning")

    @property
    def infos(self) -> tuple[str, ...]:
        return _shown(self._infos, "info")

    def warn(self, text: str, start: int) -> None:
        self._warnings[f"PromQL warning: {text}{self._place(start)}"] = None

    def info(self, text: str, start: int) -> None:
        self._infos[f"PromQL info: {text}{self._place(start)}"] = None

    def _place(self, start: int) -> str:
        if start == UNKNOWN_START:
            return ""
        line = self.expr.count("\n", 0, start) + 1
        return f" ({line}:{start - (self.expr.rfind(chr(10), 0, start) + 1) + 1})"

    # The texts that several places say. Metric names may be empty.

    def invalid_quantile(self, ratio: float, start: int) -> None:
        self.warn(f"quantile value should be between 0 and 1, got {_general(ratio)}", start)

    def invalid_ratio(self, ratio: float, capped: float, start: int) -> None:
        text = f"ratio value should be between -1 and 1, got {_general(ratio)}, capping to {_general(capped)}"
        self.warn(text, start)

    def mixed_kinds(self, metric: str, start: int) -> None:
        self.warn(f'encountered a mix of histograms and floats for metric name "{metric}"', start)

    def mixed_aggregation(self, start: int) -> None:
        self.warn("encountered a mix of histograms and floats for aggregation", start)

    def mixed_classic_native(self, metric: str, start: int) -> None:
        named = f' for metric name "{metric}"' if metric else ""
        self.warn(f"vector contains a mix of classic and native histograms{named}", start)

    def bad_bucket(self, metric: str, bound: str, start: int) -> None:
        named = f' for metric name "{metric}"' if metric else ""
        self.warn(f'bucket label "le" is missing or has a malformed value of "{bound}"{named}', start)

    def not_counter(self, metric: str, start: int) -> None:
        self.warn(f'this native histogram metric is not a counter: "{metric}"', start)

    def not_gauge(self, metric: str, start: int) -> None:
        self.warn(f'this native histogram metric is not a gauge: "{metric}"', start)

    def possible_non_counter(self, metric: str, start: int) -> None:
        if metric and not metric.endswith(_COUNTER_SUFFIXES):
            self.info(
                f'metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "{metric}"', start
            )

    def forced_monotonicity(self, metric: str, start: int) -> None:
        named = f' for metric name "{metric}"' if metric else ""
        self.info(
            "input to histogram_quantile needed to be fixed for monotonicity (see "
            f"https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile){named}",
            start,
        )

    def incompatible_types(self, left: str, operator: str, right: str, start: int) -> None:
        text = f'incompatible sample types encountered for binary operator "{operator}": {left} {operator} {right}'
        self.info(text, start)

    def ignored_in_aggregation(self, aggregation: str, start: int) -> None:
        self.info(f"ignored histogram in {aggregation} aggregation", start)

    def ignored_in_range(self, metric: str, start: int) -> None:
        self.info(
            f'ignored histograms in a range containing both floats and histograms for metric name "{metric}"', start
        )

    def nan_observations(self, function: str, consequence: str, metric: str, start: int) -> None:
        named = f' for metric name "{metric}"' if metric else ""
        self.info(f"input to {function} has NaN observations, {consequence}{named}", start)


def _shown(texts: dict[str, None], kind: str) -> tuple[str, ...]:
    shown = tuple(texts)[:MAX_SHOWN]
    if len(texts) <= MAX_SHOWN:
        return shown
    return (*shown, f"{len(texts) - MAX_SHOWN} more {kind} annotations omitted")


def _general(value: float) -> str:
    """As Go's %g writes it."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    return repr(value).removesuffix(".0")
