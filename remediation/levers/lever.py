"""What every lever keeps to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from remediation.guards import Refusal
from remediation.policy.policy import Step
from remediation.workflow.case import Case


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """From one absolute value to another; both JSON, since a step that is repeated gets them as they were stored."""

    before: Any
    after: Any
    was: str  # `before` and `after` for the record: a version, weights, a rate
    becomes: str
    reason: str
    thing: str = ""  # which one of several: a flag's name, a replica's

    def reversed(self, reason: str) -> Move:
        return replace(self, before=self.after, after=self.before, was=self.becomes, becomes=self.was, reason=reason)


class Lever(Protocol):
    reversible: bool

    def aim(self, case: Case, step: Step, now_unix_ms: int) -> Move | Refusal:
        """
        Look, and decide; changes nothing.

        Raises:
            ScalerError, TelemetryError, TemplateError
        """
        ...

    def pull(self, service: str, move: Move, now_unix_ms: int) -> None:
        """
        Set what the move says; nothing if it is so already. `now_unix_ms` is when it was first intended.

        Raises:
            ConflictError: it is neither as the move found it nor as it wants it; nothing was changed.
            ScalerError: as a scaler's.
        """
        ...


@runtime_checkable
class Controls(Protocol):
    """Whoever holds versions, weights and rates of services: the embedded stack's orchestrator."""

    def control(self, service: str, name: str) -> dict[str, Any]:
        """`name` is version, traffic or shedding. Raises as a scaler."""
        ...

    def set_control(self, service: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Raises as a scaler, and ConflictError if it is not as `body` expects it."""
        ...
