"""The contract that every scaler keeps; `tests/remediation/scalers` runs it on each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """One service as its scaler sees it; `minimum` and `maximum` are inclusive."""

    service: str
    desired: int
    ready: int
    minimum: int
    maximum: int


class Scaler(Protocol):
    """
    Raises, from each:
        TemporaryScalerError: no answer, or one that says to come again; it may or may not have been done.
        PermanentScalerError: unknown service, out of bounds, not allowed; nothing was done.
    """

    @property
    def surges(self) -> bool:
        """Whether another serves before a single replica that is replaced goes."""
        ...

    def get(self, service: str) -> Replicas: ...

    def services(self) -> list[str]:
        """All that it holds replicas of, sorted."""
        ...

    def set_desired(self, service: str, desired: int) -> Replicas:
        """Absolute and idempotent. Returns when it is accepted; the replicas follow later."""
        ...

    def restart(self, service: str, started_before_unix_ms: int, replica: str | None = None) -> None:
        """
        Replace in turn every replica that started before that moment; repeating it replaces nothing twice.

        Args:
            replica: Only the one that telemetry calls so; nothing happens if it has gone.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class ComparesAndSets(Protocol):
    """A scaler whose system refuses to write over what somebody else has written since."""

    def change_desired(self, service: str, before: int, to: int) -> Replicas:
        """
        As `set_desired`, if it is still `before`; nothing happens if it is `to` already.

        Raises:
            ConflictError: it is neither; nothing was done.
        """
        ...
