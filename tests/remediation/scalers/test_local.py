"""What is the local orchestrator's own, by a stand-in that misbehaves; the contract is in test_contract.py."""

import pytest

from remediation.errors import PermanentScalerError, TemporaryScalerError
from remediation.scalers.local import LocalScaler

TOKEN = "scale-services"


def test_orchestrator_that_says_come_again_is_a_temporary_error(orchestrator):
    orchestrator.add("shop", desired=2, minimum=1, maximum=6)
    scaler = LocalScaler(orchestrator.url, TOKEN, timeout_s=2.0)
    orchestrator.unavailable = True
    try:
        with pytest.raises(TemporaryScalerError, match="503"):
            scaler.set_desired("shop", 3)
    finally:
        orchestrator.unavailable = False
        scaler.close()


def test_wrong_token_is_a_permanent_error_that_does_not_tell_the_token(orchestrator):
    orchestrator.add("shop")
    stranger = LocalScaler(orchestrator.url, "a-secret-that-is-wrong")
    with pytest.raises(PermanentScalerError) as error:
        stranger.get("shop")
    assert "a-secret" not in str(error.value)
    stranger.close()
