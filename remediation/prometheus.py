"""What the worker asks of Prometheus's HTTP API: instant queries, the expression of a rule, exemplars."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from remediation.errors import PermanentTelemetryError, TelemetryError, TemporaryTelemetryError

_TRACE_ID = re.compile(r"[0-9a-fA-F]{1,32}")
TIMEOUT_S = 3.0  # a query that takes longer is no basis for an action that should take one second
RANGE_TIMEOUT_S = 10.0  # two weeks in steps of five minutes; nothing that is urgent waits for it
EXEMPLAR_TIMEOUT_S = 1.0  # they explain, they decide nothing: not worth waiting for


@dataclass(frozen=True, slots=True)
class Sample:
    labels: Mapping[str, str]  # without __name__
    value: float


@dataclass(frozen=True, slots=True)
class AlertCondition:
    """The expression of an alert rule, and the labels that the rule adds to what the expression returns."""

    expression: str
    rule_labels: Mapping[str, str]  # as the rule file has them, templates not expanded

    def applies_to(self, alert_labels: Mapping[str, str], *, partial: bool = False) -> bool:
        """
        Whether this rule can have raised the alert: several rules may share a name.

        Args:
            partial: Labels that the alert lacks may be anything: a person has stated only some.
        """
        return all(
            _agrees(alert_labels, name, value, partial) for name, value in self.rule_labels.items() if "{{" not in value
        )

    def returns(self, samples: list[Sample], alert_labels: Mapping[str, str], *, partial: bool = False) -> bool:
        """Whether one of the samples is this alert: it differs only in labels that the rule itself set."""
        return any(
            all(
                _agrees(alert_labels, name, value, partial)
                for name, value in sample.labels.items()
                if name not in self.rule_labels
            )
            for sample in samples
        )


def _agrees(labels: Mapping[str, str], name: str, value: str, partial: bool) -> bool:
    return labels.get(name) == value or (partial and name not in labels)


class Prometheus:
    """Thread-safe. Source: prometheus.io/docs/prometheus/latest/querying/api."""

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._client = httpx.Client(base_url=url, timeout=timeout_s, trust_env=False)

    def close(self) -> None:
        self._client.close()

    def query(self, promql: str, at_s: float | None = None) -> list[Sample]:
        """
        The instant vector (or scalar, as one sample without labels) that `promql` is; NaN is kept.

        Args:
            at_s: Unix seconds; None for now.

        Raises:
            TemporaryTelemetryError: no answer, or one that says to come again.
            PermanentTelemetryError: the query was refused, or returns something else than a vector.
        """
        time = {} if at_s is None else {"time": f"{at_s:.3f}"}
        data = self._get("/api/v1/query", {"query": promql, **time})
        try:
            kind, result = data["resultType"], data["result"]
            if kind == "scalar":
                return [Sample({}, float(result[1]))]
            if kind == "vector":
                return [_sample(one) for one in result]
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise PermanentTelemetryError(f"unexpected answer to {promql!r}: {error!r}") from error
        raise PermanentTelemetryError(f"{promql!r} is a {kind}, not a vector or a scalar")

    def query_range(self, promql: str, *, start_s: float, end_s: float, step_s: float) -> list[tuple[float, float]]:
        """
        (Unix seconds, value) of the one series that `promql` is, in the order of time; empty if there is none.

        Raises:
            TemporaryTelemetryError: no answer, or one that says to come again.
            PermanentTelemetryError: the query was refused, or returns several series.
        """
        params = {"query": promql, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}", "step": f"{step_s:.3f}"}
        data = self._get("/api/v1/query_range", params, timeout_s=RANGE_TIMEOUT_S)
        try:
            series = data["result"]
            if len(series) > 1:
                raise PermanentTelemetryError(f"{promql!r} returns {len(series)} series, one is wanted")
            return [(float(at), float(value)) for one in series for at, value in one["values"]]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise PermanentTelemetryError(f"unexpected answer to {promql!r}: {error!r}") from error

    def conditions(self, alertname: str) -> list[AlertCondition]:
        """
        The expressions of every alerting rule with this name; empty if there is none.

        Raises:
            TelemetryError: as `query`.
        """
        data = self._get("/api/v1/rules", {"type": "alert"})
        try:
            rules = [rule for group in data["groups"] for rule in group["rules"]]
            return [
                AlertCondition(rule["query"], rule.get("labels") or {})
                for rule in rules
                if rule.get("type") == "alerting" and rule["name"] == alertname
            ]
        except (KeyError, TypeError, AttributeError) as error:
            raise PermanentTelemetryError(f"unexpected answer from /api/v1/rules: {error!r}") from error

    def exemplar_traces(self, selector: str, *, start_s: float, end_s: float, limit: int = 5) -> list[str]:
        """
        Ids of the traces behind the largest exemplars, largest first; empty where there are none or no such API.
        """
        params = {"query": selector, "start": f"{start_s:.3f}", "end": f"{end_s:.3f}"}
        try:
            data = self._get("/api/v1/query_exemplars", params, timeout_s=EXEMPLAR_TIMEOUT_S)
            found = [
                (float(one["value"]), str(labels.get("trace_id") or labels.get("traceID") or ""))
                for series in data
                for one in series["exemplars"]
                for labels in [one["labels"]]
            ]
        except (TelemetryError, KeyError, TypeError, ValueError, AttributeError):
            return []
        ordered = [trace for _, trace in sorted(found, reverse=True) if trace]
        return list(dict.fromkeys(ordered))[:limit]

    def critical_path(self, trace_id: str, limit: int = 4) -> dict[str, float]:
        """
        Seconds of the trace's critical path by "service: span", longest first: what the time went into. Empty where
        there is no such trace, or no such API: it is the collector's own, Prometheus has none.
        """
        if not _TRACE_ID.fullmatch(trace_id):
            return {}
        seconds = Counter[str]()
        try:
            for span in self._get(f"/api/v1/traces/{trace_id}", {}, timeout_s=EXEMPLAR_TIMEOUT_S)["spans"]:
                seconds[f"{span['service']}: {span['name']}"] += span["critical_nano"] / 1e9
        except (TelemetryError, KeyError, TypeError, ValueError, AttributeError):
            return {}
        return {name: round(took_s, 6) for name, took_s in seconds.most_common(limit) if took_s > 0}

    def _get(self, path: str, params: dict[str, str], *, timeout_s: float | None = None) -> Any:
        timeout = httpx.USE_CLIENT_DEFAULT if timeout_s is None else timeout_s
        try:
            response = self._client.get(path, params=params, timeout=timeout)
            body = response.json()
        except httpx.HTTPError as error:
            raise TemporaryTelemetryError(f"{self._client.base_url}{path}: {error!r}") from error
        except ValueError as error:
            raise TemporaryTelemetryError(f"{path}: status {response.status_code}, not JSON") from error
        if response.is_success and isinstance(body, dict) and body.get("status") == "success":
            return body.get("data")
        reason = body.get("error") if isinstance(body, dict) else None
        kind = TemporaryTelemetryError if response.status_code >= 500 or response.status_code == 429 else None
        raise (kind or PermanentTelemetryError)(f"{path}: status {response.status_code}: {reason} for {params}")


def _sample(one: Any) -> Sample:
    labels = {str(name): str(value) for name, value in one["metric"].items() if name != "__name__"}
    return Sample(labels, float(one["value"][1]))


def single(samples: list[Sample]) -> float | None:
    """The one finite value; None if there is none, or more than one, or it is NaN or infinite: no basis to act on."""
    if len(samples) != 1 or not math.isfinite(samples[0].value):
        return None
    return samples[0].value


def holds(samples: list[Sample]) -> bool:
    """Whether a condition holds: it returns something, and nothing that is NaN."""
    return bool(samples) and not any(math.isnan(sample.value) for sample in samples)
