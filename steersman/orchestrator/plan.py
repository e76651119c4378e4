"""
The planning core: what happened goes in, what to do comes out. No I/O; `now_s` is any steady clock in seconds.

Events (`on_…`, `set_desired`, `request_restart`) return the service as it then is; `decide` moves it one step on and
says what the executor must do. Calling `decide` again without an event or time in between decides nothing more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from steersman.errors import OutOfBoundsError, UnknownInstanceError
from steersman.orchestrator import backoff
from steersman.orchestrator.service import Instance, Phase, Service

# Six replicas that import at once on two cores that others use too have been seen to need 15 s.
START_TIMEOUT_S = 40.0
# Kubernetes' default failureThreshold: one lost probe is noise, three in a row are not.
FAILED_PROBES_TO_REPLACE = 3

_LIVE = (Phase.STARTING, Phase.READY, Phase.SERVING)


@dataclass(frozen=True, slots=True)
class Start:
    instance: Instance


@dataclass(frozen=True, slots=True)
class Register:
    """Let the gateway send it requests."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Drain:
    """Take it from the gateway and report `on_drained` once nothing new can reach it."""

    instance_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Ask it to end, and see that it does."""

    instance_id: str


@dataclass(frozen=True, slots=True)
class Kill:
    """End it now; it is off the gateway already."""

    instance_id: str
    reason: str


Action = Start | Register | Drain | Stop | Kill


class Decision(NamedTuple):
    service: Service
    actions: tuple[Action, ...]


def set_desired(service: Service, desired: int) -> Service:
    """
    Raises:
        OutOfBoundsError: outside minimum..maximum, both inclusive.
    """
    spec = service.spec
    if not spec.minimum <= desired <= spec.maximum:
        raise OutOfBoundsError(f"desired {desired} of {spec.name} is outside {spec.minimum}..{spec.maximum}")
    return replace(service, desired=desired)


def request_restart(service: Service, instance_id: str | None) -> Service:
    """
    Mark one live instance, or all with None, to be replaced: the replacement serves before the old one drains.

    Raises:
        UnknownInstanceError: no live instance of that id.
    """
    chosen = [i for i in service.instances if i.phase in _LIVE and instance_id in (None, i.id)]
    if instance_id is not None and not chosen:
        raise UnknownInstanceError(f"{service.spec.name} has no live instance {instance_id!r}")
    return _with(service, (replace(instance, restart_requested=True) for instance in chosen))


def request_restart_if_live(service: Service, instance_id: str) -> Service:
    instance = service.find(instance_id)
    return service if instance is None or instance.phase not in _LIVE else request_restart(service, instance_id)


def deploy(service: Service, version: str) -> Service:
    """
    Start `version` from now on, and replace in turn whatever live instance is of another. Those of `version` stay, also
    if they were to be replaced by what is taken back now.

    Raises:
        OutOfBoundsError: there is no such version.
    """
    if version not in service.spec.versions:
        known = ", ".join(service.spec.versions) or "none"
        raise OutOfBoundsError(f"{service.spec.name} has no version {version!r}; there are: {known}")
    service = replace(service, version=version)
    live = [instance for instance in service.instances if instance.phase in _LIVE]
    return _with(service, (replace(one, restart_requested=one.version != version) for one in live))


def on_ready(service: Service, instance_id: str) -> Service:
    instance = service.find(instance_id)
    if instance is None or instance.phase is not Phase.STARTING:
        return service
    return _with(service, [replace(instance, phase=Phase.READY)])


def on_probe(service: Service, instance_id: str, healthy: bool) -> Service:
    instance = service.find(instance_id)
    if instance is None or instance.phase is not Phase.SERVING:
        return service
    return _with(service, [replace(instance, failed_probes=0 if healthy else instance.failed_probes + 1)])


def on_drained(service: Service, instance_id: str) -> Service:
    """The executor knows that the gateway has let go of it. `decide` answers with `Stop`."""
    instance = service.find(instance_id)
    if instance is None or instance.phase is not Phase.DRAINING:
        return service
    return _with(service, [replace(instance, phase=Phase.DRAINED)])


def on_exit(service: Service, instance_id: str, now_s: float) -> Service:
    """Its process is gone: as asked, and it leaves the list; or not, and it has failed."""
    instance = service.find(instance_id)
    if instance is None or instance.phase is Phase.FAILED:
        return service
    if instance.phase in _LIVE:
        return _with(service, [_failed(instance, now_s)])
    return _without(service, instance)


def decide(service: Service, now_s: float) -> Decision:
    """A step towards `desired`: end what is lost, register what is ready, drain what is too many, start what lacks."""
    actions: list[Action] = []
    for step in (_give_up, _register, _stop_drained, _scale_in, _retire, _scale_out):
        service = step(service, now_s, actions)
    return Decision(service, tuple(actions))


def _give_up(service: Service, now_s: float, actions: list[Action]) -> Service:
    for instance in service.instances:
        if instance.phase is Phase.STARTING and now_s - instance.started_s > START_TIMEOUT_S:
            actions.append(Kill(instance.id, f"not ready after {START_TIMEOUT_S:.0f} s"))
        elif instance.phase is Phase.SERVING and instance.failed_probes >= FAILED_PROBES_TO_REPLACE:
            actions.append(Kill(instance.id, f"{instance.failed_probes} health probes failed in a row"))
        else:
            continue
        service = _with(service, [_failed(instance, now_s)])
    return service


def _register(service: Service, _now_s: float, actions: list[Action]) -> Service:
    ready = [instance for instance in service.instances if instance.phase is Phase.READY]
    actions.extend(Register(instance.id) for instance in ready)
    return _with(service, (replace(instance, phase=Phase.SERVING) for instance in ready))


def _stop_drained(service: Service, _now_s: float, actions: list[Action]) -> Service:
    drained = [i for i in service.instances if i.phase is Phase.DRAINED]
    actions.extend(Stop(instance.id) for instance in drained)
    return _with(service, (replace(instance, phase=Phase.STOPPING) for instance in drained))


def _wanted(service: Service) -> int:
    """Places to fill: one more than desired while something waits to be replaced, so that capacity never falls."""
    return service.desired + any(i.restart_requested and i.phase in _LIVE for i in service.instances)


def _scale_in(service: Service, _now_s: float, actions: list[Action]) -> Service:
    """What failed goes first, then what is not serving yet, then the sickest, then the newest."""
    places = [i for i in service.instances if i.phase in _LIVE or i.phase is Phase.FAILED]
    order = sorted(places, key=lambda i: (_LOSS[i.phase], -i.failed_probes, not i.restart_requested, -i.number))
    for instance in order[: max(0, len(places) - _wanted(service))]:
        service = _let_go(service, instance, "scale in", actions)
    return service


# How much is lost by letting go of an instance in each phase.
_LOSS = {Phase.FAILED: 0, Phase.STARTING: 1, Phase.READY: 2, Phase.SERVING: 3}


def _retire(service: Service, _now_s: float, actions: list[Action]) -> Service:
    """Drain what asked for a restart, oldest first, as far as others serve in its place."""
    spare = len(service.serving) - service.desired
    for instance in [i for i in service.serving if i.restart_requested][: max(0, spare)]:
        service = _let_go(service, instance, "restart", actions)
    # Not serving yet: nothing is lost by starting it anew.
    for instance in [i for i in service.instances if i.restart_requested and i.phase is Phase.STARTING]:
        service = _let_go(service, instance, "restart", actions)
    return service


def _scale_out(service: Service, now_s: float, actions: list[Action]) -> Service:
    for dead in [i for i in service.instances if i.phase is Phase.FAILED and i.retry_at_s <= now_s]:
        service = _start(_without(service, dead), now_s, actions, after=dead)
    occupied = sum(i.phase in _LIVE or i.phase is Phase.FAILED for i in service.instances)
    for _ in range(_wanted(service) - occupied):
        service = _start(service, now_s, actions, after=None)
    return service


def _start(service: Service, now_s: float, actions: list[Action], *, after: Instance | None) -> Service:
    instance = Instance(
        number=service.next_number,
        service=service.spec.name,
        phase=Phase.STARTING,
        started_s=now_s,
        version=service.version,
        zone=_emptiest_zone(service),
        restarts=after.restarts + 1 if after else 0,
        early_deaths=after.early_deaths if after else 0,
    )
    actions.append(Start(instance))
    return replace(service, instances=(*service.instances, instance), next_number=service.next_number + 1)


def _emptiest_zone(service: Service) -> str:
    """The first of those with the fewest places taken; empty if the service knows no zones."""
    taken = [i.zone for i in service.instances if i.phase in _LIVE or i.phase is Phase.FAILED]
    return min(service.spec.zones, key=taken.count, default="")


def _let_go(service: Service, instance: Instance, reason: str, actions: list[Action]) -> Service:
    if instance.phase is Phase.FAILED:
        return _without(service, instance)
    if instance.phase is Phase.SERVING:
        actions.append(Drain(instance.id, reason))
        return _with(service, [replace(instance, phase=Phase.DRAINING)])
    actions.append(Stop(instance.id))
    return _with(service, [replace(instance, phase=Phase.STOPPING)])


def _failed(instance: Instance, now_s: float) -> Instance:
    deaths = backoff.early_deaths(instance.early_deaths, now_s - instance.started_s)
    retry_at_s = now_s + backoff.delay_s(deaths)
    return replace(instance, phase=Phase.FAILED, early_deaths=deaths, retry_at_s=retry_at_s, restart_requested=False)


def _with(service: Service, changed: Iterable[Instance]) -> Service:
    by_number = {instance.number: instance for instance in changed}
    if not by_number:
        return service
    return replace(service, instances=tuple(by_number.get(i.number, i) for i in service.instances))


def _without(service: Service, gone: Instance) -> Service:
    return replace(service, instances=tuple(i for i in service.instances if i.number != gone.number))
