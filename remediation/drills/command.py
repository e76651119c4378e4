"""What the engine asks of the edge."""

from __future__ import annotations

from dataclasses import dataclass

from remediation.drills.steps import Step


@dataclass(frozen=True, slots=True)
class Inject:
    """Carry these out, then call `injected`."""

    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class EndTheInjection:
    """Undo the injection, then call `ended`."""


Command = Inject | EndTheInjection
