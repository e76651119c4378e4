"""
What a person waits for in the viewer, and what the viewer takes: in Debian's Chromium, headless, on this machine.

    python bench/viewer.py                       a collector and a viewer of its own, filled with six hours
    python bench/viewer.py --data-dir .steersman the pages of the stack that runs there

Of its own: 1,000 series every 15 s over six hours by remote write, a dashboard of 20 panels over all of it, and a trace
of 5,000 spans by OTLP. First data is the time from the request to the first number or line that can be seen; a redraw
the time from a click on "Refresh now" until every chart has drawn; scrolling the time between frames while the
waterfall is scrolled through, a window's height at a frame. Memory is the viewer's, with its pages open and refreshing.
The browser takes its share of the same cores. Exit code 1 if an aim is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from peers.dataset import fleet
from peers.process import Process, free_port
from peers.remote_write import send, write_bodies
from playwright.sync_api import Browser, Page, sync_playwright

from steersman.runtime.paths import DataDir
from steersman.stack.settings import Urls
from steersman.stack.state import require_state

HOURS, INTERVAL_S, SERIES = 6, 15, 1000
PANELS = 20
SPANS = 5000
RUNS = 5
PAGES_OPEN = 5
OPEN_S = 30.0  # how long pages are open and refreshing before the memory is read
SCROLL_FRAMES = 120
MIB = 1024 * 1024
CHROMIUM = "chromium"
# The aims, as the issue of the viewer states them: seconds, seconds, MiB, milliseconds between frames.
FIRST_DATA_S, REDRAW_S, MEMORY_MIB, FRAME_MS = 1.5, 2.0, 250, 50
SEEN = "canvas, .stat .value, table tbody td, svg.map, .now .card, .timeline, section.drill, .cm-content, .fall-row"
QUERIES = (
    "sum by (job) (rate(http_requests_total[5m]))",
    'sum by (job) (rate(http_requests_total{status=~"5.."}[5m])) / sum by (job) (rate(http_requests_total[5m]))',
    "histogram_quantile(0.99, sum by (job, le) (rate(http_request_duration_seconds_bucket[5m])))",
    "sum by (route) (rate(http_requests_total[5m]))",
    'sum by (job) (rate(node_cpu_seconds_total{mode!="idle"}[5m]))',
    "process_resident_memory_bytes",
    "sum by (queue) (queue_depth)",
    "max by (job) (go_goroutines)",
)


@dataclass(frozen=True, slots=True)
class Figure:
    name: str
    value: float
    unit: str
    aim: float | None = None  # at most

    @property
    def missed(self) -> bool:
        return self.aim is not None and self.value > self.aim


def board() -> dict[str, Any]:
    panels = [
        {
            "type": "timeseries",
            "title": f"Panel {number + 1}",
            "gridPos": {"x": number % 2 * 12, "y": number // 2 * 8, "w": 12, "h": 8},
            "fieldConfig": {"defaults": {"unit": "none", "min": 0}, "overrides": []},
            "options": {"legend": {"calcs": ["lastNotNull", "max"], "showLegend": True}},
            "targets": [{"refId": "A", "expr": QUERIES[number % len(QUERIES)], "legendFormat": "__auto"}],
        }
        for number in range(PANELS)
    ]
    time_range = {"from": f"now-{HOURS}h", "to": "now"}
    return {"uid": "bench", "title": "Twenty panels", "panels": panels, "time": time_range, "refresh": "5s"}


def trace_body(trace_id: str) -> bytes:
    """One trace of SPANS spans as OTLP/JSON: a root, ten branches of calls ten deep, and what they call."""
    now, spans = time.time_ns() - 60_000_000_000, []
    for number in range(SPANS):
        parent = None if number == 0 else 0 if number <= 10 else number - 10 if number < 100 else 1 + number % 99
        start = now + number * 200_000
        spans.append(
            {
                "traceId": trace_id,
                "spanId": f"{number + 1:016x}",
                "name": f"call {number % 40}",
                "kind": 1 + number % 3,
                "startTimeUnixNano": str(start),
                "endTimeUnixNano": str(start + 1_000_000 + (SPANS - number) * 200_000),
                "attributes": [{"key": "n", "value": {"intValue": str(number)}}],
                **({"parentSpanId": f"{parent + 1:016x}"} if parent is not None else {}),
            }
        )
    groups = [
        {
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": f"service-{part}"}}]},
            "scopeSpans": [{"spans": spans[part::6]}],
        }
        for part in range(6)
    ]
    return json.dumps({"resourceSpans": groups}).encode()


@contextmanager
def filled(folder: Path) -> Iterator[tuple[str, psutil.Process, str]]:
    """A viewer on a collector with six hours of data; yields its address, its process, and the trace's id."""
    ports = {name: free_port() for name in ("http", "otlp-grpc", "otlp-http", "jaeger")}
    (folder / "collector.yml").write_text("{}")
    (folder / "token").write_text("bench")
    argv = [sys.executable, "-m", "collector", "--config", str(folder / "collector.yml"), "--data-dir"]
    argv += [str(folder / "data"), "--log-level", "warning"]
    argv += [part for name, port in ports.items() for part in (f"--{name}", f"127.0.0.1:{port}")]
    collector = Process("collector", argv, port=ports["http"], log=folder / "collector.log")
    started = [collector]
    try:
        collector.wait_ready("/-/ready")
        data = fleet(
            series=SERIES,
            ticks=HOURS * 3600 // INTERVAL_S,
            end_ms=int(time.time() * 1000),
            interval_ms=INTERVAL_S * 1000,
        )
        sent = send(write_bodies(data, folder / "bodies"), port=ports["http"], path="/api/v1/write")
        print(f"{sent.samples:,} samples written in {sent.seconds:.1f} s", file=sys.stderr)
        trace_id = "abcdef0123456789abcdef0123456789"
        _post(f"http://127.0.0.1:{ports['otlp-http']}/v1/traces", trace_body(trace_id), {})
        port = free_port()
        environment = {
            "PORT": port,
            "VIEWER_DATA_DIR": folder / "viewer",
            "VIEWER_TOKEN_FILE": folder / "token",
            "VIEWER_PROMETHEUS_URL": f"http://127.0.0.1:{ports['http']}",
            "VIEWER_JAEGER_URL": f"http://127.0.0.1:{ports['jaeger']}",
        }
        argv = [sys.executable, "-m", "dashboards.viewer"]
        argv = [shutil.which("env") or "env", *(f"{name}={value}" for name, value in environment.items()), *argv]
        viewer = Process("viewer", argv, port=port, log=folder / "viewer.log")
        started.append(viewer)
        viewer.wait_ready("/-/ready")
        url = f"http://127.0.0.1:{port}"
        body = json.dumps({"dashboard": board(), "overwrite": True}).encode()
        _post(f"{url}/api/dashboards/db", body, {"Authorization": "Bearer bench"})
        yield url, _listening(port), trace_id
    finally:
        for each in reversed(started):
            each.stop()


