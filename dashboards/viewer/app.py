"""The viewer's web application: Grafana's HTTP API beside the pages."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import httpx
from fastapi import FastAPI, HTTPException, Request
from nicegui import ui
from starlette.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

from dashboards.errors import PeerError
from dashboards.viewer.auth.accounts import Accounts
from dashboards.viewer.auth.attempts import Attempts
from dashboards.viewer.auth.audit import AuditLog
from dashboards.viewer.auth.gate import Gate
from dashboards.viewer.auth.permission import require
from dashboards.viewer.auth.roles import Act
from dashboards.viewer.auth.sessions import Sessions
from dashboards.viewer.auth.users import Users
from dashboards.viewer.grafana_api.router import grafana_router
from dashboards.viewer.grafana_store import GrafanaStore
from dashboards.viewer.library import Library
from dashboards.viewer.pages.alert_rule import AlertRulePage
from dashboards.viewer.pages.alerts import AlertsPage
from dashboards.viewer.pages.audit import audit_page
from dashboards.viewer.pages.dashboard import DashboardPage
from dashboards.viewer.pages.dashboard_state import State, chosen_in
from dashboards.viewer.pages.drills import LIVE_PATH, RUN, DrillsPage, LivePage, ReportPage
from dashboards.viewer.pages.edit import EditPage
from dashboards.viewer.pages.explore import ExplorePage
from dashboards.viewer.pages.home import HomePage
from dashboards.viewer.pages.logs import LogsPage
from dashboards.viewer.pages.remediations import RecordPage, RemediationsPage
from dashboards.viewer.pages.rules import RulesPage
from dashboards.viewer.pages.service_map import ServiceMapPage
from dashboards.viewer.pages.sign_in import sign_in_router
from dashboards.viewer.pages.silences import SilencesPage
from dashboards.viewer.pages.trace import ASSETS, ComparePage, TracePage
from dashboards.viewer.pages.traces import SearchPage
from dashboards.viewer.panels.queries import Queries
from dashboards.viewer.panels.sources import Sources
from dashboards.viewer.peers.alertmanager import Alertmanager
from dashboards.viewer.peers.drills import Drills
from dashboards.viewer.peers.jaeger import Jaeger
from dashboards.viewer.peers.prometheus import Prometheus
from dashboards.viewer.peers.remediation import Remediation
from dashboards.viewer.peers.rule_files import RuleFiles
from dashboards.viewer.peers.trace_search import TraceSearch
from dashboards.viewer.settings import Settings
from dashboards.viewer.traces.data import Traces, trace_data_router
from steersman.runtime.http import install_error_envelope, limit_bodies
from steersman.runtime.memory import give_back_memory

ANSWER_WITHIN_S = 30.0  # what a page asks before it is shown; NiceGUI's own 3 s are short for a busy peer
page = partial(ui.page, response_timeout=ANSWER_WITHIN_S)
TIDY_EVERY_S = 15.0  # takes some tens of milliseconds
MAX_BODY_BYTES = 8 << 20  # twice the largest dashboard that is kept
VISITOR_S = 365 * 86_400  # how long a browser's theme is remembered


def make_app(settings: Settings, *, storage_secret: str) -> FastAPI:
    """
    Args:
        storage_secret: Signs the cookie that remembers a visitor's theme.
    """
    client = httpx.AsyncClient(trust_env=False)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        tidying = asyncio.create_task(_tidy(), name="tidying")
        async with client:
            yield
        tidying.cancel()
        store.close()
        accounts.sessions.close()

    app = FastAPI(title="Steersman viewer", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
    install_error_envelope(app)
    library = Library(settings.data_dir / "dashboards")
    store = GrafanaStore(settings.data_dir / "grafana.sqlite")
    accounts = _accounts(settings, storage_secret)
    audit = AuditLog(settings.data_dir / "audit.jsonl")
    app.add_middleware(limit_bodies, max_bytes=MAX_BODY_BYTES)
    app.add_middleware(
        Gate,
        accounts=accounts,
        audit=audit,
        hosts=settings.allowed_hosts,
        cookie_name=f"steersman_session_{settings.port}",
    )
    app.include_router(sign_in_router(hint=settings.token_hint))
    app.include_router(grafana_router(library, store, allowed=require(Act.SAVE_DASHBOARD)))
    prometheus = Prometheus(client, settings.prometheus_url)

    @app.get("/-/healthy")
    @app.get("/-/ready")
    async def healthy() -> dict[str, str]:
        return {"status": "ok"}

    sources = Sources(client, jaeger_url=settings.jaeger_url, logs_url=settings.prometheus_url)
    remediation = Remediation(client, settings.remediation_url, settings.remediation_token)
    drills = Drills(client, settings.orchestrator_url, settings.drills_token)
    _add_dashboards(library, store, prometheus, sources, remediation, drills)

    @page("/map")
    async def service_map(request: Request) -> None:
        await ServiceMapPage(prometheus, sources, client, settings.orchestrator_url, request.query_params).build()

    jaeger = Jaeger(client, settings.jaeger_url)
    traces = Traces(jaeger)
    app.include_router(trace_data_router(traces, client, logs_url=settings.collector_url))
    app.mount("/assets", StaticFiles(directory=ASSETS), name="assets")
    _add_traces(jaeger, TraceSearch(client, settings.collector_url), traces)
    _add_operations(prometheus, remediation, audit)

    @page("/logs")
    async def logs(request: Request) -> None:
        await LogsPage(sources, jaeger, request.query_params).build()

    _add_alerts(
        prometheus,
        Alertmanager(client, settings.alertmanager_url, settings.alertmanager_token),
        RuleFiles(client, settings.collector_url, settings.collector_token),
    )
    _add_drills(app, drills)
    ui.run_with(
        app,
        title="Steersman",
        language="en-US",  # which screen readers are told
        storage_secret=storage_secret,
        session_middleware_kwargs={
            "same_site": "strict",
            "session_cookie": f"steersman_visitor_{settings.port}",
            "max_age": VISITOR_S,
        },
        show_welcome_message=False,
        reconnect_timeout=10.0,
    )
    return app


async def _tidy() -> None:
    """Pages and traces that were closed leave circles of objects behind, and what is freed stays with the process."""
    while True:
        await asyncio.sleep(TIDY_EVERY_S)
        gc.collect()
        give_back_memory()


def _accounts(settings: Settings, secret: str) -> Accounts:
    return Accounts(
        token=settings.token,
        users=Users(settings.data_dir / "users.json"),
        sessions=Sessions(settings.data_dir / "sessions.sqlite", secret),
        attempts=Attempts(),
        anonymous=settings.anonymous,
    )


def _add_dashboards(
    library: Library,
    store: GrafanaStore,
    prometheus: Prometheus,
    sources: Sources,
    remediation: Remediation,
    drills: Drills,
) -> None:
    queries = Queries(prometheus, sources)

    def tagged(tags: Sequence[str]) -> list[tuple[str, str]]:
        return [(each.title, each.uid) for each in library.all() if set(tags) <= set(each.tags)]

    @page("/")
    @page("/dashboards")
    async def dashboards() -> None:
        await HomePage(library, prometheus, remediation, drills).build()

    @page("/d/{uid}")
    async def dashboard(uid: str, request: Request) -> None:
        found = library.get(uid)
        if found is None:
            raise HTTPException(404, f"no dashboard {uid[:80]!r}")
        asked = request.query_params
        state = State(
            found,
            start=asked.get("from") or found.time_from,
            end=asked.get("to") or found.time_to,
            refresh=asked.get("refresh", found.refresh),
            chosen=chosen_in(asked.multi_items()),
        )
        await DashboardPage(state, prometheus, store, queries, tagged).build()

    @page("/d/{uid}/json")
    def as_json(uid: str) -> None:
        found = library.get(uid)
        if found is None:
            raise HTTPException(404, f"no dashboard {uid[:80]!r}")
        EditPage(library, f"{found.title} as JSON", json.dumps(found.raw, indent=2, ensure_ascii=False)).build()

    @page("/import")
    def import_() -> None:
        EditPage(library, "Import a dashboard", "").build()


def _add_traces(jaeger: Jaeger, search: TraceSearch, traces: Traces) -> None:
    @page("/traces")
    async def found(request: Request) -> None:
        await SearchPage(jaeger, search, request.query_params).build()

    @page("/trace/{trace_id}")
    async def trace(trace_id: str) -> None:
        await TracePage(traces, trace_id).build()

    @page("/compare")
    async def compare(a: str = "", b: str = "") -> None:
        await ComparePage(traces, a, b).build()


def _add_alerts(prometheus: Prometheus, alertmanager: Alertmanager, rule_files: RuleFiles) -> None:
    @page("/alerts")
    async def alerts() -> None:
        await AlertsPage(prometheus).build()

    @page("/alerts/rule")
    async def rule(request: Request) -> None:
        await AlertRulePage(prometheus, request.query_params).build()

    @page("/silences")
    async def silences(matchers: str = "") -> None:
        await SilencesPage(alertmanager, matchers[:1000]).build()

    @page("/rules")
    async def rules(request: Request) -> None:
        await RulesPage(rule_files, prometheus, request.query_params).build()


def _add_drills(app: FastAPI, drills: Drills) -> None:
    @page("/drills")
    async def all_drills() -> None:
        await DrillsPage(drills).build()

    @page(LIVE_PATH)
    async def live() -> None:
        await LivePage(drills).build()

    @page("/drill/{run}")
    async def report(run: str) -> None:
        await ReportPage(drills, _run(run)).build()

    @app.get("/drill/{run}/page", response_class=HTMLResponse)
    async def report_page(run: str) -> str:
        try:
            return await drills.page(_run(run))
        except PeerError as error:
            raise HTTPException(error.status or 502, str(error)) from error


def _run(run: str) -> str:
    if not RUN.fullmatch(run):
        raise HTTPException(404, f"a run is named NAME-TIMESTAMP, got {run[:80]!r}")
    return run


def _add_operations(prometheus: Prometheus, remediation: Remediation, audit: AuditLog) -> None:
    @page("/audit")
    async def audit_log() -> None:
        await audit_page(audit)

    @page("/explore")
    async def explore(request: Request) -> None:
        await ExplorePage(prometheus, request.query_params).build()

    @page("/remediations")
    async def remediations(service: str = "") -> None:
        await RemediationsPage(remediation, service[:128]).build()

    @page("/remediation/{run_id}")
    async def record(run_id: str) -> None:
        await RecordPage(remediation, prometheus, run_id).build()
