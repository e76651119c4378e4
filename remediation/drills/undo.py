"""What ends an injection, as a value that outlives the process: a drill that was killed is undone by the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Undo:
    """Either rates to set again, or a fault to end."""

    rates: Mapping[str, float] = field(default_factory=dict)
    service: str = ""
    fault_kind: str = ""

    @classmethod
    def load(cls, rates: Mapping[str, float]) -> Undo:
        return cls(rates=dict(rates))

    @classmethod
    def fault(cls, service: str, kind: str) -> Undo:
        return cls(service=service, fault_kind=kind)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Undo:
        """
        Raises:
            KeyError, TypeError, ValueError, AttributeError: not one.
        """
        rates = {str(journey): float(rate) for journey, rate in value["rates"].items()}
        return cls(rates, str(value["service"]), str(value["fault_kind"]))
