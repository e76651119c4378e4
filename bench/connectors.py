"""
What counting and sampling spans cost at ingest: the collector's own CPU for a span, with and without.

    python bench/connectors.py                      200,000 spans each, by gRPC
    python bench/connectors.py --rounds 3           in turns, as other load on the machine comes and goes

Two loads: that of bench/traces.py, in which three quarters of the servers' spans never find their client (the worst for
the service graph, which lets each wait), and one in which every call between services has both ends.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from made_spans import CLIENT, INTERNAL, SERVER, Made, encoded
from trace_campaign import RunningCollector
from traces import BATCH, SERVICES, Target, requests, send_all

SPAN_METRICS = {"spanmetrics": {"metrics_flush_interval": "5s"}}
BOTH = {**SPAN_METRICS, "servicegraph": {"metrics_flush_interval": "5s"}}
POLICIES = [
    {"name": "errors", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}},
    {"name": "rest", "type": "probabilistic", "probabilistic": {"sampling_percentage": 10}},
]
SETTINGS: dict[str, dict[str, object]] = {
    "nothing": {},
    "span metrics": {"connectors": SPAN_METRICS},
    "and service graph": {"connectors": BOTH},
    "and sampling": {
        "connectors": BOTH,
        "processors": {"tail_sampling": {"decision_wait": "5s", "policies": POLICIES}},
    },
}
HOPS = 4  # services that one trace goes through, three spans in each
SETTLE_S = 15.0  # in which what waits is decided


TRACES = BATCH // 3  # of which one request of each service holds the spans


def paired_requests(spans: int, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    for _ in range(spans // (TRACES * 3 * HOPS)):
        by_service: dict[str, list[Made]] = {}
        for _ in range(TRACES):
            trace, parent = chance.getrandbits(128), 0
            for hop, service in enumerate(SERVICES[:HOPS]):
                served, inner, call = (chance.getrandbits(63) + 1 for _ in range(3))
                attributes = {
                    "http.request.method": "GET",
                    "http.route": f"/{service}/{{id}}",
                    "url.path": f"/{service}/{chance.randrange(10_000)}",
                    "server.address": "127.0.0.1",
                    "http.response.status_code": 200,
                }
                took, at = chance.randrange(1_000_000, 90_000_000), time.time_ns()

                def made(name: str, kind: int, span: int, parent: int) -> Made:
                    return Made(service, name, kind, 0, took, trace, span, parent, at, attributes)  # noqa: B023

                by_service.setdefault(service, []).extend(
                    [
                        made(f"GET /{service}/{{id}}", SERVER, served, parent),
                        made(f"step {hop}", INTERNAL, inner, served),
                        made("GET", CLIENT, call, inner),
                    ]
                )
                parent = call
        yield from (encoded(each) for each in by_service.values())


def measure(settings: dict[str, object], bodies: list[bytes], spans: int) -> tuple[float, float]:
    """CPU µs for a span, and what is decided after the last one, in CPU seconds."""
    text = json.dumps({"global": {"scrape_interval": "15s"}, **settings})  # JSON is YAML
    with tempfile.TemporaryDirectory() as work, RunningCollector.start(Path(work), config_text=text) as running:
        target = Target("steersman", running.pid, running.otlp_grpc, running.otlp_http, Path(work) / "data")
        asyncio.run(send_all(target, "grpc", list(requests(BATCH * 20, seed=2)), 4))  # warm
        process = psutil.Process(running.pid)
        busy = sum(process.cpu_times()[:2])
        asyncio.run(send_all(target, "grpc", bodies, 16))
        ingest = sum(process.cpu_times()[:2]) - busy
        if "processors" not in settings:
            return ingest / spans * 1e6, 0.0
        time.sleep(SETTLE_S)
        return ingest / spans * 1e6, sum(process.cpu_times()[:2]) - busy - ingest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spans", type=int, default=200_000)
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    for load, made, at_once in (("mostly unpaired", requests, BATCH), ("paired", paired_requests, TRACES * 3)):
        bodies = list(made(options.spans, seed=1))
        for _ in range(options.rounds):
            for name, settings in SETTINGS.items():
                cost, settled = measure(settings, bodies, len(bodies) * at_once)
                print(f"{load:<16}{name:<20}{cost:6.1f} µs a span, then {settled:5.1f} CPU s", flush=True)


if __name__ == "__main__":
    main()
