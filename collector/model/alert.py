"""An alert as rules raise it and the dispatcher delivers it, with Alertmanager's fingerprint and time format."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

from collector.model.series import Labels

ALERT_NAME = "alertname"

# FNV-1a, 64 bit (prometheus/common/model/fnv.go).
_FNV_OFFSET = 14695981039346656037
_FNV_PRIME = 1099511628211
_SEPARATOR = b"\xff"  # cannot occur in valid UTF-8
GO_ZERO_TIME = "0001-01-01T00:00:00Z"  # how Go writes "no time"; receivers of the webhook expect it


@lru_cache(maxsize=32_768)  # more than the dispatcher takes; a storm asks for the same ones again and again
def fingerprint(labels: Labels) -> str:
    """
    Sixteen hex digits that name a label set, equal to Alertmanager's (model.LabelSet.Fingerprint).

    Args:
        labels: Sorted by name, as `Labels` always are.
    """
    state = _FNV_OFFSET
    for pair in labels:
        for text in pair:
            for byte in text.encode() + _SEPARATOR:
                state = ((state ^ byte) * _FNV_PRIME) & 0xFFFFFFFFFFFFFFFF
    return f"{state:016x}"


def rfc3339(unix_ms: int) -> str:
    """UTC, as Go's RFC3339Nano writes it: no trailing zeros in the fraction."""
    seconds, ms = divmod(unix_ms, 1000)
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")[:19]
    fraction = f".{ms:03d}".rstrip("0") if ms else ""
    return f"{text}{fraction}Z"


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert that has fired. It is resolved once `ends_at_ms` is not in the future."""

    labels: Labels  # with alertname; what identifies the alert
    annotations: Labels
    starts_at_ms: int  # when it began to fire, kept while it fires
    ends_at_ms: int  # when it resolved; while it fires, when it is to count as resolved if nobody says more
    generator_url: str = ""  # where to see the expression

    @property
    def fingerprint(self) -> str:
        return fingerprint(self.labels)

    def resolved_at(self, now_ms: int) -> bool:
        return self.ends_at_ms <= now_ms
