"""
/federate: the newest sample of each chosen series in the text format, for another Prometheus to scrape.

Source: prometheus/web/federate.go. Native histograms have no text form and are left out, as there.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from collector.api.prometheus_floats import float_texts
from collector.api.prometheus_lookup import selections
from collector.api.prometheus_parameters import Parameters, read_parameters
from collector.api.prometheus_response import compressed, compression
from collector.errors import BadRequestError, CollectorError
from collector.model.series import METRIC_NAME, Block, Labels, SeriesSource, is_absent, is_stale

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"  # expfmt.FmtText
LINES_PER_PIECE = 5_000
_THREADS = 1
_ODD = re.compile(r"^[0-9]|[^A-Za-z0-9_:]", re.ASCII)
Newest = tuple[str, Labels, str, int]  # name, labels, value, timestamp


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def federation_router(
    source: SeriesSource,
    *,
    lookback_ms: int,
    external_labels: Callable[[], Mapping[str, str]],
    clock: Callable[[], int] = _now_ms,
) -> APIRouter:
    """Args: clock: Unix milliseconds."""
    router = APIRouter()
    threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="federate")

    async def federate(request: Request) -> Response:
        loop = asyncio.get_running_loop()
        try:
            parameters = await read_parameters(request)
            found = await loop.run_in_executor(threads, _found, source, parameters, lookback_ms, clock())
        except BadRequestError as error:
            return PlainTextResponse(f"{error}\n", 400)
        except CollectorError as error:
            return PlainTextResponse(f"{error}\n", 500)
        pieces = (piece.encode() for piece in _pieces(found, external_labels()))
        encoding = compression(request.headers.get("accept-encoding", ""))
        if not encoding:
            return StreamingResponse(pieces, media_type=CONTENT_TYPE)
        return StreamingResponse(compressed(pieces, encoding), 200, {"Content-Encoding": encoding}, CONTENT_TYPE)

    router.add_route("/federate", federate, methods=["GET"])
    return router


def _found(source: SeriesSource, parameters: Parameters, lookback_ms: int, now_ms: int) -> list[Newest]:
    """By name. A series that several `match[]` choose stands once."""
    if not parameters.texts("match[]"):
        return []
    newest: dict[Labels, Newest] = {}
    for matchers in selections(parameters):
        for block in source.select(matchers, min_ms=now_ms - lookback_ms, max_ms=now_ms):
            newest.update((one[1], one) for one in newest_samples(block))
    return sorted(newest.values(), key=lambda one: one[:2])


def newest_samples(block: Block) -> Iterator[Newest]:
    """
    The last sample of each series that has a name, unless that is the one that ends the series: the text format has
    none such, and who scrapes us sees by the series' absence that it is gone.
    """
    present = np.logical_not(is_absent(block.values))
    last = present.shape[1] - 1 - np.argmax(present[:, ::-1], axis=1)
    rows = np.flatnonzero(present.any(axis=1))
    values = np.ascontiguousarray(block.values[rows, last[rows]])
    kept = np.logical_not(is_stale(values))
    rows, values = rows[kept], values[kept]
    texts = float_texts(values).to_pylist()
    times = block.timestamps_ms[last[rows]].tolist()
    for row, text, timestamp in zip(rows.tolist(), texts, times, strict=True):
        labels = block.labels[row]
        name = next((value for key, value in labels if key == METRIC_NAME), "")
        if name:
            yield name, labels, text, timestamp


def _pieces(found: list[Newest], external: Mapping[str, str]) -> Iterator[str]:
    """Series without a label `instance` get an empty one, so that the scraper does not put its own there."""
    added = {"instance": ""} | dict(external)
    lines: list[str] = []
    family = ""
    for name, labels, text, timestamp in found:
        if name != family:
            family = name
            lines.append(f"# TYPE {escaped(name)} untyped\n")
        pairs = [pair for pair in labels if pair[0] != METRIC_NAME]
        own = {key for key, _ in pairs}
        pairs += [(key, added[key]) for key in sorted(added) if key not in own]
        joined = ",".join([f'{escaped(key)}="{_value(value)}"' for key, value in pairs])
        lines.append(f"{escaped(name)}{{{joined}}} {text} {timestamp}\n")
        if len(lines) >= LINES_PER_PIECE:
            yield "".join(lines)
            lines = []
    yield "".join(lines)


def escaped(name: str) -> str:
    """A name as every scraper reads it: other characters become underscores (model.EscapeName, UnderscoreEscaping)."""
    return _ODD.sub("_", name) if _ODD.search(name) else name


def _value(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
