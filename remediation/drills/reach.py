"""
What a drill can do to a stack that no orchestrator of ours supervises: load, faults, messages, flags and alerts, which
go over the network. Processes and versions are the embedded stack's; the engine of containers is nothing that a drill
may touch.
"""

from __future__ import annotations

from remediation.drills.definition import Definition
from remediation.drills.endpoints import Endpoints
from remediation.drills.errors import RefusedError
from remediation.drills.fleet_checks import Restarted

_OF_PROCESSES = ("kill", "freeze", "block", "exhaust", "deploy")


def require_reach(definition: Definition, endpoints: Endpoints) -> None:
    """
    Raises:
        RefusedError: naming what this stack has no way for. Call it before anything is broken.
    """
    if endpoints.supervised:
        return
    beyond = [kind for one in definition.inject for kind in _OF_PROCESSES if getattr(one, kind) is not None]
    expected = (*definition.confirm, *definition.expect, *definition.then)
    beyond += [f"restarted ({each.name})" for each in expected if isinstance(each.check, Restarted)]
    if beyond:
        raise RefusedError(
            f"{definition.name}: {', '.join(dict.fromkeys(beyond))}: only the embedded stack has processes and "
            "versions that a drill may change; here it can set load, fault, message, flag and alerts"
        )
