"""The edge of a drill that looks: reads the running stack over its HTTP APIs. The seams are in docs/architecture.md."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from remediation.drills import records
from remediation.drills.charts import series, step_s
from remediation.drills.definition import Chart
from remediation.drills.errors import BrokenAnswerError, DrillError, RefusedError, StackUnreachableError
from remediation.drills.observation import Alert, Observation, Remediation, Service
from remediation.drills.report import Drawn
from remediation.drills.seams import Seams, read

REMEDIATIONS_LIMIT = 50  # of all services; a drill begins a handful

_T = TypeVar("_T")


class Stack(Seams):
    async def check(self) -> None:
        """
        Raises:
            StackUnreachableError: a part that every drill needs does not answer, or a token is missing.
        """
        for audience in (*(["orchestrator"] if self._at.supervised else []), "load", "faults"):
            self._at.token(audience)
        seen = await self.observe([])
        if seen.troubles:
            raise StackUnreachableError(f"{seen.troubles[0]}; {self._at.hint}?")
        try:
            await self._rates()
        except BrokenAnswerError as error:
            raise StackUnreachableError(f"{error}; {self._at.hint}?") from error

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
        return read("Prometheus API", records.samples, body)

    async def processes(self) -> list[dict[str, Any]]:
        """What the supervisor keeps alive: name, pid, rss_bytes, cpu_percent, …"""
        body = await self._get("orchestrator", "/api/v1/processes", audience="orchestrator")
        return read("orchestrator", lambda answer: list(answer["processes"]), body)

    async def drawn(self, charts: Sequence[Chart], *, start_s: float, end_s: float, zero_s: float) -> list[Drawn]:
        """
        The charts between two Unix times; `zero_s` is the time that counts as 0. One that cannot be read is left out.
        """
        found = []
        for chart in charts:
            range_ = {"start": str(start_s), "end": str(end_s), "step": str(step_s(end_s - start_s))}
            try:
                body = await self._get("prometheus", "/api/v1/query_range", {"query": chart.promql, **range_})
                lines = read("Prometheus API", lambda answer: series(answer, zero_s), body)
            except DrillError:
                continue
            found.append(Drawn.model_validate({"title": chart.title, "unit": chart.unit, "series": lines}))
        return found

    async def replicas(self) -> dict[str, int]:
        """The process ids of all running replicas, by instance."""
        body = await self._get("orchestrator", "/api/v1/services", audience="orchestrator")
        return read("orchestrator", records.replicas, body)

    async def _alerts(self) -> tuple[Alert, ...]:
        return read("Prometheus API", records.alerts, await self._get("prometheus", "/api/v1/alerts"))

    async def _remediations(self) -> tuple[Remediation, ...]:
        body = await self._get("remediation", "/api/v1/remediations", {"limit": str(REMEDIATIONS_LIMIT)})
        return read("worker", records.remediations, body)

    async def _services(self) -> dict[str, Service]:
        if not self._at.supervised:
            return read("worker", records.services, await self._get("remediation", "/api/v1/services"))
        body = await self._get("orchestrator", "/api/v1/services", audience="orchestrator")
        return read("orchestrator", records.services, body)

    async def _pids(self) -> dict[str, int]:
        body = await self._get("orchestrator", "/api/v1/processes", audience="orchestrator")
        return read("orchestrator", records.processes, body)

    async def _rates(self) -> dict[str, float]:
        return read("load generator", records.rates, await self._get("load", "/rate", audience="load"))
