"""To set the replicas of a service, unless somebody else has changed them meanwhile."""

from __future__ import annotations

import time

from remediation.errors import ConflictError, ScalerError, TemporaryScalerError
from remediation.scalers.scaler import ComparesAndSets, Scaler

RETRY_S = 0.25


def change_replicas(scaler: Scaler, service: str, before: int, to: int, *, patience_s: float) -> tuple[str, str]:
    """
    From `before` to `to`; repeating it after a crash changes nothing more. Where the scaler's system can compare and
    set in one, nobody can come between looking and setting.

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
            if isinstance(scaler, ComparesAndSets):
                scaler.change_desired(service, before, to)
            else:
                scaler.set_desired(service, to)
            return "done", ""
        except TemporaryScalerError as error:
            if time.monotonic() >= end_s:
                return "failed", str(error)
            time.sleep(RETRY_S)
        except ConflictError as error:
            return "conflict", str(error)
        except ScalerError as error:
            return "failed", str(error)
