"""Roles, what each may do, and who somebody is. Pure values."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    VIEWER = "viewer"  # reads everything but the audit log
    OPERATOR = "operator"  # also acts: what an engineer on call needs
    ADMIN = "admin"  # also reads who did what


class Act(StrEnum):
    """What is asked for by name, and written so into the audit log."""

    SAVE_DASHBOARD = "dashboard.save"
    ANSWER_RUN = "remediation.answer"
    TURN_KILL_SWITCH = "kill_switch.turn"
    START_DRILL = "drill.start"
    STOP_DRILL = "drill.stop"
    SILENCE = "silence.save"
    EXPIRE_SILENCE = "silence.expire"
    TRY_RULES = "rules.try"  # checks, tests and backtests cost the collector's time, so not everybody may
    SAVE_RULES = "rules.save"
    READ_AUDIT = "audit.read"


_RANKS = {Role.VIEWER: 0, Role.OPERATOR: 1, Role.ADMIN: 2}
_NEEDED = dict.fromkeys(Act, Role.OPERATOR) | {Act.READ_AUDIT: Role.ADMIN}


@dataclass(frozen=True, slots=True)
class Identity:
    name: str
    role: Role | None  # None: may not even look

    def may(self, act: Act) -> bool:
        return self.role is not None and _RANKS[self.role] >= _RANKS[_NEEDED[act]]


def needed_for(act: Act) -> Role:
    return _NEEDED[act]
