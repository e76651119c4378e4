"""How often somebody may try to sign in: a bucket of attempts for each key, which fills again with time."""

from __future__ import annotations

from collections import OrderedDict

CAPACITY = 10  # wrong attempts in a row: a person who has two passwords in mind needs four
REFILL_S = 6.0  # then one every six seconds: 14,400 guesses a day, at 2^40 or more passwords
MAX_KEYS = 10_000  # the least recently seen are forgotten


class Attempts:
    """Pure but for its memory: `now` is an argument, seconds of any clock that only moves forward."""

    def __init__(self, capacity: int = CAPACITY, refill_s: float = REFILL_S) -> None:
        self._capacity = capacity
        self._refill_s = refill_s
        self._spent: OrderedDict[str, tuple[float, float]] = OrderedDict()  # how many, as of when

    def wait_s(self, key: str, now: float) -> float:
        """0 if an attempt may be made now, else in how many seconds."""
        spent = self._spent_at(key, now)
        return max(0.0, (spent - self._capacity + 1) * self._refill_s)

    def failed(self, key: str, now: float) -> None:
        self._spent[key] = (self._spent_at(key, now) + 1, now)
        self._spent.move_to_end(key)
        while len(self._spent) > MAX_KEYS:
            self._spent.popitem(last=False)

    def succeeded(self, key: str) -> None:
        self._spent.pop(key, None)

    def _spent_at(self, key: str, now: float) -> float:
        spent, then = self._spent.get(key, (0.0, now))
        return max(0.0, spent - (now - then) / self._refill_s)
