"""The executor: carries out what the planning core decides, and tells it what happened. Runs on the main thread."""

from __future__ import annotations

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from steersman.errors import NoFreePortError, UnknownServiceError
from steersman.orchestrator import plan
from steersman.orchestrator.controls import Controls
from steersman.orchestrator.gateway import Gateway, Route
from steersman.orchestrator.logs import forget_old_replicas
from steersman.orchestrator.probe import HOST, answers_ok, becomes_ready
from steersman.orchestrator.process import Command, RunningProcess
from steersman.orchestrator.releases import ReleaseFile
from steersman.orchestrator.service import Instance, Phase, Service, ServiceSpec
from steersman.orchestrator.targets import Target, write_targets
from steersman.orchestrator.traffic import effective_weights

log = logging.getLogger("steersman.orchestrator")

READY_POLL_S = 0.1  # a tenth of what a replica needs to start
HEALTH_EVERY_S = 1.0
HEALTH_TIMEOUT_S = 2.0  # an event loop that is busy for this long serves nobody well
TICK_S = 0.25  # back-off and start timeouts are checked this often; all else comes as an event
GATEWAY_WAIT_S = 5.0  # Traefik takes a changed file in 0.2-0.5 s; when it is down, scale-in must still go on
# What Traefik had already picked the replica for when the new configuration came arrives well within this; what has
# arrived, the replica itself finishes after SIGTERM.
IN_FLIGHT_GRACE_S = 0.5
STOP_DEADLINE_S = 12.0  # two more than steersman.runtime.http lets requests finish
SHUTDOWN_DEADLINE_S = 4.0  # the whole stack ends: nobody waits for an answer any more

_TARGETS = (Phase.SERVING, Phase.FAILED)
BuildCommand = Callable[[ServiceSpec, str, int], Command]


@dataclass(slots=True)
class _Replica:
    """What the executor knows of an instance and the planner need not."""

    instance_id: str
    port: int
    spawned: asyncio.Event = field(default_factory=asyncio.Event)
    process: RunningProcess | None = None
    exited: bool = False


@dataclass(frozen=True, slots=True)
class ReplicaProcess:
    name: str
    pid: int
    restarts: int
    started_at_unix_ms: int


