"""One target, scraped at its times until cancelled."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from collector.errors import CollectorError, LimitExceededError
from collector.model.duration import format_duration
from collector.model.series import MetricMetadata, SampleBatch, SampleSink
from collector.receivers.exposition import Exposition
from collector.receivers.scrape_config import ScrapeConfig, ScrapeProtocol
from collector.receivers.scrape_fetch import Answer, Clients, ScrapeError, accept_header, format_of
from collector.receivers.scrape_session import ScrapeReport, ScrapeSession
from collector.receivers.scrape_target import Target

_log = logging.getLogger(__name__)

# A scrape that starts this close to its time is stamped with that time: even distances compress better and rate()
# sees them. Prometheus allows 2 ms; an event loop in Python that also answers queries is later than that.
TIMESTAMP_TOLERANCE_MS = 20
# Above this a page is parsed in a thread, so that others' scrapes and queries are not kept waiting: some 3,000 lines
# that take 3 ms, a tenth of it to hand it over.
INLINE_BYTES = 256 << 10
ZERO_TIME = "0001-01-01T00:00:00Z"  # Go's zero time, which Prometheus shows before the first scrape


@dataclass(slots=True)
class ScrapeStats:
    """Counters since the start."""

    scrapes: int = 0
    failed: int = 0
    over_limits: int = 0  # of the failed ones: over a limit of the job's
    left_out: int = 0  # good pages of which samples were left out
    store_errors: int = 0  # samples that the store refused or could not take
    loop_errors: int = 0  # defects of ours; the target is scraped on


@dataclass(frozen=True, slots=True)
class Scraper:
    """What all loops share."""

    clients: Clients
    sink: SampleSink
    metadata: Callable[[list[MetricMetadata]], None] | None
    stats: ScrapeStats


class ScrapeLoop:
    """A target that is scraped, and what /api/v1/targets shows of it."""

    def __init__(self, config: ScrapeConfig, target: Target, scraper: Scraper) -> None:
        self.config = config
        self.target = target
        self.problem = ""  # why it may not be scraped
        self.session = ScrapeSession(config, target)
        self.last_error = ""
        self.last_ms = 0
        self.last_duration_s = 0.0
        self.health = "unknown"
        self.task: asyncio.Task[None] | None = None
        self._scraper = scraper
        self._headers = {
            "Accept": accept_header(config),
            "Accept-Encoding": "gzip" if config.enable_compression else "identity",
            "X-Prometheus-Scrape-Timeout-Seconds": f"{target.timeout_s:g}",
        }

    def follow(self, before: ScrapeLoop) -> None:
        """Take over from a loop that is stopped: the same labels under another URL or configuration."""
        if before.config == self.config:
            self.session = before.session
        else:
            self.session.follow(before.session)
        self.last_error, self.last_ms, self.health = before.last_error, before.last_ms, before.health
        self.last_duration_s = before.last_duration_s

    def start(self) -> None:
        self.task = asyncio.create_task(self._run(), name=f"scrape {self.target.url}")

    async def _run(self) -> None:
        interval_ms = max(1, round(self.target.interval_s * 1000))
        now_ms = time.time() * 1000
        due_ms = now_ms + (_offset_ms(self.target, interval_ms) - now_ms) % interval_ms
        while True:
            await asyncio.sleep(max(0.0, due_ms / 1000 - time.time()))
            now_ms = time.time() * 1000
            late_ms = now_ms - due_ms
            stamp_ms = int(due_ms if abs(late_ms) <= TIMESTAMP_TOLERANCE_MS else now_ms)
            try:
                await self._scrape(max(stamp_ms, self.session.last_ms + 1))
            except Exception:
                self._scraper.stats.loop_errors += 1
                _log.exception("scrape of %s", self.target.url)
            # Scrapes that would have been due meanwhile are left out; a clock set back must not stop the target.
            now_ms = time.time() * 1000
            due_ms += interval_ms * max(1, int((now_ms - due_ms) // interval_ms))
            if due_ms - now_ms > 2 * interval_ms:
                due_ms = now_ms + interval_ms

    async def _scrape(self, stamp_ms: int) -> None:
        started = time.perf_counter()
        stats = self._scraper.stats
        stats.scrapes += 1
        exposition: Exposition | None = None
        error, scraped, kept, size = "", 0, 0, 0
        try:
            if self.problem:
                raise LimitExceededError(self.problem)
            answer = await self._fetched()
            size = len(answer.body)
            try:
                exposition = await self._parsed(answer)
            finally:
                scraped, kept = self.session.parsing.progress
            limit = self.config.sample_limit
            if limit and kept > limit:
                raise LimitExceededError(f"sample limit exceeded: {kept} samples are over the sample_limit of {limit}")
        except CollectorError as failure:
            error, exposition = str(failure), None
            if isinstance(failure, LimitExceededError):
                stats.over_limits += 1
                size = size if size or self.problem else -1  # as Prometheus says of a body over its limit
        duration_s = time.perf_counter() - started
        self.last_duration_s, self.last_ms = duration_s, stamp_ms
        self.last_error, self.health = error, "down" if error else "up"
        if exposition is None:
            stats.failed += 1
            report = ScrapeReport(False, duration_s, scraped, kept, body_bytes=size)
            await self.store([self.session.failed(report, timestamp_ms=stamp_ms)])
            return
        brought = self.session.succeeded(exposition, timestamp_ms=stamp_ms, duration_s=duration_s, body_bytes=size)
        if brought.left_out:
            stats.left_out += 1
            self.last_error = brought.left_out
        if exposition.metadata and self._scraper.metadata is not None:
            self._scraper.metadata(exposition.metadata)
        await self.store(brought.batches)

    async def _fetched(self) -> Answer:
        target, config = self.target, self.config
        return await self._scraper.clients.get(
            target.url, config, headers=self._headers, timeout_s=target.timeout_s, limit=config.body_limit
        )

    async def _parsed(self, answer: Answer) -> Exposition:
        protocol = format_of(answer.content_type, self.config.fallback_scrape_protocol)
        if len(answer.body) <= INLINE_BYTES:
            return self._parse(answer.body, protocol)
        return await asyncio.to_thread(self._parse, answer.body, protocol)

    def _parse(self, body: bytes, protocol: ScrapeProtocol) -> Exposition:
        session = self.session
        if protocol is ScrapeProtocol.PROTOBUF:
            session.parsing = session.protobuf
            return session.protobuf.parse(body)
        session.parsing = session.parser
        try:
            text = body.decode("utf-8")
        except UnicodeDecodeError as error:
            raise ScrapeError(f"the body is not UTF-8: {error.reason} at byte {error.start}") from error
        return session.parser.parse(text, openmetrics=protocol.openmetrics)

    async def store(self, batches: list[SampleBatch]) -> None:
        try:
            outcome = await self._scraper.sink.append_tables([batch.as_table() for batch in batches])
        except CollectorError as error:
            self._scraper.stats.store_errors += 1
            self.last_error = str(error)
            _log.warning("samples of %s: %s", batches[0].target, error)
            return
        if outcome.refusals:
            self._scraper.stats.left_out += 1
            told = [f"{each.count} samples left out, {each.reason.value}: {each.example}" for each in outcome.refusals]
            self.last_error = "; ".join(filter(None, [self.last_error, *told]))

    def described(self) -> dict[str, Any]:
        """As one of `activeTargets` of Prometheus's /api/v1/targets."""
        target = self.target
        last = datetime.fromtimestamp(self.last_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
        return {
            "discoveredLabels": dict(target.discovered),
            "labels": dict(target.labels),
            "scrapePool": target.pool,
            "scrapeUrl": target.url,
            "globalUrl": target.url,
            "lastError": self.last_error,
            "lastScrape": last if self.last_ms else ZERO_TIME,
            "lastScrapeDuration": self.last_duration_s,
            "health": self.health,
            "scrapeInterval": format_duration(round(target.interval_s * 1000)),
            "scrapeTimeout": format_duration(round(target.timeout_s * 1000)),
        }

    def described_metadata(self) -> list[dict[str, Any]]:
        """As in Prometheus's /api/v1/targets/metadata."""
        labels = dict(self.target.labels)
        return [
            {"target": labels, "metric": each.name, "type": each.kind, "help": each.help, "unit": each.unit}
            for each in self.session.parsing.metadata()
        ]


def _offset_ms(target: Target, interval_ms: int) -> int:
    """Spreads targets over the interval, and the same way after each start."""
    digest = hashlib.blake2b(f"{target.url} {target.labels}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % interval_ms
