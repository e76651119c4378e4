"""The rounds in which held traces are decided: read what is due, decide, settle in parts between the commits."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from prometheus_client import Counter, Gauge, Histogram

from collector.errors import TemporaryError
from collector.model.telemetry import SpanBatch
from collector.pipeline.commit import GroupCommit
from collector.pipeline.sampling.config import TailSamplingConfig
from collector.pipeline.sampling.policy import decide
from collector.pipeline.self_metrics import SelfMetrics
from collector.storage.traces import held
from collector.storage.traces.database import TelemetryDatabase
from collector.storage.traces.held import MOST_TRACES, UNDECIDED, HeldTraces

_log = logging.getLogger(__name__)
ROUND_S = 1.0  # the Collector's (processor.go, its ticker)
FORGET_EVERY_ROUNDS = 60
_PREFIX = "otelcol_processor_tail_sampling"
_ROUND_BUCKETS_MS = (5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000)


class Sampler:
    def __init__(
        self,
        config: TailSamplingConfig,
        database: TelemetryDatabase,
        counts: SelfMetrics,
        *,
        tell: Callable[[SpanBatch], None] = lambda _spans: None,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        """
        Args:
            tell: Told of spans that are kept, on the writer's thread, once they are found by searches.
        """
        self._config = config
        self._database = database
        self._policies, self._conditions = config.named()
        self._tell = tell
        self._clock = clock
        self._rounds = 0
        registry, yes_or_no = counts.registry, ("policy", "sampled")
        self._by_policy = Counter(f"{_PREFIX}_count_traces_sampled", "By policy.", yes_or_no, registry=registry)
        self._traces = Counter(f"{_PREFIX}_global_count_traces_sampled", "Traces.", ("sampled",), registry=registry)
        self._spans = Counter(f"{_PREFIX}_count_spans_sampled", "Spans.", ("sampled",), registry=registry)
        self._late = Counter(
            f"{_PREFIX}_early_releases_from_cache_decision", "Late spans.", ("sampled",), registry=registry
        )
        self._early = Counter(
            f"{_PREFIX}_sampling_trace_dropped_too_early", "Traces decided before their time.", registry=registry
        )
        self._held = Gauge(f"{_PREFIX}_sampling_traces_on_memory", "Traces that wait, on disk.", registry=registry)
        self._took = Histogram(
            f"{_PREFIX}_sampling_decision_timer_latency", "Milliseconds.", buckets=_ROUND_BUCKETS_MS, registry=registry
        )

    async def run(self, commit: GroupCommit[Any]) -> None:
        while True:
            await asyncio.sleep(ROUND_S)
            try:
                while await self.round(commit) == MOST_TRACES:
                    pass
            except TemporaryError as error:
                _log.warning("traces are not decided for now: %s", error)

    async def round(self, commit: GroupCommit[Any]) -> int:
        """Decide what is due. Returns how many traces that were."""
        began = time.monotonic()
        now_ms = self._clock()
        due = await asyncio.to_thread(self._read, now_ms)
        if len(due):
            kept = self._decide(due, now_ms)
            for part in held.slices(due.spans):
                settle = partial(
                    held.settle, self._database, due.trace_hi[part], due.trace_lo[part], kept[part], now_ms=now_ms
                )
                await commit.alone(lambda settle=settle: self._settled(settle()))  # type: ignore[misc]
        self._rounds += 1
        if self._rounds % FORGET_EVERY_ROUNDS == 0:
            cache = self._config.decision_cache
            sizes = {"kept": cache.sampled_cache_size, "dropped": cache.non_sampled_cache_size}
            await commit.alone(partial(held.forget_decisions, self._database, **sizes))
        self._took.observe((time.monotonic() - began) * 1000)
        return len(due)

    def _read(self, now_ms: int) -> HeldTraces:
        with self._database.reading() as cursor:
            self._held.set(held.held_traces(cursor))
            return held.read_due(
                cursor,
                came_before_ms=now_ms - round(self._config.decision_wait * 1000),
                most_held=self._config.num_traces,
                conditions=self._conditions,
            )

    def _decide(self, due: HeldTraces, now_ms: int) -> held.Mask:
        """Whether each trace is kept: as was decided before, else as the policies say."""
        fresh = np.flatnonzero(due.decided == UNDECIDED)
        kept: held.Mask = due.decided == 1
        for sampled in (True, False):
            late = int(due.spans[due.decided == sampled].sum())
            self._late.labels(_text(sampled)).inc(late)
        decision = decide(self._policies, due.of(fresh), now_ms=now_ms)
        kept[fresh] = decision.kept
        for name, matched in decision.by_policy.items():
            self._by_policy.labels(name, "true").inc(int(matched.sum()))
            self._by_policy.labels(name, "false").inc(int((~matched).sum()))
        for sampled in (True, False):
            self._traces.labels(_text(sampled)).inc(int((decision.kept == sampled).sum()))
            self._spans.labels(_text(sampled)).inc(int(due.spans[kept == sampled].sum()))
        wait_ms = round(self._config.decision_wait * 1000)
        self._early.inc(int((due.came_ms[fresh] > now_ms - wait_ms).sum()))
        return kept

    def _settled(self, kept: SpanBatch | None) -> None:
        if kept is not None:
            self._tell(kept)


def _text(flag: bool) -> str:
    return "true" if flag else "false"
