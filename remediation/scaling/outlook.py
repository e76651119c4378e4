"""A service's forecast as it is kept, applied and told: the history is asked for once in a step."""

from __future__ import annotations

import logging
import math
import threading
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from remediation import wording
from remediation.errors import TelemetryError
from remediation.policy.autoscaler import Autoscaler, Forecast
from remediation.prometheus import Prometheus, single
from remediation.scaling.controller import Floor
from remediation.scaling.measurement import rendered

if TYPE_CHECKING:
    from remediation.scaling.forecast import History

log = logging.getLogger("remediation")

RETRY_S = 60.0  # after a history that could not be had
MAX_MOMENTS = 600  # told of by the API


@dataclass(frozen=True, slots=True)
class _Kept:
    history: History | None
    asked_s: float  # Unix seconds


class Outlook:
    """Thread-safe. NumPy is loaded only where a forecast is asked for."""

    def __init__(self, prometheus: Prometheus) -> None:
        self._prometheus = prometheus
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def floor(self, autoscaler: Autoscaler, service: str, now_s: float) -> tuple[Floor | None, dict[str, float]]:
        """
        The floor that the forecast asks for, None if it asks for none or is not switched on; and what it has for now.
        """
        wanted = autoscaler.forecast
        if wanted is None:
            return None, {}
        from remediation.scaling.forecast import floor_of, moments_ahead, predict

        history = self._history(wanted, service, now_s)
        if history is None:
            return None, {}
        prediction = predict(wanted, history, moments_ahead(wanted, now_s))
        now = {"expected": float(prediction.expected[0]), "high": float(prediction.high[0])}
        per_replica = self._per_replica(wanted, service)
        replicas = None if per_replica is None else floor_of(prediction, per_replica)
        if replicas is None or not wanted.apply:
            return None, now
        highest = max(value for value in prediction.high.tolist() if math.isfinite(value))
        reason = f"the forecast has a load of {highest:.3g} within {wanted.ahead:g} s: {wording.replicas(replicas)}"
        return Floor(replicas, reason), now

    def told(self, autoscaler: Autoscaler, service: str, now_s: float) -> dict[str, Any]:
        """
        The forecast for a season from now, what it would have as a floor, and how good it has been.

        Raises:
            TelemetryError: Prometheus could not answer.
        """
        wanted = autoscaler.forecast
        if wanted is None:
            return {"service": service, "autoscaler": autoscaler.name, "forecast": None}
        import numpy as np

        from remediation.scaling.forecast import floor_of, measure, moments_ahead, predict

        history = self._asked(wanted, service, now_s)
        per_replica = self._per_replica(wanted, service)
        each = max(1, math.ceil(wanted.season / wanted.step / MAX_MOMENTS))
        first = math.floor(now_s / wanted.step) * wanted.step
        at_s = first + np.arange(0, int(wanted.season / wanted.step), each, dtype=np.float64) * wanted.step
        prediction = predict(wanted, history, at_s)
        near = predict(wanted, history, moments_ahead(wanted, now_s))
        accuracy = measure(wanted, history)
        return {
            "service": service,
            "autoscaler": autoscaler.name,
            "forecast": "median and quantile of the same time of former seasons",
            "applied": wanted.apply,
            "floor": None if per_replica is None else floor_of(near, per_replica),
            "per_replica": per_replica,
            "query": rendered(wanted.load, service),
            "season_s": wanted.season,
            "ahead_s": wanted.ahead,
            "quantile": wanted.quantile,
            "known_seasons": float(np.isfinite(history.values).sum() * history.step_s / wanted.season),
            "accuracy": None if accuracy is None else asdict(accuracy),
            "points": [
                {
                    "at_unix_ms": round(at * 1000),
                    "expected": _number(expected),
                    "high": _number(high),
                    "replicas": None
                    if per_replica is None or not math.isfinite(high)
                    else max(1, math.ceil(high / per_replica - 1e-9)),
                }
                for at, expected, high in zip(
                    prediction.at_s.tolist(), prediction.expected.tolist(), prediction.high.tolist(), strict=True
                )
            ],
        }

    def _history(self, wanted: Forecast, service: str, now_s: float) -> History | None:
        with self._lock:
            kept = self._kept.get(service)
        if kept is not None:
            fresh_s = wanted.step if kept.history is not None else min(RETRY_S, wanted.step)
            if 0 <= now_s - kept.asked_s < fresh_s:
                return kept.history
        try:
            history: History | None = self._asked(wanted, service, now_s)
        except TelemetryError as error:
            log.warning("no history of the load of %s: %s", service, error)
            history = kept.history if kept is not None else None  # of former seasons nothing has changed
            if history is not None and now_s - history.end_s > wanted.season:
                history = None
        with self._lock:
            self._kept[service] = _Kept(history, now_s)
        return history

    def _asked(self, wanted: Forecast, service: str, now_s: float) -> History:
        from remediation.scaling.forecast import history_of

        end_s = math.floor(now_s / wanted.step) * wanted.step
        start_s = end_s - math.floor(wanted.history / wanted.step) * wanted.step
        began = time.monotonic()
        samples = self._prometheus.query_range(
            rendered(wanted.load, service), start_s=start_s, end_s=end_s, step_s=wanted.step
        )
        log.debug("%d samples of the load of %s in %.2f s", len(samples), service, time.monotonic() - began)
        return history_of(samples, start_s=start_s, end_s=end_s, step_s=wanted.step)

    def _per_replica(self, wanted: Forecast, service: str) -> float | None:
        if not isinstance(wanted.per_replica, str):
            return wanted.per_replica
        try:
            value = single(self._prometheus.query(rendered(wanted.per_replica, service)))
        except TelemetryError:
            return None
        return value if value is not None and value > 0 else None


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
