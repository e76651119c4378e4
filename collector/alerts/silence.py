"""
A silence: which alerts are not told for a while, by whom and why. Values and their rules, no store.

Source: alertmanager/silence/silence.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from collector.alerts.matchers import test_of
from collector.errors import BadRequestError
from collector.model.series import Matcher

MAX_TEXT = 16 * 1024  # characters of a comment or an author


class SilenceState(Enum):
    ACTIVE = "active"
    PENDING = "pending"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    id: str  # "" for one that has none yet
    matchers: tuple[Matcher, ...]  # all must match
    starts_at_ms: int
    ends_at_ms: int
    created_by: str
    comment: str
    updated_at_ms: int = 0

    def state(self, now_ms: int) -> SilenceState:
        if now_ms < self.starts_at_ms:
            return SilenceState.PENDING
        return SilenceState.EXPIRED if now_ms >= self.ends_at_ms else SilenceState.ACTIVE

    def expired(self, now_ms: int) -> Silence:
        """Ended now; one that has not begun begins and ends now."""
        starts_at_ms = min(self.starts_at_ms, now_ms)
        return replace(self, starts_at_ms=starts_at_ms, ends_at_ms=now_ms, updated_at_ms=now_ms)


def check_silence(silence: Silence, now_ms: int) -> None:
    """
    Raises:
        BadRequestError: worded as Alertmanager words it.
    """
    if silence.starts_at_ms >= silence.ends_at_ms:
        raise BadRequestError("Failed to create silence: start time must be before end time")
    if silence.ends_at_ms < now_ms:
        raise BadRequestError("Failed to create silence: end time can't be in the past")
    if not silence.matchers:
        raise BadRequestError("silence invalid: at least one matcher required")
    for matcher in silence.matchers:
        if not matcher.name:
            raise BadRequestError('silence invalid: invalid label matcher: invalid label name ""')
    if all(test_of(matcher)("") for matcher in silence.matchers):
        raise BadRequestError("silence invalid: at least one matcher must not match the empty string")
    for name, text in (("comment", silence.comment), ("createdBy", silence.created_by)):
        if len(text) > MAX_TEXT:
            raise BadRequestError(f"silence invalid: {name} of {len(text)} characters is over the limit of {MAX_TEXT}")


def can_update(old: Silence, new: Silence, now_ms: int) -> bool:
    """Whether `new` may take the place of `old` under its id; else it becomes another silence and `old` ends."""
    if old.matchers != new.matchers:
        return False
    match old.state(now_ms):
        case SilenceState.ACTIVE:
            return new.starts_at_ms // 1000 == old.starts_at_ms // 1000 and new.ends_at_ms >= now_ms
        case SilenceState.PENDING:
            return new.starts_at_ms >= now_ms
        case SilenceState.EXPIRED:
            return False


def filter_accepts(matchers: list[Matcher], pairs: Mapping[str, str]) -> bool:
    """How the API's `filter` selects (api/v2/api.go, matchFilterLabels): `a=""` asks for an absent label."""
    return all(test_of(matcher)(pairs.get(matcher.name, "")) for matcher in matchers)
