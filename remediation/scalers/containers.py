"""
Services of Docker Compose, and plain containers that carry the same labels, through the Docker Engine's API.

A service is the set of containers with `com.docker.compose.project` and `com.docker.compose.service`. A new replica is
a copy of the one with the lowest number, under the next free number, as `docker compose up --scale` makes it; the one
with the highest number goes first. Docker keeps no desired number, so the containers that live are the desired ones:
each change is done when `set_desired` returns, and an interrupted one is finished by asking again.

Bounds are labels of the service, `steersman.minimum` and `steersman.maximum`. A service without a maximum is not ours
to scale. Source: docs.docker.com/reference/api/engine, versions 1.41 to 1.52.
"""

from __future__ import annotations

import datetime as dt
import re
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import docker
from docker.errors import APIError, DockerException, NotFound
from requests.exceptions import RequestException

from remediation.errors import PermanentScalerError, ScalerError, TemporaryScalerError
from remediation.scalers.bounds import MAXIMUM, Bounds, marked_bounds, require_within
from remediation.scalers.scaler import Replicas

PROJECT = "com.docker.compose.project"
SERVICE = "com.docker.compose.service"
NUMBER = "com.docker.compose.container-number"
TIMEOUT_S = 30.0  # longer than a container may take to stop; the engine answers anything else in milliseconds
STOP_WITHIN_S = 10  # Docker's own default; the shop finishes what it has within 3 s
READY_WITHIN_S = 60.0
POLL_S = 0.2
HIGHEST = 100  # replicas on one engine; a label beyond this is a mistake
_NAME = re.compile(r"[a-zA-Z0-9._-]{1,255}")  # as the Compose specification has it
_LIVE = {"created", "running", "restarting", "paused"}
# What the engine made up for the one container, and must make up anew for the other.
_OWN_CONFIG = ("Hostname", "Domainname", "MacAddress")
_OWN_HOST_CONFIG = ("ContainerIDFile",)


