"""The edge: reads the running stack over its HTTP APIs, and injects. The seams are in docs/architecture.md."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import httpx

from remediation.drills import exhaustion, processes, records
from remediation.drills.charts import series, step_s
from remediation.drills.definition import Chart
from remediation.drills.endpoints import Endpoints, variable
from remediation.drills.errors import BrokenAnswerError, DrillError, RefusedError, StackUnreachableError
from remediation.drills.injection import Victim
from remediation.drills.observation import Alert, Observation, Remediation, Service
from remediation.drills.report import Drawn
from remediation.drills.steps import (
    Burn,
    Freeze,
    Kill,
    Send,
    SetFault,
    SetFlag,
    SetLoad,
    SetVersion,
    Step,
    Storm,
    Tighten,
)
from remediation.drills.storm import AT_ONCE, notifications
from remediation.drills.undo import Undo

READ_TIMEOUT_S = 2.0  # a poll that takes longer is as good as none: things change every second
WRITE_TIMEOUT_S = 5.0  # through the gateway to a service that may be overloaded
MAX_BODY_BYTES = 8 * 1024 * 1024  # a thousand times the answers of a healthy stack
REMEDIATIONS_LIMIT = 50  # of all services; a drill begins a handful
UNDO_ATTEMPTS = 8  # with UNDO_PAUSE_S: as long as it takes the stack to restart what was killed
UNDO_PAUSE_S = 1.0

_HERE = ("http://127.0.0.1:", "http://localhost:", "http://[::1]:")

_T = TypeVar("_T")


class Stack:
    """Use as an async context manager. One instance for one drill."""

    def __init__(self, endpoints: Endpoints) -> None:
        self._at = endpoints
        # Answers come from loopback; a proxy of the environment would only be in the way.
        self._chosen: dict[Freeze | Tighten | Burn, Undo] = {}  # the process of each
        self._storms: dict[Storm, Undo] = {}
        self._client = httpx.AsyncClient(timeout=READ_TIMEOUT_S, trust_env=False)

    async def __aenter__(self) -> Stack:
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await self._client.aclose()

    # ── reading ─────────────────────────────────────────────────────────────────────────────────────────────────────

    async def check(self) -> None:
        """
        Raises:
            StackUnreachableError: a part that every drill needs does not answer, or a token is missing.
        """
        for audience in ("orchestrator", "load", "faults"):
            self._at.token(audience)
        seen = await self.observe([])
        if seen.troubles:
            raise StackUnreachableError(f"{seen.troubles[0]}; is `steersman up` running?")
        try:
            await self._rates()
        except BrokenAnswerError as error:
            raise StackUnreachableError(f"{error}; is `steersman up` running?") from error

    async def observe(self, queries: Sequence[str], *, with_pids: bool = False) -> Observation:
        """
        One poll of everything, at once. Never raises: what could not be read is named in `troubles`.

        Args:
            with_pids: Also ask which processes run, which costs the supervisor a look at each.
        """
        troubles: list[str] = []
        refused: dict[str, str] = {}

        async def attempt(reading: Coroutine[Any, Any, _T], query: str = "") -> _T | None:
            try:
                return await reading
            except RefusedError as error:
                if query:
                    refused[query] = str(error)
                else:
                    troubles.append(str(error))
            except DrillError as error:
                troubles.append(str(error))
            return None

        async with asyncio.TaskGroup() as polls:
            alerts = polls.create_task(attempt(self._alerts()))
            remediations = polls.create_task(attempt(self._remediations()))
            services = polls.create_task(attempt(self._services()))
            pids = polls.create_task(attempt(self._pids())) if with_pids else None
            values = {query: polls.create_task(attempt(self.query(query), query)) for query in queries}
        answered = {query: task.result() for query, task in values.items()}
        return Observation(
            alerts=alerts.result(),
            remediations=remediations.result(),
            services=services.result(),
            pids=pids.result() if pids else None,
            samples={query: samples for query, samples in answered.items() if samples is not None},
            refused=refused,
            troubles=tuple(dict.fromkeys(troubles)),
        )

    async def query(self, promql: str) -> tuple[float, ...]:
        """
        The values of an instant query's samples, now.

        Raises:
            RefusedError: the query is wrong, or not supported.
            BrokenAnswerError: no answer, or one that is none.
        """
        body = await self._get("prometheus", "/api/v1/query", {"query": promql})
        return _read("Prometheus API", records.samples, body)

    async def processes(self) -> list[dict[str, Any]]:
        """What the supervisor keeps alive: name, pid, rss_bytes, cpu_percent, …"""
        body = await self._get("orchestrator", "/api/v1/processes", audience="orchestrator")
        return _read("orchestrator", lambda answer: list(answer["processes"]), body)

    async def drawn(self, charts: Sequence[Chart], *, start_s: float, end_s: float, zero_s: float) -> list[Drawn]:
        """
        The charts between two Unix times; `zero_s` is the time that counts as 0. One that cannot be read is left out.
        """
        found = []
        for chart in charts:
            range_ = {"start": str(start_s), "end": str(end_s), "step": str(step_s(end_s - start_s))}
            try:
                body = await self._get("prometheus", "/api/v1/query_range", {"query": chart.promql, **range_})
                lines = _read("Prometheus API", lambda answer: series(answer, zero_s), body)
            except DrillError:
                continue
            found.append(Drawn.model_validate({"title": chart.title, "unit": chart.unit, "series": lines}))
        return found

    async def replicas(self) -> dict[str, int]:
        """The process ids of all running replicas, by instance."""
        body = await self._get("orchestrator", "/api/v1/services", audience="orchestrator")
        return _read("orchestrator", records.replicas, body)

    async def _alerts(self) -> tuple[Alert, ...]:
        return _read("Prometheus API", records.alerts, await self._get("prometheus", "/api/v1/alerts"))

    async def _remediations(self) -> tuple[Remediation, ...]:
        body = await self._get("remediation", "/api/v1/remediations", {"limit": str(REMEDIATIONS_LIMIT)})
        return _read("worker", records.remediations, body)

    async def _services(self) -> dict[str, Service]:
        body = await self._get("orchestrator", "/api/v1/services", audience="orchestrator")
        return _read("orchestrator", records.services, body)

    async def _pids(self) -> dict[str, int]:
        body = await self._get("orchestrator", "/api/v1/processes", audience="orchestrator")
        return _read("orchestrator", records.processes, body)

    async def _rates(self) -> dict[str, float]:
        return _read("load generator", records.rates, await self._get("load", "/rate", audience="load"))

    # ── injecting ───────────────────────────────────────────────────────────────────────────────────────────────────

    async def undo_of(self, steps: Sequence[Step]) -> list[Undo]:
        """
        What brings back the state of now, to be kept safe before anything is broken. Call `inject` with each of `steps`
        next: a process that is to be frozen is chosen here.

        Raises:
            DrillError: the load generator does not say its rates; there is no such process, or it is not ours.
        """
        undo = [Undo.fault(step.fault.service, step.fault.kind) for step in steps if isinstance(step, SetFault)]
        for step in steps:
            match step:
                case Freeze() | Tighten() | Burn():
                    undo.append(self._chosen.get(step) or await self._choose(step))
                case SetVersion():
                    service = step.deploy.service
                    undo.append(Undo(service=service, version=await self._version(service)))
                case Storm():
                    undo.append(self._storms.setdefault(step, _storm(step)))
                case SetFlag():
                    undo.append(Undo(name=step.flag.flag, value=await self._flag(step.flag.flag)))
                case _:
                    pass
        loads = [step for step in steps if isinstance(step, SetLoad)]
        if loads:
            rates = await self._rates()
            missing = [step.journey for step in loads if step.journey not in rates]
            if missing:
                raise BrokenAnswerError(f"load generator: GET /rate names {sorted(rates)}, not {missing}")
            undo.append(Undo.load({step.journey: rates[step.journey] for step in loads}))
        return undo

    async def inject(self, step: Step) -> str:
        """Carry out one step; the answer tells it in words."""
        if isinstance(step, SetLoad):
            await self._send("PUT", "load", "/rate", "load", {step.journey: step.rate, "ttl_s": step.ttl_s})
        elif isinstance(step, SetFault):
            fault = step.fault.model_dump(exclude_none=True, exclude={"service"})
            path = f"/{step.fault.service}/admin/faults"
            await self._send("PUT", "mesh", path, "faults", {**fault, "ttl_s": step.ttl_s})
        elif isinstance(step, Kill):
            name, pid = await self._victim(step.victim)
            processes.kill(pid, await self._supervisor())
            return f"{step.words} ({name}, pid {pid})"
        elif isinstance(step, Freeze | Tighten | Burn):
            return self._exhaust(step)
        elif isinstance(step, SetVersion):
            until = time.time_ns() // 1_000_000 + round(step.ttl_s * 1000)
            body = {"version": step.deploy.version, "by": "drill", "reason": step.words, "until_unix_ms": until}
            await self._deploy(step.deploy.service, body)
        elif isinstance(step, Storm):
            return await self._tell_worker(self._storms[step], "firing")
        elif isinstance(step, SetFlag):
            from remediation.drills.bus import set_flag

            await set_flag(self._at.nats, self._at.token("nats"), step.flag.flag, step.flag.value, step.ttl_s)
        else:
            await self._publish(step)
        return step.words

    def _exhaust(self, step: Freeze | Tighten | Burn) -> str:
        chosen = self._chosen[step]
        if isinstance(step, Burn):
            exhaustion.ignite(chosen.pid)
        elif isinstance(step, Freeze):
            processes.freeze(chosen.pid, chosen.create_time, step.ttl_s)
        else:
            exhaustion.tighten(chosen.pid, chosen.create_time, step.what, step.ttl_s)
        return f"{step.words} ({chosen.name}, pid {chosen.pid})"

    async def _choose(self, step: Freeze | Tighten | Burn) -> Undo:
        chosen = self._chosen[step] = await self._undo_of_process(step)
        return chosen

    async def _undo_of_process(self, step: Freeze | Tighten | Burn) -> Undo:
        if isinstance(step, Burn):
            self._require_here()
            pid, created = exhaustion.lay_fire(step.cores, step.ttl_s)
            return Undo(name="the processors", pid=pid, create_time=created, resource="cpu")
        name, pid = await self._victim(step.victim)
        created = processes.create_time(pid, await self._supervisor())
        if isinstance(step, Freeze):
            return Undo.frozen(name, pid, created)
        limit = exhaustion.limit_of(pid, step.what)
        return Undo(name=name, pid=pid, create_time=created, resource=step.what, limit=limit)

    async def _version(self, service: str) -> str:
        body = await self._get("orchestrator", f"/api/v1/services/{service}/version", audience="orchestrator")
        return _read("orchestrator", lambda answer: str(answer["version"]), body)

    async def _deploy(self, service: str, body: dict[str, Any]) -> None:
        await self._send("PUT", "orchestrator", f"/api/v1/services/{service}/version", "orchestrator", body)

    async def _tell_worker(self, storm: Undo, status: str) -> str:
        began = time.monotonic()
        limit = asyncio.Semaphore(AT_ONCE)

        async def tell(body: dict[str, Any]) -> None:
            async with limit:
                await self._send("POST", "remediation", "/api/v1/webhook/alertmanager", "remediation", body)

        await asyncio.gather(*map(tell, notifications(storm, status)))
        return f"{storm.words}: {status}, accepted in {time.monotonic() - began:.2f} s"

    async def _flag(self, name: str) -> Any:
        from remediation.drills.bus import flag

        return await flag(self._at.nats, self._at.token("nats"), name)

    async def _publish(self, step: Send) -> None:
        from remediation.drills.bus import publish  # nats-py, for who needs it

        await publish(self._at.nats, self._at.token("nats"), step.message)

    async def _victim(self, victim: Victim) -> tuple[str, int]:
        """
        Its name and process id.

        Raises:
            RefusedError: nothing of that name runs, or the stack is not on this machine.
        """
        self._require_here()
        if victim.process:
            pids = await self._pids()
            if victim.process not in pids:
                raise RefusedError(f"no process {victim.process!r} runs; there are {', '.join(sorted(pids))}")
            return victim.process, pids[victim.process]
        body = await self._get("orchestrator", "/api/v1/services", audience="orchestrator")
        ready = _read("orchestrator", lambda answer: records.ready_replicas(answer, victim.service or ""), body)
        if not ready:
            raise RefusedError(f"no replica of {victim.service!r} is ready")
        return ready[0]

    def _require_here(self) -> None:
        if not self._at.orchestrator.startswith(_HERE):
            raise RefusedError(f"processes are broken on this machine only, not by {self._at.orchestrator}")

    async def _supervisor(self) -> int:
        return (await self._pids())["supervisor"]

    async def undo(self, undo: Undo, *, attempts: int = UNDO_ATTEMPTS) -> str:
        """
        Bring back what was; asked again while the stack does not answer. Idempotent.

        Raises:
            DrillError: refused, or no answer after all attempts.
        """
        for attempt in range(attempts):
            try:
                return await self._undo(undo)
            except BrokenAnswerError:
                if attempt + 1 == attempts:
                    raise
            await asyncio.sleep(UNDO_PAUSE_S)  # between attempts at a peer that is down
        raise AssertionError("unreachable")  # pragma: no cover

    async def _undo(self, undo: Undo) -> str:
        if undo.rates:
            await self._send("PUT", "load", "/rate", "load", dict(undo.rates))
            return "load: " + ", ".join(f"{journey} back at {rate:g}/s" for journey, rate in undo.rates.items())
        if undo.version:
            await self._deploy(undo.service, {"version": undo.version, "by": "drill", "reason": "the drill is over"})
            return f"deploy: {undo.version} of {undo.service} is back"
        if undo.alertname:
            return await self._tell_worker(undo, "resolved")
        if undo.resource == "cpu":
            ended = exhaustion.quench(undo.pid, undo.create_time)
            return f"exhaust: {undo.name} are {'free' if ended else 'free already'}"
        if undo.resource:
            given_back = exhaustion.restore(undo.pid, undo.create_time, undo.resource, undo.limit)
            return f"exhaust: {undo.name} {'has its ' + undo.resource + ' back' if given_back else 'has gone'}"
        if undo.name and not undo.pid:
            from remediation.drills.bus import set_flag

            await set_flag(self._at.nats, self._at.token("nats"), undo.name, undo.value)
            return f"flag: {undo.name} is {'unset' if undo.value is None else undo.value} again"
        if undo.pid:
            goes_on = processes.thaw(undo.pid, undo.create_time)
            return f"freeze: {undo.name} {'goes on' if goes_on else 'has gone'} (pid {undo.pid})"
        path = f"/{undo.service}/admin/faults?kind={undo.fault_kind}"
        await self._send("DELETE", "mesh", path, "faults", None)
        return f"fault: {undo.fault_kind} on {undo.service} ended"

    # ── HTTP ────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _headers(self, audience: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._at.token(audience)}"} if audience else {}

    async def _get(
        self, part: str, path: str, params: dict[str, str] | None = None, audience: str | None = None
    ) -> Any:
        return await self._request("GET", part, path, audience, READ_TIMEOUT_S, params=params)

    async def _send(self, method: str, part: str, path: str, audience: str, body: dict[str, Any] | None) -> None:
        await self._request(method, part, path, audience, WRITE_TIMEOUT_S, json_body=body)

    async def _request(
        self,
        method: str,
        part: str,
        path: str,
        audience: str | None,
        timeout_s: float,
        *,
        params: dict[str, str] | None = None,
        json_body: dict[str, Any] | None = None,
    ) -> Any:
        base = getattr(self._at, part)
        where = f"{part} at {base} ({variable(part)})"
        request = self._client.build_request(
            method, base + path, params=params, json=json_body, headers=self._headers(audience), timeout=timeout_s
        )
        try:
            status, raw = await asyncio.wait_for(self._bounded(request), timeout_s)
        except (httpx.HTTPError, TimeoutError) as error:
            raise BrokenAnswerError(f"{where} does not answer: {str(error) or type(error).__name__}") from error
        try:
            answer = json.loads(raw) if raw else None
        except ValueError as error:
            if status < 400:
                raise BrokenAnswerError(f"{where} answered {method} {path} with no JSON: {raw[:80]!r}") from error
            answer = None
        if status < 400:
            return answer
        said = answer.get("error") or answer.get("detail") if isinstance(answer, dict) else None
        message = f"{where} answered {method} {path} with {status}: {said or raw[:200].decode(errors='replace')}"
        # 4xx: the request is wrong. But 404 may be a gateway that has no route yet, 408 and 429 ask for patience,
        # and Prometheus's 422 is a query that could not be executed this time.
        raise RefusedError(message) if status in (400, 401, 403, 405, 413, 415) else BrokenAnswerError(message)

    async def _bounded(self, request: httpx.Request) -> tuple[int, bytes]:
        response = await self._client.send(request, stream=True)
        try:
            raw = bytearray()
            async for chunk in response.aiter_bytes():
                raw += chunk
                if len(raw) > MAX_BODY_BYTES:
                    raise BrokenAnswerError(f"{request.url} answered with more than {MAX_BODY_BYTES} bytes")
            return response.status_code, bytes(raw)
        finally:
            await response.aclose()


def _storm(step: Storm) -> Undo:
    alerts, now = step.alerts, time.time_ns() // 1_000_000
    return Undo(service=alerts.service, alertname=alerts.alertname, count=alerts.count, starts_at_unix_ms=now)


def _read(who: str, reader: Callable[[Any], _T], body: Any) -> _T:
    try:
        return reader(body)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise BrokenAnswerError(f"{who}: cannot read its answer: {type(error).__name__}: {error}") from error
