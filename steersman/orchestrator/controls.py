"""
What can be set of a service beside the number of its replicas: its version, its zones' weights, its customers' rate.

Each is absolute. Who gives `expected` sets it only if it is still as he saw it, or as he wants it already; so a request
may be repeated, and two who act at once do not undo each other unknowingly.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from typing import Any

from steersman.errors import ConflictError
from steersman.orchestrator import plan, releases
from steersman.orchestrator.releases import History, ReleaseFile
from steersman.orchestrator.service import Service, ServiceSpec
from steersman.orchestrator.traffic import Shedding, Traffic, checked_rate, checked_until, checked_weights

log = logging.getLogger("steersman.orchestrator")

UNSET: Any = object()  # no `expected` was given; None is a value that may be expected


def now_unix_ms() -> int:
    return time.time_ns() // 1_000_000


class Controls:
    """
    Args:
        service: looks one up, or raises UnknownServiceError.
        change: makes a service what it is given as.
    """

    def __init__(
        self,
        service: Callable[[str], Service],
        change: Callable[[str, Service], None],
        *,
        file: ReleaseFile | None = None,
        clock_ms: Callable[[], int] = now_unix_ms,
    ) -> None:
        self._service = service
        self._change = change
        self._file = file
        self._clock_ms = clock_ms
        self._declared: dict[str, str] = {}
        self._histories: dict[str, History] = {}
        self._traffic: dict[str, Traffic] = {}
        self._shedding: dict[str, Shedding] = {}

    def restore(self, specs: Iterable[ServiceSpec]) -> dict[str, str]:
        """The version that each service starts with: what was deployed last, unless its services file says anew."""
        kept: Mapping[str, tuple[str, History]] = {}
        try:
            kept = self._file.read() if self._file else {}
        except ValueError as error:
            log.error("%s; the versions of the services file are started", error)
        now = self._clock_ms()
        for spec in specs:
            self._declared[spec.name] = spec.version
            declared, history = kept.get(spec.name, ("", ()))
            version = spec.version
            if history and declared == spec.version:
                version = releases.ended_trial(history, now) or history[-1].version
            version = version if version in spec.versions else spec.version
            self._histories[spec.name] = releases.deployed(
                history, version, now, by="services file", reason="the stack has started"
            )
        self._write()
        return {name: history[-1].version for name, history in self._histories.items()}

    def tick(self, name: str) -> None:
        """Note what serves, and end what was for a time."""
        now, service = self._clock_ms(), self._service(name)
        whole = len(service.serving) >= service.desired and {i.version for i in service.serving} == {service.version}
        if whole and self._histories[name][-1].serving_unix_ms is None:
            self._histories[name] = releases.serves(self._histories[name], now)
            self._write()
        if (version := releases.ended_trial(self._histories[name], now)) is not None:
            self.deploy(name, version, by="orchestrator", reason="the trial is over")
        until = self.traffic(name).until_unix_ms
        if until is not None and now >= until:
            self.shift(name, {})
        until = self.shedding(name).until_unix_ms
        if until is not None and now >= until:
            self.shed(name, None)

    # --- versions ---

    def describe_version(self, name: str) -> dict[str, Any]:
        service, history = self._service(name), self._histories[name]
        return {
            "version": service.version,
            "until_unix_ms": history[-1].until_unix_ms,
            "known": list(service.spec.versions),
            "history": [asdict(one) for one in reversed(history)],
        }

    def deploy(
        self,
        name: str,
        version: str,
        *,
        by: str,
        reason: str,
        expected: Any = UNSET,
        until_unix_ms: int | None = None,
    ) -> None:
        """
        Replace in turn what is of another version.

        Raises:
            UnknownServiceError, OutOfBoundsError, ConflictError: nothing changed.
        """
        service, now = self._service(name), self._clock_ms()
        changed = plan.deploy(service, version)
        _require(name, "version", service.version, version, expected)
        history = self._histories[name]
        until = checked_until(until_unix_ms, now)
        self._histories[name] = releases.deployed(history, version, now, by=by, reason=reason, until_unix_ms=until)
        self._write()  # before it is done: after a kill the stack comes up with what was asked for
        self._change(name, changed)
        if service.version != version:
            log.warning("%s: version %s -> %s, by %s: %s", name, service.version, version, by, reason)

    # --- traffic ---

    def traffic(self, name: str) -> Traffic:
        return self._traffic.get(name, Traffic())

    def describe_traffic(self, name: str) -> dict[str, Any]:
        service = self._service(name)
        return asdict(self.traffic(name)) | {"zones": service.serving_by_zone}

    def shift(
        self, name: str, weights: Mapping[str, int], *, expected: Any = UNSET, until_unix_ms: int | None = None
    ) -> None:
        """
        Raises:
            UnknownServiceError, OutOfBoundsError, ConflictError: nothing changed.
        """
        service = self._service(name)
        before = self.traffic(name).weights
        _require(name, "weights", before, weights, expected)
        checked = checked_weights(service.spec, weights, service.serving_by_zone)
        until = checked_until(until_unix_ms, self._clock_ms())
        self._traffic[name] = Traffic(weights=checked, until_unix_ms=until if checked else None)
        self._change(name, service)
        if before != checked:
            log.warning("%s: weights %s -> %s", name, before, checked)

    # --- shedding ---

    def shedding(self, name: str) -> Shedding:
        return self._shedding.get(name, Shedding())

    def describe_shedding(self, name: str) -> dict[str, Any]:
        self._service(name)
        return asdict(self.shedding(name))

    def shed(
        self, name: str, requests_per_s: float | None, *, expected: Any = UNSET, until_unix_ms: int | None = None
    ) -> None:
        """
        Raises:
            UnknownServiceError, OutOfBoundsError, ConflictError: nothing changed.
        """
        service = self._service(name)
        before = self.shedding(name).requests_per_s
        _require(name, "requests_per_s", before, requests_per_s, expected)
        checked = checked_rate(requests_per_s)
        until = checked_until(until_unix_ms, self._clock_ms())
        self._shedding[name] = Shedding(requests_per_s=checked, until_unix_ms=until if checked is not None else None)
        self._change(name, service)
        if before != checked:
            log.warning("%s: customers' requests a second %s -> %s", name, before, checked)

    def _write(self) -> None:
        if self._file is not None:
            self._file.write(self._declared, self._histories)


def _require(name: str, what: str, found: Any, wanted: Any, expected: Any) -> None:
    if expected is not UNSET and found not in (expected, wanted):
        raise ConflictError(f"{what} of {name} is {found!r}, not {expected!r}: somebody else has changed it")