def _post(url: str, body: bytes, headers: dict[str, str]) -> None:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json", **headers})  # noqa: S310  (ours)
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        answer.read()


def _listening(port: int) -> psutil.Process:
    """Whose memory is read."""
    for one in psutil.net_connections("tcp"):
        if one.status == psutil.CONN_LISTEN and one.laddr and one.laddr.port == port and one.pid:
            return psutil.Process(one.pid)
    raise SystemExit(f"nothing listens on 127.0.0.1:{port}")


def first_data_s(page: Page, address: str, seen: str = SEEN) -> float:
    began = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.locator(seen).filter(visible=True).first.wait_for(timeout=60_000)
    return time.perf_counter() - began


def redraw_s(page: Page) -> float:
    """From the click until every chart has drawn again."""
    taken: float = page.evaluate(
        """() => new Promise(done => {
          const charts = [...document.querySelectorAll('.panel-chart')].map(
            box => getElement(Number(box.id.slice(1))).chart);
          let left = charts.length;
          const began = performance.now();
          for (const chart of charts) {
            const drawn = () => {
              chart.off('rendered', drawn);
              if (!--left) done((performance.now() - began) / 1000);
            };
            chart.on('rendered', drawn);
          }
          document.querySelector('[aria-label="Refresh now"]').click();
        })"""
    )
    return taken


def frames_ms(page: Page) -> list[float]:
    """Between frames, while the waterfall is scrolled through and back."""
    gaps: list[float] = page.evaluate(
        """count => new Promise(done => {
          const view = document.querySelector('.fall-view');
          const gaps = [];
          let before = performance.now(), left = count, way = 1;
          const step = now => {
            gaps.push(now - before); before = now;
            if (view.scrollTop + view.clientHeight >= view.scrollHeight - 1) way = -1;
            view.scrollTop += way * view.clientHeight;
            if (--left) requestAnimationFrame(step); else done(gaps.slice(1));
          };
          requestAnimationFrame(step);
        })""",
        SCROLL_FRAMES,
    )
    return gaps


