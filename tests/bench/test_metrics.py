"""The benchmark itself, at its smallest: that it measures what it says, and notices what it must."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cramjam
import numpy as np
import pytest

BENCH = Path(__file__).parents[2] / "bench"


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


def small_fleet(**changes: int):
    from peers.dataset import fleet

    return fleet(**{"series": 300, "ticks": 12, "end_ms": 1_700_000_000_000, "interval_ms": 15_000} | changes)


def fields(message: bytes):
    """(number, payload) of a message all of whose fields are length-delimited, doubles or varints."""
    place = 0

    def varint() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while place < len(message):
        key = varint()
        match key & 7:
            case 0:
                yield key >> 3, varint()
            case 1:
                yield key >> 3, np.frombuffer(message[place : place + 8], "<f8")[0]
                place += 8
            case 2:
                length = varint()
                yield key >> 3, message[place : place + length]
                place += length


def test_the_samples_are_the_same_at_every_run() -> None:
    one, other = small_fleet(), small_fleet()
    assert one.labels == other.labels
    np.testing.assert_array_equal(one.values, other.values)
    assert len(set(one.labels)) == one.series == 300


def test_counters_never_fall_but_at_a_reset_and_buckets_hold_what_smaller_ones_hold() -> None:
    data = small_fleet(series=1_000, ticks=200)
    names = [dict(labels)["__name__"] for labels in data.labels]
    counters = data.values[[name.endswith(("_total", "_count", "_bucket")) for name in names]]
    falls = (np.diff(counters, axis=1) < 0).any(axis=1)
    assert 0.1 < falls.mean() < 0.3
    buckets = data.values[[name.endswith("_bucket") for name in names]].reshape(-1, 12, data.ticks)
    assert (np.diff(buckets, axis=1) >= 0).all()


def test_no_sample_stands_where_a_query_looks() -> None:
    from peers.dataset import PHASE_MS, PHASE_OFF_MS
    from peers.queries import OFF_MS

    data = small_fleet(series=1_000)
    stamps = data.timestamps_ms(slice(None), 0)
    assert (stamps % PHASE_MS == PHASE_OFF_MS).all()
    assert len(set(stamps.tolist())) == 10, "each instance has a phase of its own"
    assert OFF_MS % PHASE_MS not in {0, PHASE_OFF_MS}


def test_the_bodies_hold_every_sample_once_each_series_on_one_connection_in_order(tmp_path: Path) -> None:
    from peers.remote_write import write_bodies

    data = small_fleet()
    bodies = write_bodies(data, tmp_path / "bodies", connections=2)
    content = bodies.path.read_bytes()
    found: dict[tuple[tuple[str, str], ...], list[tuple[int, float]]] = {}
    owner: dict[tuple[tuple[str, str], ...], int] = {}
    for number, shard in enumerate(bodies.shards):
        for offset, length, _ in shard:
            for _, series in fields(bytes(cramjam.snappy.decompress_raw(content[offset : offset + length]))):
                parts = list(fields(series))
                labels = tuple(tuple(text.decode() for _, text in fields(part)) for kind, part in parts if kind == 1)
                (value, at_ms), *others = [[each for _, each in fields(part)] for kind, part in parts if kind == 2]
                assert not others
                found.setdefault(labels, []).append((at_ms, value))
                assert owner.setdefault(labels, number) == number
    assert len(bodies.shards) == 2
    assert set(found) == set(data.labels)
    for row, labels in enumerate(data.labels):
        times = [data.start_ms + int(data.phases_ms[row]) + tick * data.interval_ms for tick in range(data.ticks)]
        assert found[labels] == list(zip(times, data.values[row].tolist(), strict=True))


def answer(*series: dict[str, Any]) -> bytes:
    return json.dumps({"data": {"result": list(series)}}).encode()


def test_answers_are_compared_by_series_times_and_values() -> None:
    from peers.queries import compare

    one = {"metric": {"job": "a"}, "values": [[1, "2"], [2, "NaN"], [3, "+Inf"]]}
    assert compare(answer(one), answer(one)) == "equal"
    near = one | {"values": [[1, "2.000000001"], [2, "NaN"], [3, "+Inf"]]}
    assert compare(answer(one), answer(near)) == "equal"
    far = one | {"values": [[1, "2.00001"], [2, "NaN"], [3, "+Inf"]]}
    assert compare(answer(one), answer(far)) == "5e-06 apart"
    assert compare(answer(one), answer(one | {"values": [[1, "2"], [2, "NaN"], [3, "4"]]})) == "inf apart"
    assert compare(answer(one), answer(one | {"values": [[1, "2"], [2, "NaN"]]})).startswith("3 points against 2")
    assert compare(answer(one), answer(one | {"metric": {"job": "b"}})) == "1 series missing, 1 more"


def test_thirty_queries_ten_or_so_of_each_size_and_a_thousand_rules_half_of_them_alerts() -> None:
    from peers.queries import GROWTH_TITLES, QUERIES
    from peers.rules import rule_file

    tiers = [query.tier for query in QUERIES]
    assert len(QUERIES) == len({query.title for query in QUERIES}) == 30
    assert all(8 <= tiers.count(tier) <= 12 for tier in ("1", "100", "10,000"))
    assert {query.title for query in QUERIES} >= set(GROWTH_TITLES)
    rules = [rule for group in rule_file(1_000, interval_s=10)["groups"] for rule in group["rules"]]
    assert len(rules) == 1_000
    assert sum("alert" in rule for rule in rules) == 500
    assert len({json.dumps(rule) for rule in rules}) == 1_000


def result(**changes: Any) -> dict[str, Any]:
    timing = {"verdict": "equal", "error": "", "runs_ms": [1.0]}
    query = {"title": "q", "victoria": "", "timings": {"Prometheus": timing, "collector": timing | changes}}
    return {"queries": {"queries": [query]}}


def test_lost_samples_and_answers_that_differ_fail_the_run() -> None:
    from peers.report import failures

    assert failures(result()) == []
    assert failures(result(verdict="0.1 apart")) == ["“q” at collector: 0.1 apart"]
    lost = {"ingest": {"collector": {"kept_samples": 9, "sent_samples": 10}}}
    assert failures(lost) == ["collector has 9 of 10 samples"]
    theirs = {"recorded": 10, "alerts": {"pending": 0, "firing": 100}}
    for ours, problems in (({}, 0), ({"recorded": 9}, 1), ({"alerts": {"pending": 0, "firing": 90}}, 1)):
        assert len(failures({"rules": {"Prometheus": theirs, "collector": theirs | ours}})) == problems


@pytest.mark.peer
def test_a_small_run_measures_all_parts_at_all_servers_and_agrees(tmp_path: Path) -> None:
    if shutil.which("prometheus") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have prometheus on PATH")
        pytest.skip("prometheus is not on PATH")
    argv = [sys.executable, str(BENCH / "metrics.py"), "--series", "200", "--hours", "0.1", "--runs", "1"]
    argv += ["--servers", "prometheus", "collector", "--only", "ingest", "--only", "queries"]
    argv += ["--work", str(tmp_path / "work"), "--json", str(tmp_path / "figures.json")]
    ran = subprocess.run(argv, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures["data"]["samples"] == 200 * 24
    for name in ("Prometheus", "collector"):
        assert figures["ingest"][name]["kept_samples"] == 200 * 24
        assert figures["ingest"][name]["peak_bytes"] > 10 * 2**20
    assert len(figures["queries"]["queries"]) == 30
    assert "| samples/s |" in ran.stdout
