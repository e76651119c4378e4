"""When to try again, and how fast to send. Pure."""

from __future__ import annotations

from dataclasses import dataclass

# A destination that is restarted is back within seconds, so the first tries come soon; the Collector's (exporterhelper:
# 5 s, ×1.5, 30 s at most) would leave half a minute unused. One refused connection in five seconds costs nothing.
FIRST_DELAY_S = 0.5
MOST_DELAY_S = 5.0
_FACTOR = 1.5
_JITTER = 0.5  # of the delay, to either side: agents that lost one destination must not come back as one


def retry_delay_s(failures: int, asked_s: float, chance: float) -> float:
    """
    Args:
        failures: In a row; at least 1.
        asked_s: What the destination asks for; never less than that, and up to half as much more.
        chance: 0 up to 1, random.
    """
    grown_s = min(MOST_DELAY_S, FIRST_DELAY_S * _FACTOR ** min(failures - 1, 20))
    return max(grown_s * (1 - _JITTER + 2 * _JITTER * chance), asked_s * (1 + _JITTER * chance))


@dataclass(slots=True)
class Pace:
    """So many bytes a second, and those of one second at once."""

    bytes_per_s: float
    _paid_until_s: float = 0.0

    def delay_s(self, size: int, *, now_s: float) -> float:
        """How long to wait before `size` bytes are sent; they count as sent."""
        self._paid_until_s = max(self._paid_until_s, now_s - 1.0) + size / self.bytes_per_s
        return max(0.0, self._paid_until_s - now_s)
