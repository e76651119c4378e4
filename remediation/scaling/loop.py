"""
The control loop of the autoscalers: measure, decide, write down, do. One worker of a store runs it at a time.

It acts on nothing that an alert's run is changing, and each change is a record of its own. What it decided last, doing
nothing included, is told by the API.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
import threading
import time
from dataclasses import dataclass
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from remediation.annotations import Annotator
from remediation.errors import LeaseLostError, ScalerError
from remediation.guards import Passed
from remediation.metrics import Metrics
from remediation.policy.autoscaler import Autoscaler
from remediation.policy.limits import Limits
from remediation.policy.schedule import scheduled_minimum
from remediation.prometheus import Prometheus
from remediation.scalers.scaler import Replicas, Scaler
from remediation.scaling.controller import Controller, Floor, ScalingDecision, Seen
from remediation.scaling.execution import Execution, window_ms
from remediation.scaling.measurement import measure_now, missing_telemetry
from remediation.scaling.outlook import Outlook
from remediation.store.scalings import Scalings

log = logging.getLogger("remediation")

TELL_EVERY_S = 10.0  # what was decided, if nothing about it is new
RENEWALS = 5  # of the duty, in one lease


@dataclass(slots=True)
class Governed:
    """One service of an autoscaler."""

    service: str
    autoscaler: Autoscaler
    controller: Controller
    due_s: float = 0.0  # monotonic
    told: tuple[object, ...] = ()  # what the last status said, without its numbers
    told_at_s: float = -math.inf


class ScalingLoop:
    def __init__(
        self,
        autoscalers: tuple[Autoscaler, ...],
        limits: Limits,
        *,
        scalings: Scalings,
        scaler: Scaler,
        prometheus: Prometheus,
        metrics: Metrics,
        annotator: Annotator,
        lease_s: float,
    ) -> None:
        self._governed = [Governed(one, each, Controller(each)) for each in autoscalers for one in each.services]
        self._scalings = scalings
        self._scaler = scaler
        self._prometheus = prometheus
        self._metrics = metrics
        self._execution = Execution(limits, scalings=scalings, scaler=scaler, metrics=metrics, annotator=annotator)
        self._lease_s = lease_s
        self._outlook = Outlook(prometheus)
        self._duty_until_s = -math.inf  # monotonic
        self._settled = False  # nothing is left of whoever had the duty before
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="autoscaling", daemon=True)

    def start(self) -> None:
        if self._governed:
            self._thread.start()

    def stop(self) -> None:
        """Let go; a change that is under way is not waited for."""
        self._stop.set()

    def leave(self) -> None:
        """The others need not wait until this worker's duty ends by itself."""
        self._stop.set()
        if self._governed:
            try:
                self._scalings.give_duty_back()
            except (SQLAlchemyError, LeaseLostError) as error:
                log.warning("the duty of autoscaling could not be given back, and ends by itself: %s", error)

    # Told to others

    def statuses(self, service: str | None = None) -> list[dict[str, Any]]:
        """What was decided last, by service, whichever worker did it; see docs/remediation.md."""
        return self._scalings.told(service)

    def autoscaler_of(self, service: str) -> Autoscaler | None:
        return next((one.autoscaler for one in self._governed if one.service == service), None)

    def forecast(self, service: str, now_s: float) -> dict[str, Any] | None:
        """
        None if no autoscaler has the service.

        Raises:
            TelemetryError: Prometheus could not answer.
        """
        autoscaler = self.autoscaler_of(service)
        return None if autoscaler is None else self._outlook.told(autoscaler, service, now_s)

    def explain(self, service: str, now_s: float) -> dict[str, Any] | None:
        """
        What it would do now about a service, changing nothing: the last decision, and what each guard says to adding
        and to taking away. None if no autoscaler has it.
        """
        autoscaler = self.autoscaler_of(service)
        if autoscaler is None:
            return None
        guards = {
            kind: [
                {"guard": one.guard, "verdict": "pass" if isinstance(one, Passed) else "refuse", "reason": one.reason}
                for one in self._execution.verdicts(autoscaler, service, kind, round(now_s * 1000))
            ]
            for kind in ("out", "in")
        }
        return {"autoscaler": autoscaler.name, "guards": guards, "last": next(iter(self.statuses(service)), None)}

    # The loop

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._turn()
            except LeaseLostError as error:
                log.warning("autoscaling: %s", error)
                self._let_go()
            except Exception:  # the database is away, or something nobody thought of: scaling goes on
                log.exception("autoscaling: a turn failed")
            self._stop.wait(max(0.02, min(one.due_s for one in self._governed) - time.monotonic()))

    def _turn(self) -> None:
        statuses = []
        for one in self._governed:
            if self._stop.is_set() or one.due_s > time.monotonic():
                continue
            one.due_s = time.monotonic() + one.autoscaler.every
            if not self._on_duty():
                continue
            self._settled = self._settled or self._execution.settle()
            status = self._look_after(one)
            if status is not None:
                statuses.append(status)
        if statuses:
            self._scalings.tell(statuses)

    def _on_duty(self) -> bool:
        now_s = time.monotonic()
        if now_s < self._duty_until_s - self._lease_s * (1 - 1 / RENEWALS):
            return True
        if self._scalings.take_duty(self._lease_s):
            self._duty_until_s = now_s + self._lease_s
            return True
        self._let_go()
        return False

    def _let_go(self) -> None:
        """What was seen before others had the duty is no basis any more."""
        self._duty_until_s = -math.inf
        self._settled = False
        for one in self._governed:
            one.controller = Controller(one.autoscaler)

    # One service

    def _look_after(self, one: Governed) -> dict[str, Any] | None:
        """Returns the status to tell, None if it has been told."""
        now_s = time.time()
        try:
            replicas = self._scaler.get(one.service)
        except ScalerError as error:
            return self._status(one, now_s, None, None, {"reason": f"the scaler does not answer: {error}"})
        measured = measure_now(self._prometheus, one.autoscaler, one.service)
        floors = self._floors(one, now_s)
        history = self._scalings.history(one.service, round(now_s * 1000), window_ms(one.autoscaler))
        seen = Seen(replicas=replicas, utilisations=measured.utilisations, floors=floors, history=history)
        decision = one.controller.observe(now_s, seen)
        self._measure(one.service, decision)
        extra: dict[str, Any] = {}
        if decision.kind != "hold":
            extra = self._execution.act(
                one.autoscaler,
                one.service,
                decision,
                findings=measured.findings,
                missing=missing_telemetry(self._prometheus, one.autoscaler, one.service),
                now_s=now_s,
            )
        return self._status(one, now_s, replicas, decision, extra)

    def _floors(self, one: Governed, now_s: float) -> list[Floor]:
        found = []
        scheduled = scheduled_minimum(one.autoscaler.schedule, dt.datetime.fromtimestamp(now_s, dt.UTC))
        if scheduled is not None:
            found.append(Floor(scheduled.minimum, f"schedule {scheduled.name!r} wants {scheduled.minimum} at least"))
        forecast, load = self._outlook.floor(one.autoscaler, one.service, now_s)
        for kind, value in load.items():
            self._metrics.forecast_load.labels(one.service, kind).set(value)
        return found if forecast is None else [*found, forecast]

    def _measure(self, service: str, decision: ScalingDecision) -> None:
        wanted = math.nan if decision.wanted is None else decision.wanted
        self._metrics.autoscaler_wanted.labels(service).set(wanted)
        self._metrics.autoscaler_floor.labels(service).set(decision.floor)

    def _status(
        self,
        one: Governed,
        now_s: float,
        replicas: Replicas | None,
        decision: ScalingDecision | None,
        extra: dict[str, Any],
    ) -> dict[str, Any] | None:
        status: dict[str, Any] = {
            "service": one.service,
            "autoscaler": one.autoscaler.name,
            "at_unix_ms": round(now_s * 1000),
            "decision": decision.kind if decision else "hold",
            "desired": replicas.desired if replicas else None,
            "ready": replicas.ready if replicas else None,
            "to": decision.to if decision else None,
            "wanted": decision.wanted if decision else None,
            "floor": decision.floor if decision else None,
            "reason": decision.reason if decision else "",
            "held": None,
            "run": None,
        } | extra
        names = ("decision", "desired", "to", "wanted", "floor", "held", "run")
        told = tuple(status[name] for name in names)
        if told == one.told and now_s - one.told_at_s < TELL_EVERY_S:
            return None
        one.told, one.told_at_s = told, now_s
        return status
