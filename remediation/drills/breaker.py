"""The edge of a drill that breaks things: carries out injections and takes them back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from remediation.drills import exhaustion, processes, records
from remediation.drills.endpoints import Endpoints
from remediation.drills.errors import BrokenAnswerError, RefusedError
from remediation.drills.injection import Victim
from remediation.drills.seams import read
from remediation.drills.stack import Stack
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

UNDO_ATTEMPTS = 8  # with UNDO_PAUSE_S: as long as it takes the stack to restart what was killed
UNDO_PAUSE_S = 1.0

_HERE = ("http://127.0.0.1:", "http://localhost:", "http://[::1]:")


class Breaker(Stack):
    """One instance for one drill."""

    def __init__(self, endpoints: Endpoints) -> None:
        super().__init__(endpoints)
        self._chosen: dict[Freeze | Tighten | Burn, Undo] = {}  # the process of each
        self._storms: dict[Storm, Undo] = {}

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
        return read("orchestrator", lambda answer: str(answer["version"]), body)

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
        ready = read("orchestrator", lambda answer: records.ready_replicas(answer, victim.service or ""), body)
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


def _storm(step: Storm) -> Undo:
    alerts, now = step.alerts, time.time_ns() // 1_000_000
    return Undo(
        service=alerts.service,
        alertname=alerts.alertname,
        count=alerts.count,
        labels=alerts.labels,
        starts_at_unix_ms=now,
    )
