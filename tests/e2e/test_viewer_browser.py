"""
The viewer in a browser, on the running stack, during a drill: what a person finds, and how each page looks.

Pictures of every page, wide and narrow, stay under .steersman/pictures (or STEERSMAN_PICTURES). It takes about two
minutes, and wants a Chromium: without one it is skipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, expect
from viewer_browser import DESKTOP, PHONE, Visit, browser, window

from embedded_stack import Stack, eventually
from steersman.runtime.tokens import read_token

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(600),
]

SERVICE, DRILL, ALERT = "checkout", "A slow dependency that no replica can cure", "HighRequestLatency"
BOARDS = ("fleet", "service", "events", "remediations", "objectives", "hosts", "stack")
SLOW_S = 1.4  # the drill's fault adds 1.5 s
IN_FORCE_MS = 2000  # after it was injected, no request is under way that it does not concern


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as launched:
        yield launched


@pytest.fixture(scope="module")
def drill(stack: Stack, chromium: Browser) -> Iterator[Visit]:
    """A slow dependency, begun and ended by hand in the viewer, as an operator does it."""
    eventually(stack.healthy, within_s=120, what="the stack is healthy before the drill")
    with window(chromium, stack.url("dashboards")) as operator:
        sign_in(operator, stack)
        operator.go("/drills", shows=f"text={DRILL}")
        operator.page.locator("section.drill", has_text=DRILL).get_by_role("button", name="Start").click()
        operator.page.wait_for_url("**/drills/live")
        expect(operator.page.get_by_role("heading", name=DRILL)).to_be_visible()
        try:
            yield operator
        finally:
            operator.go("/drills/live")
            stop = operator.page.get_by_role("button", name="Stop and roll back")
            if stop.is_visible():
                stop.click()
            eventually(lambda: not running(stack), within_s=60, what="the drill has ended")


def sign_in(visit: Visit, stack: Stack) -> None:
    visit.go("/sign-in", shows="#password")
    visit.page.fill("#password", read_token(stack.data.token_file("dashboards")))
    visit.page.get_by_role("button", name="Sign in").click()
    visit.page.get_by_label("Signed in as").wait_for()


def running(stack: Stack) -> str | None:
    found: str | None = stack.http.get(stack.url("orchestrator", "/api/v1/drills/running")).json()["running"]
    return found


def fires(stack: Stack) -> list[Any]:
    return stack.query(f'ALERTS{{alertname="{ALERT}",service="{SERVICE}",alertstate="firing"}}')


def test_a_person_finds_the_slow_service_its_trace_its_alert_and_what_was_done(
    stack: Stack, chromium: Browser, drill: Visit
) -> None:
    eventually(lambda: fires(stack), within_s=60, what=f"{ALERT} fires")
    since = injected_at(stack) + IN_FORCE_MS
    expect(drill.page.get_by_role("heading", name="Timeline, newest first")).to_be_visible()
    drill.keep("drill-live")
    with window(chromium, stack.url("dashboards")) as visit:
        page = visit.page
        # What is wrong, on the first page; and the slow service, on the overview.
        visit.go("/")
        expect(page.get_by_role("status", name="Now")).to_contain_text(f"{ALERT} {SERVICE}")
        page.get_by_role("link", name="Fleet overview").click()
        visit.all_panels_filled()
        slowest = page.locator("section.panel", has=page.get_by_text("Services", exact=True)).locator("tbody tr")
        expect(slowest.filter(has_text=SERVICE)).to_contain_text(re.compile(r"\d s"))
        visit.keep("drill-fleet")

        # The map says the same; back to the overview.
        visit.go("/map", shows="svg.map .bad:visible")
        visit.keep("drill-map")
        page.go_back()
        visit.all_panels_filled()

        # Into the service, and by a diamond to the trace of a slow request.
        page.get_by_role("link", name=SERVICE, exact=True).first.click()
        page.wait_for_url(f"**/d/steersman-service?var-service={SERVICE}*")
        chosen = eventually(
            lambda: slow_exemplar(visit, since), within_s=40, what="a slow request's diamond", every_s=0.5
        )
        page.mouse.click(chosen["x"], chosen["y"])
        page.wait_for_url(re.compile(r"/trace/[0-9a-f]{32}$"))

        # The span that waited.
        expect(page.get_by_text("The critical path spent most in")).to_contain_text("payment")
        page.locator("trace-view .fall-row").first.wait_for()
        visit.keep("drill-trace")

        # The alert, which may be over by now, and when it fired; from there, what the worker did and why.
        page.get_by_role("navigation", name="Main").get_by_role("link", name="Alerts").click()
        rule = page.locator("tr", has=page.get_by_text(SERVICE, exact=True)).get_by_role("link", name=ALERT)
        expect(rule).to_be_visible()
        visit.keep("drill-alerts")
        rule.click()
        page.wait_for_url("**/alerts/rule?*")
        page.get_by_role("link", name="what was done").first.click()
        page.get_by_role("link", name=ALERT).first.click()
        page.wait_for_url("**/remediation/*")
        expect(page.get_by_role("heading", name=f"{ALERT} on {SERVICE}")).to_be_visible()
        # A run soon after another that was handed over to people acts no more, and says so.
        record = newest_run(stack)
        for part in (record["policy"], "p99 latency of checkout", *told_of(record)):
            expect(page.locator("main")).to_contain_text(part)
        visit.keep("drill-record")
        assert visit.complaints == []


def newest_run(stack: Stack) -> dict[str, Any]:
    """With its evidence, which may still be gathered."""

    def found() -> dict[str, Any] | None:
        run = next(each for each in stack.remediations() if each["service"] == SERVICE and each["alertname"] == ALERT)
        answer = stack.http.get(stack.url("remediation", f"/api/v1/remediations/{run['id']}")).raise_for_status()
        record: dict[str, Any] = answer.json()
        return record if record["evidence"] else None

    whole: dict[str, Any] = eventually(found, within_s=30, what="the run has evidence")
    return whole


def told_of(record: dict[str, Any]) -> list[str]:
    """What was measured, and what was done."""
    measures = [each["name"] for each in record["evidence"] if isinstance(each["value"], int | float)]
    return [*measures, *(f"{each['action'].replace('_', ' ')} {each['target']}" for each in record["actions"])]


def injected_at(stack: Stack) -> int:
    report = stack.http.get(stack.url("orchestrator", "/api/v1/drills/running")).json()["report"]
    return int(report["injected_at_unix_ms"])


def slow_exemplar(visit: Visit, since_unix_ms: int) -> dict[str, Any] | None:
    found = visit.slowest_exemplar("Latency by route", since_unix_ms)
    return found if found and found["seconds"] > SLOW_S else None


def pages(stack: Stack) -> dict[str, tuple[str, str]]:
    """Name → address, and what must be seen there."""
    traces = stack.http.get(stack.url("jaeger", "/api/traces"), params={"service": SERVICE, "limit": 2}).json()["data"]
    first, second = (each["traceID"] for each in traces)
    run = stack.remediations()[0]["id"]
    wanted = quote(f'{{ service = "{SERVICE}" && duration > 100ms }}')
    expr = "sum%20by%20(job)%20(rate(http_server_request_duration_seconds_count%5B1m%5D))"
    return {
        "home": ("/", ".now .card"),
        **{name: (f"/d/steersman-{name}", "section.panel") for name in BOARDS},
        "json": ("/d/steersman-fleet/json", ".cm-content"),
        "import": ("/import", ".cm-content"),
        "map": ("/map", "svg.map:visible"),
        "explore": (f"/explore?expr={expr}", "canvas"),
        "logs": (f"/logs?service={SERVICE}", "table.logs"),
        "traces": (f"/traces?service={SERVICE}", "table.plain"),
        "filter": (f"/traces?filter={wanted}", "table.plain"),
        "trace": (f"/trace/{first}", "trace-view .fall-row"),
        "compare": (f"/compare?a={first}&b={second}", "table.compare"),
        "alerts": ("/alerts", "table.plain"),
        "rule": (f"/alerts/rule?name={ALERT}&service={SERVICE}", "main .card"),
        "silences": ("/silences", "main .card"),
        "rules": ("/rules", ".cm-content"),
        "remediations-list": ("/remediations", "table.plain"),
        "record": (f"/remediation/{run}", ".timeline"),
        "drills": ("/drills", "section.drill"),
        "live": ("/drills/live", "main .card, main .none"),
        "audit": ("/audit", "main .page"),
        "sign-in": ("/sign-in", "#password"),
    }


@pytest.mark.parametrize(("size", "dark"), [(DESKTOP, True), (PHONE, False)], ids=["wide and dark", "narrow and light"])
def test_every_page_is_whole_and_has_no_grave_fault_of_accessibility(
    stack: Stack, chromium: Browser, drill: Visit, size: tuple[int, int], dark: bool
) -> None:
    faults: dict[str, Any] = {}
    with window(chromium, stack.url("dashboards"), size, dark=dark) as visit:
        sign_in(visit, stack)
        for name, (address, shows) in pages(stack).items():
            visit.go(address, shows=shows)
            if name in BOARDS:
                visit.all_panels_filled()
            visit.keep(f"{'wide' if size == DESKTOP else 'narrow'}-{name}")
            found = {"axe": visit.grave_faults(), "console": visit.complaints[:], "too wide by": visit.too_wide()}
            visit.complaints.clear()
            if any(found.values()):
                faults[name] = found
    assert not faults, json.dumps(faults, indent=1)
