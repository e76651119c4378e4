"""Running one replica as a process: `python -m demo_services.catalog` and its siblings end here."""

from __future__ import annotations

import gc
from collections.abc import Callable

import uvloop

from demo_services.service import Service
from demo_services.settings import Settings
from steersman.runtime.http import Listener, serve
from steersman.runtime.telemetry import start_telemetry

# Sizes of bodies: 20 series a route, for a shop whose bodies are all small.
UNINTERESTING_METRICS = ("http.*.body.size",)


def run(name: str, build: Callable[[Settings], Service]) -> None:
    """Serve until SIGTERM; then finish what is in flight, send the telemetry that is queued, and return."""
    settings = Settings.from_environment(name)
    telemetry = start_telemetry(name, dropped_metrics=UNINTERESTING_METRICS)
    service = build(settings)
    gc.collect()
    gc.freeze()  # what was imported lives as long as the process; no collection need look at it again
    try:
        uvloop.run(serve([Listener(service.app, settings.port, settings.host)]))
    finally:
        telemetry.shutdown()
