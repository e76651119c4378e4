"""
The Prometheus scraper: one task for each target, one HTTP client for all.

    Discovery.look (twice a second) -> targets -> one loop each: fetch, parse, ScrapeSession -> SampleSink.append
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import httpx

from collector.errors import CollectorError, LimitExceededError
from collector.model.series import Labels, MetricMetadata, SampleBatch, SampleSink
from collector.receivers.exposition import Exposition
from collector.receivers.scrape_config import ScrapeConfig
from collector.receivers.scrape_discovery import Discovery, Target
from collector.receivers.scrape_session import ScrapeSession

_log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.5  # replicas come and go; a change is to take effect within a second
OPENMETRICS = "application/openmetrics-text"
ACCEPT = f"{OPENMETRICS};version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
# A scrape that starts this close to its time is stamped with that time: even distances compress better and rate()
# sees them. Prometheus allows 2 ms; an event loop in Python that also answers queries is later than that.
TIMESTAMP_TOLERANCE_MS = 20
ZERO_TIME = "0001-01-01T00:00:00Z"  # Go's zero time, which Prometheus shows before the first scrape


class ScrapeError(CollectorError):
    """The target answered nothing usable. The text becomes its lastError."""


@dataclass(slots=True, eq=False)
class _Loop:
    """A target that is scraped, and what /api/v1/targets shows of it."""

    target: Target
    config: ScrapeConfig
    session: ScrapeSession
    task: asyncio.Task[None] | None = None
    last_error: str = ""
    last_ms: int = 0
    last_duration_s: float = 0.0
    health: str = "unknown"


@dataclass(slots=True)
class ScrapeStats:
    """Counters since the start."""

    scrapes: int = 0
    failed: int = 0
    store_errors: int = 0  # samples that the store refused or could not take
    loop_errors: int = field(default=0)  # defects of ours; the target is scraped on


class ScrapeManager:
    """`metadata` receives what targets say of their metric families, e.g. MetricStore.set_metadata."""

    def __init__(
        self,
        configs: list[ScrapeConfig],
        sink: SampleSink,
        *,
        metadata: Callable[[list[MetricMetadata]], None] | None = None,
    ) -> None:
        self.stats = ScrapeStats()
        self._sink = sink
        self._metadata = metadata
        self._sources = [(config, Discovery(config)) for config in configs]
        self._loops: dict[tuple[str, Labels], _Loop] = {}

    def targets(self) -> list[dict[str, Any]]:
        """As `activeTargets` of Prometheus's /api/v1/targets, by pool and URL."""
        loops = sorted(self._loops.values(), key=lambda loop: (loop.target.pool, loop.target.url))
        return [_described(loop) for loop in loops]

    async def run(self) -> None:
        """Scrape until cancelled. Series are not ended then: the next start goes on with them, as in Prometheus."""
        # Limits are the event loop's: a slow target must not keep others waiting for a connection.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        # No timeout of the client's own: each scrape has one as a whole. Ten redirects are Go's limit.
        async with httpx.AsyncClient(limits=limits, trust_env=False, timeout=None, max_redirects=10) as client:  # noqa: S113
            try:
                while True:
                    await self._follow(client)
                    await asyncio.sleep(LOOK_EVERY_S)
            finally:
                await _cancelled([loop.task for loop in self._loops.values() if loop.task])
                self._loops.clear()

    async def _follow(self, client: httpx.AsyncClient) -> None:
        """Start what is new, end what is gone. A target whose URL alone changed keeps its series."""
        wanted = {
            (target.pool, target.labels): (config, target) for config, found in self._looked() for target in found
        }
        changed = [key for key, loop in self._loops.items() if key not in wanted or wanted[key][1] != loop.target]
        stopped = {key: self._loops.pop(key) for key in changed}
        await _cancelled([loop.task for loop in stopped.values() if loop.task])
        for key, (config, target) in wanted.items():
            if key in self._loops:
                continue
            before = stopped.pop(key, None)
            session = before.session if before else _session(config, target)
            loop = self._loops[key] = _Loop(target, config, session)
            loop.task = asyncio.create_task(self._scrape_on(loop, client), name=f"scrape {target.url}")
        now_ms = time.time_ns() // 1_000_000
        ended = [batch for loop in stopped.values() if (batch := loop.session.ended(timestamp_ms=now_ms))]
        if ended:
            await self._store(ended)

    def _looked(self) -> list[tuple[ScrapeConfig, list[Target]]]:
        return [(config, discovery.look()) for config, discovery in self._sources]

    async def _scrape_on(self, loop: _Loop, client: httpx.AsyncClient) -> None:
        interval_ms = max(1, round(loop.target.interval_s * 1000))
        now_ms = time.time() * 1000
        due_ms = now_ms + (_offset_ms(loop.target, interval_ms) - now_ms) % interval_ms
        while True:
            await asyncio.sleep(max(0.0, due_ms / 1000 - time.time()))
            now_ms = time.time() * 1000
            late_ms = now_ms - due_ms
            stamp_ms = int(due_ms if abs(late_ms) <= TIMESTAMP_TOLERANCE_MS else now_ms)
            try:
                await self._scrape(loop, client, max(stamp_ms, loop.session.last_ms + 1))
            except Exception:
                self.stats.loop_errors += 1
                _log.exception("scrape of %s", loop.target.url)
            # Scrapes that would have been due meanwhile are left out; a clock set back must not stop the target.
            now_ms = time.time() * 1000
            due_ms += interval_ms * max(1, int((now_ms - due_ms) // interval_ms))
            if due_ms - now_ms > 2 * interval_ms:
                due_ms = now_ms + interval_ms

    async def _scrape(self, loop: _Loop, client: httpx.AsyncClient, stamp_ms: int) -> None:
        started = time.perf_counter()
        self.stats.scrapes += 1
        exposition: Exposition | None = None
        error, scraped = "", 0
        try:
            text, openmetrics = await _fetched(client, loop.target, loop.config)
            exposition = loop.session.parser.parse(text, openmetrics=openmetrics)
            scraped = len(exposition.labels)
            if loop.config.sample_limit and scraped > loop.config.sample_limit:
                raise LimitExceededError(f"{scraped} samples are over the sample_limit of {loop.config.sample_limit}")
        except CollectorError as failure:
            error, exposition = str(failure), None
        loop.last_duration_s = time.perf_counter() - started
        loop.last_ms, loop.last_error, loop.health = stamp_ms, error, "down" if error else "up"
        if exposition is None:
            self.stats.failed += 1
            batches = [loop.session.failed(timestamp_ms=stamp_ms, duration_s=loop.last_duration_s, scraped=scraped)]
        else:
            batches = loop.session.succeeded(exposition, timestamp_ms=stamp_ms, duration_s=loop.last_duration_s)
            if exposition.metadata and self._metadata is not None:
                self._metadata(exposition.metadata)
        await self._store(batches, loop)

    async def _store(self, batches: list[SampleBatch], loop: _Loop | None = None) -> None:
        try:
            await self._sink.append(batches)
        except CollectorError as error:
            self.stats.store_errors += 1
            if loop is not None:
                loop.last_error = str(error)
            _log.warning("samples of %s: %s", batches[0].target, error)


def _session(config: ScrapeConfig, target: Target) -> ScrapeSession:
    return ScrapeSession(target, honor_labels=config.honor_labels, honor_timestamps=config.honor_timestamps)


async def _cancelled(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _offset_ms(target: Target, interval_ms: int) -> int:
    """Spreads targets over the interval, and the same way after each start."""
    digest = hashlib.blake2b(f"{target.url} {target.labels}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") % interval_ms


async def _fetched(client: httpx.AsyncClient, target: Target, config: ScrapeConfig) -> tuple[str, bool]:
    """
    (body, whether it is OpenMetrics).

    Raises:
        ScrapeError: no answer in time, not 200, another content type, not UTF-8.
        LimitExceededError: the body is too large.
    """
    try:
        async with asyncio.timeout(target.timeout_s):
            async with client.stream(
                "GET", target.url, headers=_headers(target, config), follow_redirects=config.follow_redirects
            ) as response:
                if response.status_code != 200:
                    raise ScrapeError(f"server returned HTTP status {_status(response.status_code)}")
                openmetrics = _is_openmetrics(response.headers.get("content-type", ""))
                body = bytearray()
                async for part in response.aiter_bytes():
                    body += part
                    if len(body) > config.body_limit:
                        raise LimitExceededError(f"the body is over the body_size_limit of {config.body_limit} bytes")
        return body.decode("utf-8"), openmetrics
    except TimeoutError as error:
        raise ScrapeError(f"no complete answer within {target.timeout_s:g} s") from error
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise ScrapeError(f"{target.url}: {error or type(error).__name__}") from error
    except UnicodeDecodeError as error:
        raise ScrapeError(f"the body is not UTF-8: {error.reason} at byte {error.start}") from error


def _headers(target: Target, config: ScrapeConfig) -> dict[str, str]:
    headers = {
        "Accept": ACCEPT,
        "Accept-Encoding": "gzip",
        "User-Agent": "Steersman",
        "X-Prometheus-Scrape-Timeout-Seconds": f"{target.timeout_s:g}",
    }
    authorization = config.authorization
    if authorization is None:
        return headers
    if authorization.credentials_file is None:
        secret = authorization.credentials.get_secret_value() if authorization.credentials else ""
    else:
        try:
            secret = authorization.credentials_file.read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ScrapeError(f"credentials_file: {error}") from error
    return headers | {"Authorization": f"{authorization.type.strip()} {secret}"}


def _is_openmetrics(content_type: str) -> bool:
    kind = content_type.partition(";")[0].strip().lower()
    if kind in (OPENMETRICS, "text/plain", ""):
        return kind == OPENMETRICS
    raise ScrapeError(f"received unsupported Content-Type {content_type[:80]!r}")


def _status(code: int) -> str:
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def _described(loop: _Loop) -> dict[str, Any]:
    target = loop.target
    last = datetime.fromtimestamp(loop.last_ms / 1000, UTC).isoformat().replace("+00:00", "Z")
    return {
        "discoveredLabels": dict(target.discovered),
        "labels": dict(target.labels),
        "scrapePool": target.pool,
        "scrapeUrl": target.url,
        "globalUrl": target.url,
        "lastError": loop.last_error,
        "lastScrape": last if loop.last_ms else ZERO_TIME,
        "lastScrapeDuration": loop.last_duration_s,
        "health": loop.health,
        "scrapeInterval": f"{target.interval_s:g}s",
        "scrapeTimeout": f"{target.timeout_s:g}s",
    }