class Fleet:
    """
    Args:
        build: makes the command of a replica from its service, as built for it, its id and its port.
        ports: those set aside for replicas.
        targets: the folder of Prometheus's file discovery.
        releases: where it is kept which version was deployed when.
    """

    def __init__(
        self,
        specs: Iterable[ServiceSpec],
        *,
        build: BuildCommand,
        ports: range,
        gateway: Gateway,
        targets: Path,
        releases: ReleaseFile | None = None,
    ) -> None:
        self._services = {spec.name: Service.fresh(spec) for spec in specs}
        self.controls = Controls(self.service, self._change, file=releases)
        for name, version in self.controls.restore([service.spec for service in self._services.values()]).items():
            self._services[name] = replace(self._services[name], version=version)
        self._build = build
        self._ports = ports
        self._next_port = ports.start
        self._gateway = gateway
        self._targets = targets
        self._replicas: dict[str, _Replica] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._routes: dict[str, Route] | None = None
        self._published_targets: dict[str, list[Target]] = {}
        self._closing = False

    # --- what the API asks for ---

    @property
    def names(self) -> list[str]:
        return list(self._services)

    def service(self, name: str) -> Service:
        """
        Raises:
            UnknownServiceError
        """
        if name not in self._services:
            raise UnknownServiceError(f"no service {name!r}; there are {', '.join(self._services) or 'none'}")
        return self._services[name]

    def describe(self, name: str) -> dict[str, Any]:
        """The service as the orchestrator's API shows it."""
        service = self.service(name)
        return {
            "name": name,
            "desired": service.desired,
            "minimum": service.spec.minimum,
            "maximum": service.spec.maximum,
            "ready": len(service.serving),
            "version": service.version,
            "instances": [self._describe(instance) for instance in service.instances],
        }

    def _describe(self, instance: Instance) -> dict[str, Any]:
        replica = self._replicas.get(instance.id)
        process = replica.process if replica else None
        return {
            "id": instance.id,
            "state": instance.phase.state,
            "port": replica.port if replica else None,
            "pid": process.pid if process and not (replica and replica.exited) else None,
            "started_at_unix_ms": process.started_at_unix_ms if process else None,
            "restarts": instance.restarts,
            "version": instance.version,
            "zone": instance.zone,
        }

    def set_desired(self, name: str, desired: int) -> None:
        """
        Raises:
            UnknownServiceError, OutOfBoundsError: nothing changed.
        """
        before = self.service(name)
        self._change(name, plan.set_desired(before, desired))
        if before.desired != desired:
            log.info("%s: desired %d -> %d", name, before.desired, desired)

    def restart(self, name: str, instance_id: str | None, *, started_before_unix_ms: int | None = None) -> None:
        """
        Args:
            started_before_unix_ms: Only those that started before; asking again with the same moment changes nothing.
                With an id too: that one, if it is still there and started before.

        Raises:
            UnknownServiceError, UnknownInstanceError: nothing changed.
        """
        service = self.service(name)
        if started_before_unix_ms is None:
            self._change(name, plan.request_restart(service, instance_id))
        else:
            for instance in service.instances:
                replica = self._replicas.get(instance.id)
                if (
                    instance_id in (None, instance.id)
                    and replica
                    and replica.process
                    and replica.process.started_at_unix_ms < started_before_unix_ms
                ):
                    self._change(name, plan.request_restart_if_live(self.service(name), instance.id))
        log.info("%s: restart of %s requested", name, instance_id or "all in turn")

    def processes(self) -> list[ReplicaProcess]:
        """Every replica that runs, oldest first."""
        found = []
        for service in self._services.values():
            for instance in service.instances:
                replica = self._replicas.get(instance.id)
                if replica and replica.process and not replica.exited:
                    process = replica.process
                    found.append(
                        ReplicaProcess(instance.id, process.pid, instance.restarts, process.started_at_unix_ms)
                    )
        return found

    # --- the life of the fleet ---

    def prepare(self) -> None:
        """Write the gateway's and Prometheus's files, with no replica yet, for those who read them at their start."""
        self._publish()

    async def run(self) -> None:
        """Bring every service to its desired replicas and keep it there, until cancelled or `shut_down`."""
        while not self._closing:
            for name in self._services:
                self._advance(name)
                self.controls.tick(name)
            await asyncio.sleep(TICK_S)

    async def wait_serving(self, *, timeout_s: float) -> list[str]:
        """Until each service has its desired replicas and the gateway uses them; returns the services that have not."""
        lacking = self.names
        try:
            async with asyncio.timeout(timeout_s):
                while lacking := [n for n, s in self._services.items() if len(s.serving) < s.desired]:  # noqa: ASYNC110
                    await asyncio.sleep(READY_POLL_S)
                for name in self._services:
                    lacking.append(name)
                    await self._gateway.wait_with(name, self._urls(name), timeout_s=timeout_s)
                    lacking.remove(name)
        except TimeoutError:
            return lacking
        return []

    async def shut_down(self, *, deadline_s: float = SHUTDOWN_DEADLINE_S) -> None:
        """End every replica at once, without draining. Nothing is started any more."""
        self._closing = True
        running = [replica for replica in self._replicas.values() if not replica.exited]
        await asyncio.gather(*(self._end(replica, deadline_s) for replica in running))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- from decision to deed ---

    def _change(self, name: str, service: Service) -> None:
        self._services[name] = service
        self._advance(name)

    def _advance(self, name: str) -> None:
        if self._closing:
            return
        self._services[name], actions = plan.decide(self._services[name], time.monotonic())
        for action in actions:
            if isinstance(action, plan.Start):
                self._start(self._services[name].spec, action.instance)
        self._publish()  # before anything is stopped
        for action in actions:
            self._carry_out(name, action)
        self._forget(name)

    def _carry_out(self, name: str, action: plan.Action) -> None:
        if isinstance(action, plan.Start):
            return
        replica = self._replicas.get(action.instance_id)
        if replica is None:
            return
        if isinstance(action, plan.Register):
            log.info("%s: ready on port %d", action.instance_id, replica.port)
        elif isinstance(action, plan.Drain):
            log.info("%s: draining (%s)", action.instance_id, action.reason)
            self._spawn(self._drain(name, replica))
        elif isinstance(action, plan.Stop):
            self._spawn(self._end(replica, STOP_DEADLINE_S))
        else:
            log.warning("%s: killed, %s", action.instance_id, action.reason)
            self._spawn(self._end(replica, 0.0))

    def _start(self, spec: ServiceSpec, instance: Instance) -> None:
        try:
            port = self._free_port()
        except NoFreePortError as error:
            log.error("%s: %s", instance.id, error)
            self._spawn(self._report_exit(spec.name, instance.id))
            return
        replica = self._replicas[instance.id] = _Replica(instance.id, port)
        self._spawn(self._attend(spec, replica))

    def _free_port(self) -> int:
        """
        The next port that nothing listens on, going round.

        Not the lowest: the gateway may for a moment still send a dead replica's requests to its port, and they must
        not reach another service.
        """
        taken = {replica.port for replica in self._replicas.values()}
        for step in range(len(self._ports)):
            port = self._ports[(self._next_port - self._ports.start + step) % len(self._ports)]
            if port not in taken and _is_free(port):
                self._next_port = port + 1
                return port
        raise NoFreePortError(f"no free port in {self._ports.start}..{self._ports.stop - 1}")

    async def _attend(self, spec: ServiceSpec, replica: _Replica) -> None:
        """One replica, from its start to its end."""
        try:
            instance = self._services[spec.name].find(replica.instance_id)
            built = spec.built(instance.version, instance.zone) if instance else spec
            command = self._build(built, replica.instance_id, replica.port)
            forget_old_replicas(command.log.parent, spec.name)
            replica.process = await RunningProcess.start(command)
        except OSError as error:
            log.error("%s: cannot start: %s", replica.instance_id, error)
        else:
            replica.spawned.set()
            watcher = asyncio.create_task(self._watch(spec.name, replica))
            code = await replica.process.wait()
            watcher.cancel()
            instance = self._services[spec.name].find(replica.instance_id)
            if instance and instance.phase in (Phase.STARTING, Phase.READY, Phase.SERVING) and not self._closing:
                log.warning("%s: died, exit code %d", replica.instance_id, code)
        replica.exited = True
        replica.spawned.set()
        await self._report_exit(spec.name, replica.instance_id)

    async def _watch(self, name: str, replica: _Replica) -> None:
        if not await becomes_ready(replica.port, "/-/ready", every_s=READY_POLL_S, timeout_s=plan.START_TIMEOUT_S):
            return  # the planner's own clock sees to it
        self._change(name, plan.on_ready(self._services[name], replica.instance_id))
        while True:
            await asyncio.sleep(HEALTH_EVERY_S)
            healthy = await answers_ok(replica.port, "/-/healthy", timeout_s=HEALTH_TIMEOUT_S)
            self._change(name, plan.on_probe(self._services[name], replica.instance_id, healthy))

    async def _report_exit(self, name: str, instance_id: str) -> None:
        self._change(name, plan.on_exit(self._services[name], instance_id, time.monotonic()))

    async def _drain(self, name: str, replica: _Replica) -> None:
        url = _url(replica.port)
        if not await self._gateway.wait_without(name, url, timeout_s=GATEWAY_WAIT_S):
            log.warning("%s: the gateway has not let go of it after %.0f s", replica.instance_id, GATEWAY_WAIT_S)
        await asyncio.sleep(IN_FLIGHT_GRACE_S)
        self._change(name, plan.on_drained(self._services[name], replica.instance_id))

    async def _end(self, replica: _Replica, deadline_s: float) -> None:
        await replica.spawned.wait()
        if replica.process is None or replica.exited:
            return
        if deadline_s <= 0:
            replica.process.kill()
        else:
            await replica.process.stop(deadline_s=deadline_s)

    def _forget(self, name: str) -> None:
        service = self._services[name]
        for instance_id, replica in list(self._replicas.items()):
            if replica.exited and instance_id.rpartition("-")[0] == name and service.find(instance_id) is None:
                del self._replicas[instance_id]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.error("a task of the orchestrator failed", exc_info=error)

    # --- what others read ---

    def _urls(self, name: str) -> tuple[str, ...]:
        return tuple(_url(self._replicas[instance.id].port) for instance in self._services[name].serving)

    def _route(self, name: str) -> Route:
        service = self._services[name]
        weights = effective_weights(self.controls.traffic(name).weights, service.serving_by_zone)
        zones = {
            zone: (weight, tuple(_url(self._replicas[i.id].port) for i in service.serving if i.zone == zone))
            for zone, weight in weights.items()
        }
        return Route(service.spec.public, self._urls(name), zones, self.controls.shedding(name).requests_per_s)

    def _publish(self) -> None:
        routes = {name: self._route(name) for name in self._services}
        if routes != self._routes:
            self._gateway.publish(routes)
            self._routes = routes
        for name, service in self._services.items():
            # What failed and waits stays a target, so that `up` says 0; what drains leaves: its end is no outage.
            shown = [i for i in service.instances if i.phase in _TARGETS and i.id in self._replicas]
            targets = [Target(instance.id, self._replicas[instance.id].port) for instance in shown]
            if self._published_targets.get(name) != targets:
                write_targets(self._targets, name, targets)
                self._published_targets[name] = targets


def _url(port: int) -> str:
    return f"http://{HOST}:{port}"


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the replica's server does
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
