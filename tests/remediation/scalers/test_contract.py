"""The contract of every scaler. A new one adds itself to `scaler`; each has the service `shop`: 2 of 1..6 replicas."""

import time
from collections.abc import Iterator

import docker
import pytest
from container_engine import build_sleeper, running_engine

from remediation.errors import PermanentScalerError, TemporaryScalerError
from remediation.scalers.bounds import MAXIMUM, MINIMUM
from remediation.scalers.containers import NUMBER, PROJECT, SERVICE, DockerScaler
from remediation.scalers.local import LocalScaler
from remediation.scalers.scaler import Replicas

# The client of the docker package leaves the socket of a streamed answer (build, wait) to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

ORCHESTRATOR_TOKEN = "scale-services"


class Engine:
    """A Docker-compatible engine with one image."""

    def __init__(self, url: str, folder) -> None:
        self.url = url
        self.client = docker.DockerClient(base_url=url, version="1.41")
        self.image = build_sleeper(self.client, folder)

    def run(self, service: str, number: int, **labels: str):
        marks = {PROJECT: "demo", SERVICE: service, NUMBER: str(number), **labels}
        return self.client.containers.run(
            self.image,
            detach=True,
            name=f"demo-{service}-{number}",
            network_mode="host",
            labels=marks,
            environment={"COLOUR": "green"},
        )

    def clear(self) -> None:
        for container in self.client.containers.list(all=True):
            container.remove(force=True)


@pytest.fixture(scope="module")
def started_engine(tmp_path_factory) -> Iterator[Engine]:
    with running_engine() as url:
        engine = Engine(url, tmp_path_factory.mktemp("image"))
        yield engine
        engine.client.close()


@pytest.fixture
def engine(started_engine) -> Iterator[Engine]:
    yield started_engine
    started_engine.clear()


@pytest.fixture(params=["local", "docker"])
def scaler(request):
    if request.param == "local":
        request.getfixturevalue("orchestrator").add("shop", desired=2, minimum=1, maximum=6)
        scaler = LocalScaler(request.getfixturevalue("orchestrator").url, ORCHESTRATOR_TOKEN, timeout_s=2.0)
    else:
        engine = request.getfixturevalue("engine")
        for number in (1, 2):
            engine.run("shop", number, **{MINIMUM: "1", MAXIMUM: "6"})
        scaler = DockerScaler(engine.url, "demo")
    yield scaler
    scaler.close()


def test_replicas_are_told_with_their_bounds(scaler):
    assert scaler.get("shop") == Replicas(service="shop", desired=2, ready=2, minimum=1, maximum=6)


def test_desired_is_absolute_and_may_be_set_twice(scaler):
    assert scaler.set_desired("shop", 4).desired == 4
    assert scaler.set_desired("shop", 4).desired == 4
    assert scaler.get("shop").desired == 4


def test_replicas_go_as_they_came(scaler):
    scaler.set_desired("shop", 5)
    assert scaler.set_desired("shop", 1).desired == 1
    assert scaler.get("shop") == Replicas(service="shop", desired=1, ready=1, minimum=1, maximum=6)


def test_services_are_told_by_name(scaler):
    assert "shop" in scaler.services()


@pytest.mark.parametrize("desired", [0, 7])
def test_number_out_of_bounds_is_refused_and_changes_nothing(scaler, desired):
    with pytest.raises(PermanentScalerError, match="out of bounds"):
        scaler.set_desired("shop", desired)
    assert scaler.get("shop").desired == 2


def test_unknown_service_is_a_permanent_error(scaler):
    with pytest.raises(PermanentScalerError, match="nothing"):
        scaler.get("nothing")


def test_name_cannot_reach_another_path(scaler):
    with pytest.raises(PermanentScalerError):
        scaler.set_desired("../services/shop", 5)
    assert scaler.get("shop").desired == 2


def test_orchestrator_that_says_come_again_is_a_temporary_error(orchestrator):
    orchestrator.add("shop", desired=2, minimum=1, maximum=6)
    scaler = LocalScaler(orchestrator.url, ORCHESTRATOR_TOKEN, timeout_s=2.0)
    orchestrator.unavailable = True
    try:
        with pytest.raises(TemporaryScalerError, match="503"):
            scaler.set_desired("shop", 3)
    finally:
        orchestrator.unavailable = False
        scaler.close()


