"""
/federate: the newest sample of each chosen series, for another Prometheus to scrape.

In the text format, or in protobuf if that is asked for first; native histograms have no text form and are left out of
it. Source: prometheus/web/federate.go, prometheus/common expfmt/encode.go (Negotiate).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from fastapi import APIRouter
from numpy.typing import NDArray
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from collector.api.federation_format import Newest, format_for
from collector.api.prometheus_lookup import selections
from collector.api.prometheus_parameters import Parameters, read_parameters
from collector.api.prometheus_response import compressed, compression
from collector.errors import BadRequestError, CollectorError
from collector.model.series import METRIC_NAME, Block, Labels, LatestSource, Matcher, SeriesSource, is_absent, is_stale

_THREADS = 1


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
        shape = format_for(request.headers.get("accept", ""))
        # Series without a label `instance` get an empty one, so that the scraper does not put its own there.
        pieces = shape.pieces(found, {"instance": ""} | dict(external_labels()))
        encoding = compression(request.headers.get("accept-encoding", ""))
        if not encoding:
            return StreamingResponse(pieces, media_type=shape.content_type)
        return StreamingResponse(compressed(pieces, encoding), 200, {"Content-Encoding": encoding}, shape.content_type)

    router.add_route("/federate", federate, methods=["GET"])
    return router


def _found(source: SeriesSource, parameters: Parameters, lookback_ms: int, now_ms: int) -> list[Newest]:
    """By name. A series that several `match[]` choose stands once."""
    if not parameters.texts("match[]"):
        return []
    newest: dict[Labels, Newest] = {}
    for matchers in selections(parameters):
        _keep_floats(newest, source, matchers, min_ms=now_ms - lookback_ms, max_ms=now_ms)
        for series in source.select_histograms(matchers, min_ms=now_ms - lookback_ms, max_ms=now_ms):
            at_ms, before = int(series.timestamps_ms[-1]), newest.get(series.labels)
            if before is None or before.timestamp_ms < at_ms:
                newest[series.labels] = Newest(_name(series.labels), series.labels, series.histograms[-1], at_ms)
    return sorted((one for one in newest.values() if one.name and not one.stale), key=lambda one: one[:2])


def _keep_floats(
    newest: dict[Labels, Newest], source: SeriesSource, matchers: Sequence[Matcher], *, min_ms: int, max_ms: int
) -> None:
    """A store knows the last sample of most series; of the others all samples are looked through."""
    if isinstance(source, LatestSource):
        known, blocks = source.latest(matchers, min_ms=min_ms, max_ms=max_ms)
        _keep(newest, known.labels, known.values, known.timestamps_ms)
    else:
        blocks = source.select(matchers, min_ms=min_ms, max_ms=max_ms)
    for block in blocks:
        last = _last_column(block)
        rows = np.flatnonzero(last >= 0)
        labels = [block.labels[row] for row in rows.tolist()]
        _keep(newest, labels, block.values[rows, last[rows]], block.timestamps_ms[last[rows]])


def _last_column(block: Block) -> NDArray[np.intp]:
    """Of each series' last sample; -1 where it has none."""
    present = np.logical_not(is_absent(block.values))
    last = present.shape[1] - 1 - np.argmax(present[:, ::-1], axis=1)
    return np.where(present.any(axis=1), last, -1)


def _keep(
    newest: dict[Labels, Newest], series: Sequence[Labels], values: NDArray[np.float64], times_ms: NDArray[np.int64]
) -> None:
    """Ends of series too: they say that nothing older counts."""
    ends = is_stale(np.ascontiguousarray(values)).tolist()
    for labels, value, at_ms, ended in zip(series, values.tolist(), times_ms.tolist(), ends, strict=True):
        before = newest.get(labels)
        if before is None or before.timestamp_ms < at_ms:
            newest[labels] = Newest(_name(labels), labels, value, at_ms, ended)


def _name(labels: Labels) -> str:
    return next((value for key, value in labels if key == METRIC_NAME), "")
