"""
The configuration in force, and its change while the collector runs: all of it takes effect or none.

    load -> scrapes.prepare -> rules.reload -> alerts     each may refuse with ConfigError
                                                      -> scrapes, OTLP follow
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from collector.api.status import ReloadState
from collector.config import CollectorConfig, load
from collector.errors import ConfigError
from collector.query.promql.engine import Engine
from collector.receivers.otlp_metrics import MetricsIngest
from collector.receivers.scrape import ScrapeManager
from collector.rules import metrics
from collector.rules.manager import RuleManager

_log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class ConfigInForce:
    """What is in `config` now, and the parts that follow it."""

    config: CollectorConfig
    scrapes: ScrapeManager
    engine: Engine
    rules: RuleManager
    otlp: MetricsIngest
    reloaded: ReloadState
    follow_alerts: Callable[[CollectorConfig], Awaitable[None]]  # raises ConfigError; the old one goes on then
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def reload(self) -> None:
        """
        Read the file again.

        Raises:
            ConfigError: with what is wrong; everything stays as it was.
        """
        async with self._lock:
            try:
                await self._follow()
                self.reloaded.at_ms, self.reloaded.succeeded = time.time_ns() // 1_000_000, True
            except ConfigError as error:
                self.reloaded.succeeded = False
                metrics.RELOAD_SUCCESSFUL.set(0)
                _log.error("the configuration stays as it was: %s", error)
                raise

    async def _follow(self) -> None:
        fresh = load(self.config.path) if self.config.path is not None else self.config
        follow_scrapes = self.scrapes.prepare(fresh.scrape_configs)
        before = self.config
        await self._reload_rules(fresh)
        try:
            await self.follow_alerts(fresh)
        except BaseException:
            await self._reload_rules(before)
            raise
        follow_scrapes()
        self.otlp.configure(fresh.otlp)
        self.engine.subquery_step_ms = round(fresh.global_.evaluation_interval * 1000)
        self.config = fresh
        for section in _only_at_start(before, fresh):
            _log.warning("%s: %s has changed, which takes effect at the next start", fresh.path, section)
        _log.info("configuration %s is in force", fresh.path)

    async def _reload_rules(self, config: CollectorConfig) -> None:
        await self.rules.reload(
            files=config.rule_files,
            evaluation_interval_s=config.global_.evaluation_interval,
            external_labels=config.global_.external_labels,
            query_offset_s=config.global_.rule_query_offset,
        )


def _only_at_start(before: CollectorConfig, fresh: CollectorConfig) -> list[str]:
    fixed = ("storage", "limits", "connectors", "processors")
    sections = [name for name in fixed if getattr(before, name) != getattr(fresh, name)]
    if (before.alertmanager is None) != (fresh.alertmanager is None):
        sections.append("alertmanager")
    if before.alerting.alertmanagers != fresh.alerting.alertmanagers:
        sections.append("alerting.alertmanagers")
    return sections


async def reload_on_hangup(reload: Callable[[], Awaitable[None]]) -> None:
    """As Prometheus does. What cannot be read is logged, and what was in force stays in force."""
    wanted = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, wanted.set)
    try:
        while True:
            await wanted.wait()
            wanted.clear()
            with contextlib.suppress(ConfigError):
                await reload()
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
