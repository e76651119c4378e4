"""
Deciding over time, without a clock of its own: has a condition held long enough, may replicas go home.

Both take observations with `now_s` as an argument. They live only as long as one workflow step: after a restart they
begin anew, which makes them wait longer, never act sooner.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from enum import Enum

from remediation import wording
from remediation.policy.policy import ScaleIn

# An alert whose sender died is never resolved by notification. When its own expression has been quiet for this long
# (several evaluations and notifications), it counts as over.
LOST_NOTIFICATION_S = 60.0


class Condition(Enum):
    FIRING = "firing"  # the rule's expression returns this alert
    OVER = "over"
    UNKNOWN = "unknown"  # telemetry is missing or nobody answers


@dataclass(slots=True)
class Hold:
    """True once every observation of the last `seconds` was good, over at least that time."""

    seconds: float
    _since_s: float | None = None

    def observe(self, now_s: float, good: bool) -> bool:
        if not good:
            self._since_s = None
            return False
        if self._since_s is None:
            self._since_s = now_s
        return now_s - self._since_s >= self.seconds


@dataclass(frozen=True, slots=True)
class Observation:
    condition: Condition
    alert_active: bool  # by notification
    wanted: float | None  # replicas that the load wants now; None if unknown
    allowed: bool  # the policy's `when`


@dataclass(frozen=True, slots=True)
class Decision:
    """`kind` is scale_in, scale_out (demand rose again), go_back (the last step down was too much) or finish."""

    kind: str
    to: int
    reason: str


@dataclass(slots=True)
class ScaleInWatch:
    """
    After it helped: when to step down, when to step up again, when it is done.

    Args:
        current: Replicas desired now.
        floor: Never below: the minimum, or what ran before.
        previous: What ran before the step down that was just made; None if none was.
        relapse_s: The alert's condition must be back for this long to count.
    """

    policy: ScaleIn | None
    current: int
    floor: int
    started_s: float
    relapse_s: float
    previous: int | None = None
    _wants: deque[tuple[float, float]] = field(default_factory=deque)
    _relapse: Hold = field(init=False)
    _quiet: Hold = field(init=False)

    def __post_init__(self) -> None:
        self._relapse = Hold(self.relapse_s)
        self._quiet = Hold(LOST_NOTIFICATION_S)

    def observe(self, now_s: float, seen: Observation) -> Decision | None:
        relapsed = self._relapse.observe(now_s, seen.condition is Condition.FIRING)
        quiet = self._quiet.observe(now_s, seen.condition is Condition.OVER)
        settle_s = self.policy.settle if self.policy else 0.0
        settling = self.previous is not None and now_s - self.started_s < settle_s
        if relapsed:
            if self.previous is not None:
                return Decision("go_back", self.previous, "the alert's condition came back after scaling in")
            return Decision("scale_out", self.current, "the alert's condition came back before the load fell")
        if settling or seen.condition is Condition.FIRING or (seen.alert_active and not quiet):
            self._forget()
            return None
        how = "the alert has resolved" if not seen.alert_active else "the alert's expression has long been quiet"
        if self.policy is None or self.current <= self.floor:
            return Decision("finish", self.current, how)
        return self._step_down(self.policy, now_s, seen, how)

    def _step_down(self, policy: ScaleIn, now_s: float, seen: Observation, how: str) -> Decision | None:
        if now_s - self.started_s >= policy.give_up_after:
            return Decision("finish", self.current, f"{how}, but the load still wants {wording.replicas(self.current)}")
        if seen.wanted is None or not seen.allowed or seen.condition is not Condition.OVER:
            self._forget()
            return None
        self._wants.append((now_s, seen.wanted))
        # Keep the last observation from before the window, so that the window is known to be covered.
        while len(self._wants) > 1 and now_s - self._wants[1][0] >= policy.stabilisation:
            self._wants.popleft()
        if now_s - self._wants[0][0] < policy.stabilisation:
            return None
        highest = math.ceil(max(wanted for _, wanted in self._wants))
        to = max(highest, self.floor, self.current - policy.maximum_step)
        if to >= self.current:
            return None
        return Decision("scale_in", to, f"{how} and the load wanted at most {highest} for {policy.stabilisation:g} s")

    def _forget(self) -> None:
        self._wants.clear()
