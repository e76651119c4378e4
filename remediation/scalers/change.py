"""To set the replicas of a service, unless somebody else has changed them meanwhile."""

from __future__ import annotations

import time

from remediation.errors import ScalerError, TemporaryScalerError
from remediation.scalers.scaler import Scaler

RETRY_S = 0.25


def change_replicas(scaler: Scaler, service: str, before: int, to: int, *, patience_s: float) -> tuple[str, str]:
    """
    From `before` to `to`; repeating it after a crash changes nothing more.

    Returns:
        What became of it (done, conflict, failed), and why if it was not done.
    """
    end_s = time.monotonic() + patience_s
    while True:
        try:
            desired = scaler.get(service).desired
            if desired == to:
                return "done", ""  # done before a crash, or by somebody of the same mind
            if desired != before:
                return "conflict", f"somebody else set {service} to {desired} meanwhile; it is left as it is"
            scaler.set_desired(service, to)
            return "done", ""
        except TemporaryScalerError as error:
            if time.monotonic() >= end_s:
                return "failed", str(error)
            time.sleep(RETRY_S)
        except ScalerError as error:
            return "failed", str(error)
