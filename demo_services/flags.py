"""
Feature flags: bucket `flags`, one key `{service}.{flag}`, watched by each replica of the service.

A value is JSON, {"value": …, "until_unix_ms": …}; null, one whose time is over, and what cannot be read count as
not set. Who sets them writes into the bucket: the remediation worker, or `nats kv put`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from demo_services import streams
from demo_services.bus import Bus
from demo_services.faults import wall_clock_ms
from demo_services.key_watch import KeyWatch

_logger = logging.getLogger(__name__)


class Flags(Collector):
    """What this replica knows of its service's flags."""

    def __init__(
        self,
        bus: Bus,
        *,
        service: str,
        registry: CollectorRegistry | None = None,
        clock_ms: Callable[[], int] = wall_clock_ms,
    ) -> None:
        self._service = service
        self._clock_ms = clock_ms
        self._flags: dict[str, tuple[Any, int | None]] = {}  # value, until
        self.watch = KeyWatch(bus, streams.FLAGS_BUCKET, f"{service}.>", self)
        if registry is not None:
            registry.register(self)

    def get(self, name: str) -> Any:
        """The value in force; None if it is not set."""
        value, until = self._flags.get(name, (None, None))
        return value if until is None or self._clock_ms() < until else None

    def is_on(self, name: str) -> bool:
        return self.get(name) is True

    def replace(self, entries: dict[str, bytes]) -> None:
        self._flags.clear()
        for key, value in entries.items():
            self.put(key, value)

    def put(self, key: str, value: bytes) -> None:
        name = self._name(key)
        try:
            told = json.loads(value)
            until = None if told["until_unix_ms"] is None else int(told["until_unix_ms"])
            self._flags[name] = told["value"], until
        except (ValueError, TypeError, KeyError) as error:
            self._flags.pop(name, None)
            _logger.warning("ignored the flag %s: %r", key, error)
            return
        _logger.warning("flag %s: %s", key, value.decode())

    def remove(self, key: str) -> None:
        self._flags.pop(self._name(key), None)

    def _name(self, key: str) -> str:
        return key.removeprefix(f"{self._service}.")

    def collect(self) -> Iterator[Metric]:
        gauge = GaugeMetricFamily("shop_flag", "1 while this flag is on", labels=["flag"])
        for name in sorted(self._flags):
            gauge.add_metric([name], 1.0 if self.is_on(name) else 0.0)
        yield gauge
