"""
Discovery that has to ask: URLs that list targets, and names that stand for addresses.

Source: Prometheus discovery/http/http.go, discovery/dns/dns.go.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
from collections.abc import Awaitable, Callable

from collector.errors import CollectorError
from collector.receivers.scrape_config import DnsDiscoveryConfig, HttpDiscoveryConfig, ScrapeConfig, StaticConfig
from collector.receivers.scrape_discovery import FILE_LIMIT, Discovery, groups_of
from collector.receivers.scrape_fetch import Clients, ScrapeError
from collector.redaction import without_password

_log = logging.getLogger(__name__)
TIMEOUT_S = 10.0  # of one request; Prometheus takes the refresh interval, a minute by default


async def poll(config: ScrapeConfig, discovery: Discovery, clients: Clients) -> None:
    """Ask on until cancelled. What fails is logged and keeps the targets that it had."""
    async with asyncio.TaskGroup() as group:
        for url in config.http_sd_configs:
            ask = _http(url, discovery, clients)
            group.create_task(_every(url.refresh_interval, ask, f"targets of {without_password(url.url)}", discovery))
        for names in config.dns_sd_configs:
            for name in names.names:
                ask = _dns(names, name, discovery)
                group.create_task(_every(names.refresh_interval, ask, f"addresses of {name}", discovery))


async def _every(interval_s: float, ask: Callable[[], Awaitable[None]], what: str, discovery: Discovery) -> None:
    while True:
        try:
            await ask()
        except (CollectorError, OSError, ValueError, RecursionError) as error:
            discovery.failed_reads += 1
            _log.warning("%s stay as they were: %s", what, error)
        await asyncio.sleep(interval_s)


def _http(config: HttpDiscoveryConfig, discovery: Discovery, clients: Clients) -> Callable[[], Awaitable[None]]:
    async def ask() -> None:
        headers = {
            "Accept": "application/json",
            "X-Prometheus-Refresh-Interval-Seconds": f"{config.refresh_interval:g}",
        }
        answer = await clients.get(
            config.url, config, headers=headers, timeout_s=min(TIMEOUT_S, config.refresh_interval), limit=FILE_LIMIT
        )
        if answer.content_type.partition(";")[0].strip().lower() != "application/json":
            raise ScrapeError(f"unsupported content type {answer.content_type[:80]!r}")
        groups = groups_of(json.loads(answer.body))
        marked = [
            group.model_copy(update={"labels": group.labels | {"__meta_url": without_password(config.url)}})
            for group in groups
        ]
        discovery.polled(config.url, marked)

    return ask


def _dns(config: DnsDiscoveryConfig, name: str, discovery: Discovery) -> Callable[[], Awaitable[None]]:
    family = socket.AF_INET if config.type == "A" else socket.AF_INET6

    async def ask() -> None:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(name, config.port, family=family, type=socket.SOCK_STREAM)
        hosts = sorted({str(address[0]) for *_, address in found})
        addresses = tuple(f"[{host}]:{config.port}" if ":" in host else f"{host}:{config.port}" for host in hosts)
        discovery.polled(f"{config.type} {name}", [StaticConfig(targets=addresses, labels={"__meta_dns_name": name})])

    return ask
