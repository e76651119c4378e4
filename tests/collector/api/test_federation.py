from __future__ import annotations

import httpx
import numpy as np
from fastapi import FastAPI

from collector.api.federation import CONTENT_TYPE, escaped, federation_router
from collector.model.series import ABSENT, METRIC_NAME, STALE, Block, Labels, labels_of
from collector.query.memory import MemorySource

NOW_MS = 1_800_000_000_000
OLD_MS = NOW_MS - 400_000  # before the lookback


def labels(name: str, **others: str) -> Labels:
    return labels_of({METRIC_NAME: name} | others)


async def federated(*chosen: str, external: dict[str, str] | None = None) -> httpx.Response:
    times = np.array([OLD_MS, NOW_MS - 2000, NOW_MS - 1000])
    values = np.array([[1, 2, 3.5], [1, 5, STALE], [1, 2, ABSENT], [1, ABSENT, ABSENT], [0, 0, np.inf], [1, 1, 1]])
    series = (
        labels("load", job="a", instance="i", text='"\\\n'),
        labels("load", job="ended"),
        labels("load", job="late", site="own"),
        labels("load", job="old"),
        labels("http.odd", job="a"),
        labels("", job="nameless"),
    )
    app = FastAPI()
    source = MemorySource([Block(series, times, values)])
    app.include_router(
        federation_router(source, lookback_ms=300_000, external_labels=lambda: external or {}, clock=lambda: NOW_MS)
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://c") as client:
        return await client.get("/federate", params={"match[]": list(chosen)})


async def test_newest_sample_of_each_series_is_told_under_its_own_labels_and_the_external_ones() -> None:
    answer = await federated('{job=~".+"}', "load", external={"site": "here"})
    assert answer.headers["content-type"] == CONTENT_TYPE
    assert answer.text.splitlines() == [
        "# TYPE http_odd untyped",
        f'http_odd{{job="a",instance="",site="here"}} +Inf {NOW_MS - 1000}',
        "# TYPE load untyped",
        f'load{{instance="i",job="a",text="\\"\\\\\\n",site="here"}} 3.5 {NOW_MS - 1000}',
        f'load{{job="late",site="own",instance=""}} 2 {NOW_MS - 2000}',
    ]


async def test_nothing_chosen_is_nothing_told() -> None:
    assert (await federated()).text == (await federated("other")).text == ""


async def test_wrong_selector_is_refused_in_plain_text() -> None:
    answer = await federated('load{a="')
    assert answer.status_code == 400
    assert "parse error" in answer.text


def test_name_is_told_so_that_every_scraper_reads_it() -> None:
    assert [escaped(name) for name in ("up", "a:b", "http.code", "1st")] == ["up", "a:b", "http_code", "_st"]
