"""
The Prometheus scraper: one pool for each job, one task for each target.

    Discovery.look (twice a second) -> targets -> one ScrapeLoop each: fetch, parse, ScrapeSession -> SampleSink.append
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from collector.model.series import Labels, MetricMetadata, SampleSink
from collector.receivers.scrape_config import ScrapeConfig
from collector.receivers.scrape_discovery import Discovery, Found
from collector.receivers.scrape_fetch import Clients, check_certificates
from collector.receivers.scrape_loop import ScrapeLoop, Scraper, ScrapeStats
from collector.receivers.scrape_polls import poll
from collector.receivers.scrape_target import Target

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5  # replicas come and go; a change is to take effect within a second

# A target's labels, and which it is of those that have the same: a target whose URL alone changes keeps its series.
_Key = tuple[Labels, int]


class _Pool:
    """The targets of one job."""

    def __init__(self, config: ScrapeConfig, scraper: Scraper) -> None:
        self.config = config
        self.discovery = Discovery(config)
        self.loops: dict[_Key, ScrapeLoop] = {}
        self.found = Found()
        self._scraper = scraper
        self._polls: asyncio.Task[None] | None = None

    async def follow(self, inherited: dict[_Key, ScrapeLoop]) -> None:
        """
        Start what is new, end what is gone.

        Args:
            inherited: The loops of this job under its former configuration, to be taken over or ended.
        """
        if self._polls is None and (self.config.http_sd_configs or self.config.dns_sd_configs):
            polls = poll(self.config, self.discovery, self._scraper.clients)
            self._polls = asyncio.create_task(polls, name=f"discovery of {self.config.job_name}")
        self.found = self.discovery.look()
        wanted = _keyed(self.found.targets)
        gone = {key: loop for key, loop in self.loops.items() if key not in wanted or wanted[key] != loop.target}
        for key in gone:
            del self.loops[key]
        stopped = inherited | gone
        await _stopped(stopped.values())
        for key, target in wanted.items():
            if key not in self.loops:
                loop = self.loops[key] = ScrapeLoop(self.config, target, self._scraper)
                if (before := stopped.pop(key, None)) is not None:
                    loop.follow(before)
                loop.start()
            self.loops[key].problem = self.found.problem
        await _ended(stopped.values())

    async def stop(self) -> dict[_Key, ScrapeLoop]:
        """The loops as they were, none of them running."""
        if self._polls is not None:
            self._polls.cancel()
            await asyncio.gather(self._polls, return_exceptions=True)
            self._polls = None
        await _stopped(self.loops.values())
        loops, self.loops = self.loops, {}
        return loops


class ScrapeManager:
    """`metadata` receives what targets say of their metric families, e.g. MetricStore.set_metadata."""

    def __init__(
        self,
        configs: Sequence[ScrapeConfig],
        sink: SampleSink,
        *,
        metadata: Callable[[list[MetricMetadata]], None] | None = None,
    ) -> None:
        self.stats = ScrapeStats()
        self._scraper = Scraper(Clients(), sink, metadata, self.stats)
        self._configs = list(configs)
        self._pools: dict[str, _Pool] = {}
        self._changed = asyncio.Event()

    def prepare(self, configs: Sequence[ScrapeConfig]) -> Callable[[], None]:
        """
        A change of configuration, to be put in force by calling what is returned. Jobs that stay as they are go on
        without a gap.

        Raises:
            ConfigError: a certificate or key cannot be read; nothing has changed.
        """
        check_certificates(configs)

        def commit() -> None:
            self._configs = list(configs)
            self._changed.set()

        return commit

    def targets(self) -> list[dict[str, Any]]:
        """As `activeTargets` of Prometheus's /api/v1/targets, by pool and URL."""
        return [loop.described() for loop in self._loops()]

    def dropped_targets(self) -> tuple[list[dict[str, Any]], dict[str, int]]:
        """As `droppedTargets` and `droppedTargetCounts`: what relabelling left out."""
        pools = sorted(self._pools.items())
        dropped = [
            {"discoveredLabels": dict(each.discovered), "scrapePool": each.pool}
            for _, pool in pools
            for each in pool.found.dropped
        ]
        return dropped, {name: pool.found.dropped_count for name, pool in pools}

    def scrape_pools(self) -> list[str]:
        """As in /api/v1/scrape_pools."""
        return sorted(self._pools)

    def targets_metadata(self) -> list[dict[str, Any]]:
        """As in /api/v1/targets/metadata, of all targets."""
        return [entry for loop in self._loops() for entry in loop.described_metadata()]

    def _loops(self) -> list[ScrapeLoop]:
        loops = (loop for pool in self._pools.values() for loop in pool.loops.values())
        return sorted(loops, key=lambda loop: (loop.target.pool, loop.target.url))

    async def run(self) -> None:
        """Scrape until cancelled. Series are not ended then: the next start goes on with them, as in Prometheus."""
        try:
            while True:
                self._changed.clear()
                await self._follow()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK_EVERY_S):  # wait_for of Python 3.11 can lose a cancellation
                        await self._changed.wait()
        finally:
            for pool in self._pools.values():
                await pool.stop()
            self._pools.clear()
            await self._scraper.clients.close()

    async def _follow(self) -> None:
        wanted = {config.job_name: config for config in self._configs}
        inherited: dict[str, dict[_Key, ScrapeLoop]] = {}
        former: dict[str, Discovery] = {}
        for name, pool in list(self._pools.items()):
            if wanted.get(name) != pool.config:
                del self._pools[name]
                inherited[name], former[name] = await pool.stop(), pool.discovery
        for name, config in wanted.items():
            if name not in self._pools:
                pool = self._pools[name] = _Pool(config, self._scraper)
                if name in former:
                    pool.discovery.follow(former[name])
            await self._pools[name].follow(inherited.pop(name, {}))
        for loops in inherited.values():
            await _ended(loops.values())


def _keyed(targets: list[Target]) -> dict[_Key, Target]:
    seen: Counter[Labels] = Counter()
    keyed = {}
    for target in targets:
        keyed[target.labels, seen[target.labels]] = target
        seen[target.labels] += 1
    return keyed


async def _stopped(loops: Iterable[ScrapeLoop]) -> None:
    tasks = [loop.task for loop in loops if loop.task]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _ended(loops: Iterable[ScrapeLoop]) -> None:
    """The targets are gone: their series end."""
    now_ms = time.time_ns() // 1_000_000
    for loop in loops:
        batch = loop.session.ended(timestamp_ms=now_ms)
        if batch is not None:
            await loop.store([batch])