class DockerScaler:
    """
    Args:
        base_url: `unix:///var/run/docker.sock`, or `tcp://socket-proxy:2375`, which need allow no more than to list,
            inspect, create, start, stop, restart and remove containers, and to be asked for its version.
        project: The Compose project.
    """

    surges = False

    def __init__(self, base_url: str, project: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._base_url = base_url
        self._project = project
        self._timeout_s = int(timeout_s)
        self._client: docker.DockerClient | None = None
        self._connecting = threading.Lock()

    @property
    def _docker(self) -> docker.DockerClient:
        """
        Asks the engine for its version when it is first of use: Docker takes none below 1.44 from its 29 on, and
        podman 4 knows none above 1.41.
        """
        with self._connecting:
            if self._client is None:
                self._client = docker.DockerClient(base_url=self._base_url, timeout=self._timeout_s, version="auto")
            return self._client

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    def get(self, service: str) -> Replicas:
        try:
            return self._replicas(service, self._containers(service))
        except (DockerException, RequestException) as error:
            raise self._translated(service, error) from error

    def services(self) -> list[str]:
        """Those whose containers have a maximum: what is not ours to scale does not count."""
        try:
            found = self._docker.api.containers(filters={"label": [f"{PROJECT}={self._project}", MAXIMUM]})
            return sorted({container["Labels"][SERVICE] for container in found if SERVICE in container["Labels"]})
        except (DockerException, RequestException) as error:
            raise self._translated("services", error) from error

    def set_desired(self, service: str, desired: int) -> Replicas:
        try:
            containers = self._containers(service)
            now = self._replicas(service, containers)
            require_within(service, desired, Bounds(now.minimum, now.maximum))
            if desired > now.desired:
                self._add(containers, desired - now.desired)
            elif desired < now.desired:
                self._remove(containers[desired:])
            return self._replicas(service, self._containers(service))
        except (DockerException, RequestException) as error:
            raise self._translated(service, error) from error

    def restart(self, service: str, started_before_unix_ms: int, replica: str | None = None) -> None:
        """One after the other, each ready before the next; a service of one replica is away meanwhile."""
        try:
            containers = self._containers(service)
            self._replicas(service, containers)  # it exists, and is ours
            for container in containers:
                named = replica is None or replica in _names(service, container)
                if named and _started_unix_ms(container) < started_before_unix_ms:
                    within_s = container["Config"].get("StopTimeout") or STOP_WITHIN_S
                    self._docker.api.restart(container["Id"], timeout=within_s)
                    self._wait_ready(container["Id"])
        except (DockerException, RequestException) as error:
            raise self._translated(service, error) from error

    def _wait_ready(self, container_id: str) -> None:
        end_s = time.monotonic() + READY_WITHIN_S
        while not _is_ready(self._docker.api.inspect_container(container_id)):
            if time.monotonic() > end_s:
                raise TemporaryScalerError(f"{container_id[:12]} is not ready {READY_WITHIN_S:g} s after its restart")
            time.sleep(POLL_S)

    def _containers(self, service: str) -> list[dict[str, Any]]:
        """What lives of the service, as the engine inspects it, by number."""
        if not _NAME.fullmatch(service):  # an engine may take a filter for nothing as one for anything
            raise PermanentScalerError(f"{service[:120]!r} is no name of a service")
        labels = [f"{PROJECT}={self._project}", f"{SERVICE}={service}"]
        found = []
        for listed in self._docker.api.containers(all=True, filters={"label": labels}):
            try:
                inspected = self._docker.api.inspect_container(listed["Id"])
            except NotFound:
                continue  # removed meanwhile
            if inspected["State"]["Status"] in _LIVE:
                found.append(inspected)
        return sorted(found, key=_number)

    def _replicas(self, service: str, containers: Sequence[dict[str, Any]]) -> Replicas:
        if not containers:
            raise PermanentScalerError(f"the project {self._project!r} has no container of a service {service!r}")
        bounds = marked_bounds(service, containers[0]["Config"]["Labels"], kind="label", highest=HIGHEST)
        return Replicas(
            service=service,
            desired=len(containers),
            ready=sum(map(_is_ready, containers)),
            minimum=bounds.minimum,
            maximum=bounds.maximum,
        )

    def _add(self, containers: Sequence[dict[str, Any]], count: int) -> None:
        model = containers[0]
        taken = {_number(container) for container in containers}
        numbers = [number for number in range(1, HIGHEST + len(taken) + 1) if number not in taken][:count]
        with ThreadPoolExecutor(max_workers=count) as pool:
            list(pool.map(lambda number: self._start_copy(model, number), numbers))

    def _start_copy(self, model: dict[str, Any], number: int) -> None:
        labels = model["Config"]["Labels"]
        name = f"{self._project}-{labels[SERVICE]}-{number}"
        try:
            made = self._docker.api.create_container_from_config(_copied(model, number), name)
        except APIError as error:
            if error.status_code != 409:
                raise
            return  # the name is taken: another worker, or an interrupted try, has made it
        networks = list(model["NetworkSettings"].get("Networks") or {})
        for network in networks[1:]:  # the engine takes one at creation
            self._docker.api.connect_container_to_network(made["Id"], network, aliases=[labels[SERVICE]])
        self._docker.api.start(made["Id"])

    def _remove(self, containers: Sequence[dict[str, Any]]) -> None:
        with ThreadPoolExecutor(max_workers=max(1, len(containers))) as pool:
            list(pool.map(self._stop_and_remove, containers))

    def _stop_and_remove(self, container: dict[str, Any]) -> None:
        try:
            self._docker.api.stop(container["Id"], timeout=container["Config"].get("StopTimeout") or STOP_WITHIN_S)
            self._docker.api.remove_container(container["Id"], v=True)
        except NotFound:
            pass  # gone already, which is what was wanted

    def _translated(self, service: str, error: Exception) -> ScalerError:
        where = f"{self._base_url}: {service}"
        if isinstance(error, APIError) and error.status_code is not None and 400 <= error.status_code < 500:
            return PermanentScalerError(f"{where}: status {error.status_code}: {error.explanation}")
        return TemporaryScalerError(f"{where}: {error}")


def _number(container: dict[str, Any]) -> int:
    text = (container["Config"].get("Labels") or {}).get(NUMBER, "")
    return int(text) if text.isdecimal() else 1


def _names(service: str, container: dict[str, Any]) -> set[str]:
    """What telemetry may call it: its name, its id, its host's name, and what our services make of that."""
    host = container["Config"].get("Hostname") or container["Id"][:12]
    return {container["Name"].lstrip("/"), container["Id"], container["Id"][:12], host, f"{service}-{host}"}


def _is_ready(container: dict[str, Any]) -> bool:
    state = container["State"]
    health = (state.get("Health") or {}).get("Status") or "none"
    return bool(state["Status"] == "running" and health in ("none", "healthy"))


def _started_unix_ms(container: dict[str, Any]) -> int:
    # RFC 3339 with nanoseconds, which fromisoformat does not take.
    text = re.sub(r"(\.\d{6})\d*", r"\1", container["State"]["StartedAt"])
    return int(dt.datetime.fromisoformat(text).timestamp() * 1000)


def _copied(model: dict[str, Any], number: int) -> dict[str, Any]:
    """
    The request that makes another container like `model`.

    Raises:
        PermanentScalerError: two of them cannot stand side by side.
    """
    host = {key: value for key, value in model["HostConfig"].items() if key not in _OWN_HOST_CONFIG}
    for limit in host.get("Ulimits") or []:  # podman's engine tells them as RLIMIT_NOFILE, and takes nofile
        limit["Name"] = limit["Name"].removeprefix("RLIMIT_").lower()
    published = [
        binding["HostPort"]
        for bindings in (host.get("PortBindings") or {}).values()
        for binding in bindings or []
        if binding.get("HostPort") not in (None, "", "0")
    ]
    if published:
        raise PermanentScalerError(
            f"{model['Name'].lstrip('/')} publishes port {published[0]} of the host, which a second replica cannot"
        )
    config = {key: value for key, value in model["Config"].items() if key not in _OWN_CONFIG}
    config["Labels"] = {**model["Config"]["Labels"], NUMBER: str(number)}
    networks = list(model["NetworkSettings"].get("Networks") or {})
    attached = (
        {networks[0]: {"Aliases": [config["Labels"][SERVICE]]}}
        if networks and not str(host.get("NetworkMode", "")).startswith(("host", "none"))
        else {}
    )
    return {**config, "HostConfig": host, "NetworkingConfig": {"EndpointsConfig": attached}}
