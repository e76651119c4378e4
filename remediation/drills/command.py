"""What the engine asks of the edge."""

from __future__ import annotations

from dataclasses import dataclass

from remediation.drills.disturbances import Disturbance


@dataclass(frozen=True, slots=True)
class Inject:
    """Carry these out, then call `injected`."""

    disturbances: tuple[Disturbance, ...]


@dataclass(frozen=True, slots=True)
class EndTheInjection:
    """Undo the injection, then call `ended`."""


Command = Inject | EndTheInjection
