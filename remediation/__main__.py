"""`python -m remediation`: one worker, told by the environment what it needs (`remediation/settings.py`)."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from remediation import lean  # noqa: F401  (before anything that imports httpx)
from remediation.app import make_app
from remediation.departure import STORE_BROKEN
from remediation.errors import RemediationError
from remediation.settings import Settings
from remediation.worker import Worker
from steersman.runtime.http import Listener, serve

if TYPE_CHECKING:
    from steersman.runtime.telemetry import Telemetry

log = logging.getLogger("remediation")


def main() -> int:
    telemetry = _observed()
    try:
        settings = Settings.from_environment(os.environ)
        worker = Worker(settings)
    except RemediationError as error:
        log.error("%s", error)
        return 2
    try:
        worker.start()
    except SQLAlchemyError as error:
        log.error("the database cannot be used: %s", error)
        return STORE_BROKEN
    try:
        asyncio.run(serve([Listener(make_app(worker, settings.token), settings.port, settings.host)]))
    except OSError as error:
        log.error("%s", error)
        return 1
    finally:
        worker.leave()
        if telemetry is not None:
            telemetry.shutdown()
    return 0


def _observed() -> Telemetry | None:
    """Traces, metrics and logs by OTLP where the environment says where to; a log on stderr otherwise."""
    if not os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT"):
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
        logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for each query says nothing
        return None
    from steersman.runtime.telemetry import start_telemetry

    return start_telemetry("remediation")


def _leave(code: int) -> None:
    """
    Without waiting for the threads of runs at work, some of which wait for an hour. Everything they have done is
    durable and the next worker goes on with it: stopping is the same as a crash, so there is only one way to test.
    """
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main())
