"""The edge of a drill that breaks things: carries out injections and takes them back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from remediation.drills import exhaustion, processes, records
from remediation.drills.disturbances import (
    Burn,
    Disturbance,
    Freeze,
    Kill,
    Send,
    SetFault,
    SetFlag,
    SetLoad,
    SetVersion,
    Storm,
    Tighten,
)
from remediation.drills.endpoints import Endpoints
from remediation.drills.errors import BrokenAnswerError, RefusedError
from remediation.drills.injection import Victim
from remediation.drills.seams import read
from remediation.drills.stack import Stack
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

    async def undo_of(self, disturbances: Sequence[Disturbance]) -> list[Undo]:
        """
        What brings back the state of now, to be kept safe before anything is broken. Call `inject` with each of them
        next: a process that is to be frozen is chosen here.

        Raises:
            DrillError: the load generator does not say its rates; there is no such process, or it is not ours.
        """
        faults = [one.fault for one in disturbances if isinstance(one, SetFault)]
        undo = [Undo.fault(fault.service, fault.kind) for fault in faults]
        for disturbance in disturbances:
            match disturbance:
                case Freeze() | Tighten() | Burn():
                    undo.append(self._chosen.get(disturbance) or await self._choose(disturbance))
                case SetVersion():
                    service = disturbance.deploy.service
                    undo.append(Undo(service=service, version=await self._version(service)))
                case Storm():
                    undo.append(self._storms.setdefault(disturbance, _storm(disturbance)))
                case SetFlag():
                    undo.append(Undo(name=disturbance.flag.flag, value=await self._flag(disturbance.flag.flag)))
                case _:
                    pass
        loads = [one for one in disturbances if isinstance(one, SetLoad)]
        if loads:
            rates = await self._rates()
            missing = [one.journey for one in loads if one.journey not in rates]
            if missing:
                raise BrokenAnswerError(f"load generator: GET /rate names {sorted(rates)}, not {missing}")
            undo.append(Undo.load({one.journey: rates[one.journey] for one in loads}))
        return undo

    async def inject(self, disturbance: Disturbance) -> str:
        """Carry out one disturbance; the answer tells it in words."""
        if isinstance(disturbance, SetLoad):
            await self._send(
                "PUT", "load", "/rate", "load", {disturbance.journey: disturbance.rate, "ttl_s": disturbance.ttl_s}
            )
        elif isinstance(disturbance, SetFault):
            fault = disturbance.fault.model_dump(exclude_none=True, exclude={"service"})
            path = f"/{disturbance.fault.service}/admin/faults"
            await self._send("PUT", "mesh", path, "faults", {**fault, "ttl_s": disturbance.ttl_s})
        elif isinstance(disturbance, Kill):
            name, pid = await self._victim(disturbance.victim)
            processes.kill(pid, await self._supervisor())
            return f"{disturbance.words} ({name}, pid {pid})"
        elif isinstance(disturbance, Freeze | Tighten | Burn):
            return self._exhaust(disturbance)
        elif isinstance(disturbance, SetVersion):
            until = time.time_ns() // 1_000_000 + round(disturbance.ttl_s * 1000)
            body = {
                "version": disturbance.deploy.version,
                "by": "drill",
                "reason": disturbance.words,
                "until_unix_ms": until,
            }
            await self._deploy(disturbance.deploy.service, body)
        elif isinstance(disturbance, Storm):
            return await self._tell_worker(self._storms[disturbance], "firing")
        elif isinstance(disturbance, SetFlag):
            from remediation.drills.bus import set_flag

            await set_flag(
                self._at.nats, self._at.token("nats"), disturbance.flag.flag, disturbance.flag.value, disturbance.ttl_s
            )
        else:
            await self._publish(disturbance)
        return disturbance.words

    def _exhaust(self, disturbance: Freeze | Tighten | Burn) -> str:
        chosen = self._chosen[disturbance]
        if isinstance(disturbance, Burn):
            exhaustion.ignite(chosen.pid)
        elif isinstance(disturbance, Freeze):
            processes.freeze(chosen.pid, chosen.create_time, disturbance.ttl_s)
        else:
            exhaustion.tighten(chosen.pid, chosen.create_time, disturbance.what, disturbance.ttl_s)
        return f"{disturbance.words} ({chosen.name}, pid {chosen.pid})"

    async def _choose(self, disturbance: Freeze | Tighten | Burn) -> Undo:
        chosen = self._chosen[disturbance] = await self._undo_of_process(disturbance)
        return chosen

    async def _undo_of_process(self, disturbance: Freeze | Tighten | Burn) -> Undo:
        if isinstance(disturbance, Burn):
            self._require_here()
            pid, created = exhaustion.lay_fire(disturbance.cores, disturbance.ttl_s)
            return Undo(name="the processors", pid=pid, create_time=created, resource="cpu")
        name, pid = await self._victim(disturbance.victim)
        created = processes.create_time(pid, await self._supervisor())
        if isinstance(disturbance, Freeze):
            return Undo.frozen(name, pid, created)
        limit = exhaustion.limit_of(pid, disturbance.what)
        return Undo(name=name, pid=pid, create_time=created, resource=disturbance.what, limit=limit)

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

    async def _publish(self, disturbance: Send) -> None:
        from remediation.drills.bus import publish  # nats-py, for who needs it

        await publish(self._at.nats, self._at.token("nats"), disturbance.message)

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


def _storm(disturbance: Storm) -> Undo:
    alerts, now = disturbance.alerts, time.time_ns() // 1_000_000
    return Undo(
        service=alerts.service,
        alertname=alerts.alertname,
        count=alerts.count,
        labels=alerts.labels,
        starts_at_unix_ms=now,
    )
