"""The contract of every scaler. A new one adds itself to `scaler`; each has the service `shop`: 2 of 1..6 replicas."""

import pytest

from remediation.errors import PermanentScalerError, TemporaryScalerError
from remediation.scalers.local import LocalScaler
from remediation.scalers.scaler import Replicas

ORCHESTRATOR_TOKEN = "scale-services"


@pytest.fixture(params=["local"])
def scaler(request, orchestrator):
    assert request.param == "local"
    orchestrator.add("shop", desired=2, minimum=1, maximum=6)
    scaler = LocalScaler(orchestrator.url, ORCHESTRATOR_TOKEN, timeout_s=2.0)
    yield scaler
    scaler.close()


def test_replicas_are_told_with_their_bounds(scaler):
    assert scaler.get("shop") == Replicas(service="shop", desired=2, ready=2, minimum=1, maximum=6)


def test_desired_is_absolute_and_may_be_set_twice(scaler):
    assert scaler.set_desired("shop", 4).desired == 4
    assert scaler.set_desired("shop", 4).desired == 4
    assert scaler.get("shop").desired == 4


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


def test_scaler_that_says_come_again_is_a_temporary_error(scaler, orchestrator):
    orchestrator.unavailable = True
    try:
        with pytest.raises(TemporaryScalerError, match="503"):
            scaler.set_desired("shop", 3)
    finally:
        orchestrator.unavailable = False


def test_scaler_that_is_not_there_is_a_temporary_error():
    absent = LocalScaler("http://127.0.0.1:1", "x", timeout_s=1.0)
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
