"""What is Docker's own, on a real engine; the contract is in test_contract.py."""

import pytest

from remediation.errors import PermanentScalerError, TemporaryScalerError
from remediation.scalers.bounds import MAXIMUM, MINIMUM
from remediation.scalers.containers import NUMBER, DockerScaler

# The client of the docker package leaves the socket of a streamed answer (build, wait) to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def test_socket_that_is_not_there_is_a_temporary_error():
    absent = DockerScaler("unix:///nowhere/engine.sock", "x", timeout_s=1.0)
    with pytest.raises(TemporaryScalerError, match=r"engine\.sock"):
        absent.get("shop")
    absent.close()


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


def test_containers_that_are_not_ours_to_scale_are_no_services(engine):
    engine.run("shop", 1, **{MAXIMUM: "6"})
    engine.run("database", 1)
    scaler = DockerScaler(engine.url, "demo")
    assert scaler.services() == ["shop"]
    scaler.close()