@pytest.mark.parametrize(
    "absent",
    [
        LocalScaler("http://127.0.0.1:1", "x", timeout_s=1.0),
        DockerScaler("tcp://127.0.0.1:1", "x", timeout_s=1.0),
        DockerScaler("unix:///nowhere/engine.sock", "x", timeout_s=1.0),
    ],
    ids=["orchestrator", "engine", "socket"],
)
def test_scaler_that_is_not_there_is_a_temporary_error(absent):
    with pytest.raises(TemporaryScalerError):
        absent.get("shop")
    absent.close()


def test_wrong_token_is_a_permanent_error_that_does_not_tell_the_token(orchestrator):
    orchestrator.add("shop")
    stranger = LocalScaler(orchestrator.url, "a-secret-that-is-wrong")
    with pytest.raises(PermanentScalerError) as error:
        stranger.get("shop")
    assert "a-secret" not in str(error.value)
    stranger.close()


def test_new_container_is_a_copy_under_the_next_free_number(engine):
    for number in (1, 3):
        engine.run("shop", number, **{MAXIMUM: "6"})
    scaler = DockerScaler(engine.url, "demo")
    scaler.set_desired("shop", 3)
    made = engine.client.containers.get("demo-shop-2")
    assert made.labels == {**engine.client.containers.get("demo-shop-1").labels, NUMBER: "2"}
    assert "COLOUR=green" in made.attrs["Config"]["Env"]
    assert made.attrs["HostConfig"]["NetworkMode"] == "host"
    # The highest number goes first.
    scaler.set_desired("shop", 2)
    assert {container.name for container in engine.client.containers.list()} == {"demo-shop-1", "demo-shop-2"}
    scaler.close()


def test_container_that_died_does_not_count(engine):
    first = engine.run("shop", 1, **{MAXIMUM: "6"})
    engine.run("shop", 2, **{MAXIMUM: "6"})
    first.kill(signal="SIGKILL")
    first.wait(condition="not-running")
    scaler = DockerScaler(engine.url, "demo")
    assert scaler.get("shop").desired == 1
    scaler.close()


@pytest.mark.parametrize(
    ("labels", "complaint"),
    [
        ({}, "no label steersman.maximum"),
        ({MAXIMUM: "many"}, "must be from 1 to 100, got 'many'"),
        ({MINIMUM: "0", MAXIMUM: "6"}, "must be from 1 to 100, got '0'"),
    ],
)
def test_service_without_bounds_is_not_scaled(engine, labels, complaint):
    engine.run("shop", 1, **labels)
    scaler = DockerScaler(engine.url, "demo")
    with pytest.raises(PermanentScalerError, match=complaint):
        scaler.set_desired("shop", 2)
    assert len(engine.client.containers.list()) == 1
    scaler.close()


def test_containers_of_another_project_are_not_ours(engine):
    engine.run("shop", 1, **{MAXIMUM: "6"})
    scaler = DockerScaler(engine.url, "another")
    with pytest.raises(PermanentScalerError, match="'another' has no container"):
        scaler.get("shop")
    scaler.close()


def test_restart_replaces_only_what_started_before(engine):
    first = engine.run("shop", 1, **{MAXIMUM: "6"})
    first.reload()
    started = first.attrs["State"]["StartedAt"]
    scaler = DockerScaler(engine.url, "demo")
    scaler.restart("shop", 0)
    first.reload()
    assert first.attrs["State"]["StartedAt"] == started
    scaler.restart("shop", int(time.time() * 1000))
    first.reload()
    again = first.attrs["State"]["StartedAt"]
    assert again > started
    scaler.restart("shop", int((time.time() - 3600) * 1000))
    first.reload()
    assert first.attrs["State"]["StartedAt"] == again
    with pytest.raises(PermanentScalerError, match="has no container"):
        scaler.restart("nothing", 0)
    scaler.close()


def test_containers_that_are_not_ours_to_scale_are_no_services(engine):
    engine.run("shop", 1, **{MAXIMUM: "6"})
    engine.run("database", 1)
    scaler = DockerScaler(engine.url, "demo")
    assert scaler.services() == ["shop"]
    scaler.close()
