"""
How the worker reaches AWS, and what its refusals mean.

Region and credentials are found by boto3's own chain (environment, profile, role of the task or instance); none of them
is in an argument, a log or an error of ours. Which rights the role needs is in docs/scalers.md.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from boto3.session import Session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
)
from botocore.parsers import ResponseParserError

from remediation.errors import PermanentScalerError, ScalerError, SettingsError, TemporaryScalerError

# botocore's standard mode tries throttled, failed and unanswered requests again, with jittered waits of at most 20 s in
# its own design; two more tries keep that to about 3 s. All of our writes bear repetition.
_CONFIG = Config(
    connect_timeout=2.0,
    read_timeout=5.0,
    retries={"mode": "standard", "total_max_attempts": 3},
    user_agent_extra="steersman",
)
# Errors that pass by themselves although the request was understood.
_PASSING = frozenset(
    {
        "InstanceRefreshInProgress",
        "PriorRequestNotComplete",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "ResourceContention",
        "ScalingActivityInProgress",
        "ServerException",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "UpdateInProgressException",
    }
)
_DENIED = frozenset(
    {"AccessDenied", "AccessDeniedException", "AuthorizationError", "UnauthorizedAccess", "UnauthorizedOperation"}
)
_UNKNOWN_CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "IncompleteSignature",
        "InvalidClientTokenId",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
LONGEST_MESSAGE = 400


def make_client(session: Session, service: str, endpoint_url: str | None) -> Any:
    """
    A client of one of AWS's services; asks nothing yet.

    Raises:
        SettingsError: no region is set anywhere, or a profile is wrong.
    """
    try:
        return session.client(service, endpoint_url=endpoint_url, config=_CONFIG)
    except NoRegionError as error:
        raise SettingsError("REMEDIATION_SCALER=aws: no region; set AWS_REGION, or one in the profile") from error
    except (BotoCoreError, ValueError) as error:
        raise SettingsError(f"REMEDIATION_SCALER=aws: {error}") from error


@contextmanager
def asking(what: str) -> Iterator[None]:
    """
    What goes wrong inside is told in the worker's own errors.

    Args:
        what: What is asked for, as the message begins.
    """
    try:
        yield
    except ClientError as error:
        raise refusal(what, error) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise PermanentScalerError(f"{what}: {error}: give the worker a role, or a profile") from error
    except ParamValidationError as error:
        raise PermanentScalerError(f"{what}: {_brief(error)}") from error
    except (BotoCoreError, ResponseParserError) as error:
        raise TemporaryScalerError(f"{what}: no answer: {_brief(error)}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise TemporaryScalerError(f"{what}: unexpected answer: {error!r}") from error


def refusal(what: str, error: ClientError) -> ScalerError:
    """The worker's error for one of AWS's; which of them may pass."""
    code = code_of(error)
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    message = " ".join(str(error.response.get("Error", {}).get("Message", "")).split())[:LONGEST_MESSAGE]
    told = f"{what}: {code}: {message}"
    if code in _UNKNOWN_CREDENTIALS:
        return PermanentScalerError(f"{told}: the worker's credentials are not taken")
    if code in _DENIED or status == 403:
        return PermanentScalerError(f"{told}: the worker's role does not allow it, see docs/scalers.md")
    passing = code in _PASSING or status == 429 or status >= 500
    return TemporaryScalerError(told) if passing else PermanentScalerError(told)


def code_of(error: ClientError) -> str:
    """As the API's reference spells it, without the suffix that some of its models have."""
    return str(error.response.get("Error", {}).get("Code", "")).removesuffix("Fault")


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:LONGEST_MESSAGE]
