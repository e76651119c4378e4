"""
Policies of tail sampling, each over many traces at once. No I/O; what changes is how much of a rate was used.

Source: processor/tailsamplingprocessor/internal/sampling of the OpenTelemetry Collector, one file each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from collector.model.telemetry import StatusCode
from collector.storage.traces.held import AttributeCondition, HeldTraces, Mask

# FNV-1a of 64 bits (draft-eastlake-fnv), by which the Collector makes up its mind too.
_FNV_OFFSET, _FNV_PRIME = 0xCBF29CE484222325, np.uint64(0x100000001B3)
_ALL = 2**64 - 1
BURST_S = 2.0  # of a rate that may be used at once: decisions come in bursts, about a second apart
MOST_OPERATIONS = 10_000  # whose floor is remembered
_MINUTE_MS = 60_000


class Policy(Protocol):
    """`candidates` are the traces in question; the answer is within them."""

    def matches(self, traces: HeldTraces, candidates: Mask, *, now_ms: int) -> Mask: ...


@dataclass(frozen=True, slots=True)
class AlwaysSample:
    def matches(self, traces: HeldTraces, candidates: Mask, *, now_ms: int) -> Mask:
        return candidates


@dataclass(frozen=True, slots=True)
class Latency:
    threshold_ms: int  # inclusive without an upper one, exclusive with one, as there
    upper_threshold_ms: int = 0  # inclusive; 0: none

    def matches(self, traces: HeldTraces, candidates: Mask, *, now_ms: int) -> Mask:
        took = traces.duration_ms
        if not self.upper_threshold_ms:
            return candidates & (took >= self.threshold_ms)
        return candidates & (took > self.threshold_ms) & (took <= self.upper_threshold_ms)


@dataclass(frozen=True, slots=True)
class StatusCodes:
    codes: frozenset[StatusCode]

    def matches(self, traces: HeldTraces, candidates: Mask, *, now_ms: int) -> Mask:
        found = np.zeros(len(traces), np.bool_)
        for code in self.codes:
            found |= traces.statuses[code]
        return candidates & found


@dataclass(frozen=True, slots=True)
class SpanCount:
    min_spans: int = 0
    max_spans: int = 0  # 0: none

    def matches(self, traces: HeldTraces, candidates: Mask, *, now_ms: int) -> Mask:
        enough = candidates & (traces.spans >= self.min_spans)
        return enough & (traces.spans <= self.max_spans) if self.max_spans else enough


@dataclass(frozen=True, slots=True)
class Attribute:
    condition: AttributeCondition
    place: int  # among the conditions that the store evaluates

    def matches(self, traces: HeldTraces, candidates: Mask, *, now_ms: int) -> Mask:
        return candidates & traces.conditions[self.place]


@dataclass(frozen=True, slots=True)
class Probabilistic:
    """By the trace's id, so that every collector with the same salt decides alike."""

    ratio: float
    salt: str = "default-hash-seed"  # the Collector's

    def matches(self, traces: HeldTraces, candidates: Mask, *, now_ms: int) -> Mask:
        if self.ratio >= 1:
            return candidates
        return candidates & (self._hashes(traces) <= np.uint64(int(_ALL * self.ratio)))

    def _hashes(self, traces: HeldTraces) -> NDArray[np.uint64]:
        start = _FNV_OFFSET
        for byte in self.salt.encode():
            start = ((start ^ byte) * int(_FNV_PRIME)) & _ALL
        out = np.full(len(traces), start, np.uint64)
        ids = np.stack([traces.trace_hi, traces.trace_lo], axis=1).astype(">u8").view(np.uint8).reshape(-1, 16)
        for column in ids.T:
            out = (out ^ column.astype(np.uint64)) * _FNV_PRIME
        return out


@dataclass(slots=True)
class RateLimiting:
    """The traces that came first, as far as the spans of a second go. A trace that does not fit ends the turn."""

    spans_per_second: int
    _left: float = field(init=False, default=-1.0)
    _at_ms: int = field(init=False, default=0)

    def matches(self, traces: HeldTraces, candidates: Mask, *, now_ms: int) -> Mask:
        most = self.spans_per_second * BURST_S
        earned = self.spans_per_second * (now_ms - self._at_ms) / 1000
        self._left = self.spans_per_second if self._left < 0 else min(most, self._left + max(0.0, earned))
        self._at_ms = now_ms
        spans = np.where(candidates, traces.spans, 0)
        matched = candidates & (spans.cumsum() <= self._left)
        self._left -= float(spans[matched].sum())
        return matched


@dataclass(slots=True)
class OperationFloor:
    """The first traces of each minute of each operation, which is the root span's name and service."""

    traces_per_minute: int
    _minute: int = field(init=False, default=-1)
    _kept: dict[tuple[str, str], int] = field(init=False, default_factory=dict)

    def matches(self, traces: HeldTraces, candidates: Mask, *, now_ms: int) -> Mask:
        if now_ms // _MINUTE_MS != self._minute:
            self._minute = now_ms // _MINUTE_MS
            self._kept.clear()
        matched = np.zeros(len(traces), np.bool_)
        for place in np.flatnonzero(candidates).tolist():  # traces, not spans
            operation = (traces.service[place], traces.operation[place])
            kept = self._kept.get(operation, 0)
            if kept < self.traces_per_minute and (kept or len(self._kept) < MOST_OPERATIONS):
                self._kept[operation] = kept + 1
                matched[place] = True
        return matched


@dataclass(frozen=True, slots=True)
class And:
    """All of them, in their order: what follows is asked of what is left."""

    policies: Sequence[Policy]

    def matches(self, traces: HeldTraces, candidates: Mask, *, now_ms: int) -> Mask:
        for policy in self.policies:
            candidates = policy.matches(traces, candidates, now_ms=now_ms)
        return candidates


@dataclass(frozen=True, slots=True)
class Named:
    name: str
    policy: Policy
    drops: bool = False  # a trace that it matches is not kept, whatever the others say

    @property
    def limits(self) -> bool:
        """Whether it is for the rest: asked last, and only of what no other keeps."""
        return any(isinstance(each, RateLimiting) for each in _parts(self.policy))


@dataclass(frozen=True, slots=True)
class Decision:
    kept: Mask
    by_policy: dict[str, Mask]  # which traces each one matched


def decide(policies: Sequence[Named], traces: HeldTraces, *, now_ms: int) -> Decision:
    """A trace is kept if a policy matches it and none drops it."""
    everything = np.ones(len(traces), np.bool_)
    by_policy = {each.name: each.policy.matches(traces, everything, now_ms=now_ms) for each in policies if each.drops}
    left = ~np.any([np.zeros_like(everything), *by_policy.values()], axis=0)
    kept = np.zeros_like(everything)
    for each in sorted((each for each in policies if not each.drops), key=lambda each: each.limits):
        candidates = left & ~kept if each.limits else left
        by_policy[each.name] = each.policy.matches(traces, candidates, now_ms=now_ms)
        kept |= by_policy[each.name]
    return Decision(kept, by_policy)


def _parts(policy: Policy) -> Iterator[Policy]:
    yield policy
    if isinstance(policy, And):
        for part in policy.policies:
            yield from _parts(part)