def measured(browser: Browser, url: str, viewer: psutil.Process, trace_id: str) -> list[Figure]:
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    first_data_s(page, f"{url}/")  # what the browser keeps, it has now
    found = []
    for name, path in (
        ("first page", "/"),
        ("20 panels over 6 h", "/d/bench"),
        ("explore", "/explore?expr=queue_depth"),
    ):
        times = [first_data_s(page, url + path) for _ in range(RUNS)]
        found.append(Figure(f"first data, {name}", statistics.median(times), "s", FIRST_DATA_S))
    page.goto(f"{url}/d/bench?from=now-{HOURS}h&to=now&refresh=")
    page.locator("canvas").nth(PANELS - 1).wait_for()
    page.wait_for_load_state("networkidle")
    redraw_s(page)
    redraws = [redraw_s(page) for _ in range(RUNS)]
    found.append(Figure("redraw of 20 panels over 6 h, median", statistics.median(redraws), "s", REDRAW_S))
    found.append(Figure("redraw of 20 panels over 6 h, worst", max(redraws), "s"))
    times = [first_data_s(page, f"{url}/trace/{trace_id}") for _ in range(RUNS)]
    found.append(Figure(f"a trace of {SPANS:,} spans, first rows", statistics.median(times), "s", FIRST_DATA_S))
    gaps = sorted(frames_ms(page))
    found.append(Figure("scrolling it, 95 of 100 frames within", gaps[int(len(gaps) * 0.95)], "ms", FRAME_MS))
    found.append(Figure("scrolling it, the longest frame", gaps[-1], "ms"))
    found.append(Figure("memory, one page open", viewer.memory_info().rss / MIB, "MiB"))
    pages = [context.new_page() for _ in range(PAGES_OPEN - 1)]
    for each in [page, *pages]:
        each.goto(f"{url}/d/bench")
    page.wait_for_timeout(OPEN_S * 1000)  # they refresh every five seconds
    found.append(Figure(f"memory, {PAGES_OPEN} pages open", viewer.memory_info().rss / MIB, "MiB", MEMORY_MIB))
    context.close()
    return found


def of_stack(browser: Browser, url: str, viewer: psutil.Process) -> list[Figure]:
    """The pages of a running stack, with what it knows."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    first_data_s(page, f"{url}/")
    paths = ["/", *(f"/d/steersman-{name}" for name in ("fleet", "service", "objectives", "stack"))]
    paths += ["/map", "/traces", "/alerts", "/remediations", "/drills"]
    found = []
    for path in paths:
        seen = "main .card" if path == "/remediations" else SEEN  # there may have been nothing to do yet
        times = [first_data_s(page, url + path, seen) for _ in range(RUNS)]
        found.append(Figure(f"first data, {path}", statistics.median(times), "s", FIRST_DATA_S))
    pages = [context.new_page() for _ in range(PAGES_OPEN - 1)]
    for each, path in zip([page, *pages], paths[1:], strict=False):
        each.goto(url + path)
    page.wait_for_timeout(OPEN_S * 1000)
    found.append(Figure(f"memory, {PAGES_OPEN} pages open", viewer.memory_info().rss / MIB, "MiB", MEMORY_MIB))
    context.close()
    return found


def in_browser(measure: Callable[[Browser], list[Figure]]) -> list[Figure]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which(CHROMIUM), args=["--no-sandbox", "--disable-gpu"]
        )
        try:
            return measure(browser)
        finally:
            browser.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, help="measure the pages of the stack that runs there")
    arguments = parser.parse_args()
    if shutil.which(CHROMIUM) is None:
        print(f"left out: there is no {CHROMIUM} on this machine")
        return 0
    if arguments.data_dir:
        url = Urls.of(require_state(DataDir.at(arguments.data_dir)).ports).dashboards
        viewer = _listening(int(url.rpartition(":")[2]))
        figures = in_browser(lambda browser: of_stack(browser, url, viewer))
    else:
        with tempfile.TemporaryDirectory() as folder, filled(Path(folder)) as (url, viewer, trace_id):
            figures = in_browser(lambda browser: measured(browser, url, viewer, trace_id))
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    print(f"{platform.machine()}, {os.cpu_count()} cores, load {load} at the end\n")
    print("| what | measured | aim |\n| --- | --- | --- |")
    for each in figures:
        aim = "" if each.aim is None else f"{each.aim:g} {each.unit}"
        print(f"| {each.name} | {each.value:.3g} {each.unit}{', missed' if each.missed else ''} | {aim} |")
    return 1 if any(each.missed for each in figures) else 0


if __name__ == "__main__":
    raise SystemExit(main())
