"""What became of an action."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Outcome:
    status: str  # done, failed
    detail: str
    output: str = ""  # what a command or a peer said, for the record
