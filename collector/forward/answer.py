"""
What a destination said to a request, and what follows from it. Pure.

OTLP names the errors after which a client may try again, and has all others drop the data ("Failures", "OTLP/HTTP
Response", "OTLP/gRPC Throttling"). What was acknowledged here is dropped only when the refusal is of the data itself. A
wrong token, a wrong path or a method that is missing is a mistake in the set-up, which somebody will repair: until then
the data waits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

MAX_DELAY_S = 300.0  # whatever a destination asks for; the longest that it may take to notice that it is back
_REASON_CHARACTERS = 200


class Verdict(Enum):
    DELIVERED = "delivered"
    LATER = "later"  # try again
    UNSURE = "unsure"  # try again, some times: an internal error may be the fault of the data
    REFUSED = "refused"  # this data will never be taken


@dataclass(frozen=True, slots=True)
class Answer:
    verdict: Verdict
    reason: str = ""  # in words, for the log
    code: str = ""  # in one word, for a label: "503", "UNAVAILABLE", "ConnectError"
    delay_s: float = 0.0  # asked for by the destination, before the next try
    rejected: int = 0  # items of a delivered request that were not taken
    too_large: bool = False  # refused, but parts of it may be taken


_HTTP_REFUSED = frozenset({400, 413, 422})
_GRPC_REFUSED = frozenset({grpc.StatusCode.INVALID_ARGUMENT})
_GRPC_UNSURE = frozenset({grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DATA_LOSS})


def of_http(status: int, headers: Mapping[str, str], text: str, *, now: datetime) -> Answer:
    """
    Of an answer that is no success.

    Args:
        headers: With names in lower case, or whatever their case.
        text: What the body says, for the log.
    """
    reason = f"HTTP {status}: {_short(text)}" if text else f"HTTP {status}"
    verdict = Verdict.REFUSED if status in _HTTP_REFUSED else Verdict.UNSURE if status == 500 else Verdict.LATER
    delay_s = retry_after_s(headers.get("retry-after", ""), now=now)
    return Answer(verdict, reason, str(status), delay_s, too_large=status == 413)


def of_grpc(code: grpc.StatusCode, details: str, trailers: Sequence[tuple[str, str | bytes]]) -> Answer:
    """RESOURCE_EXHAUSTED with a delay is a destination that is busy; without one, a message that is too large."""
    delay_s = _retry_info_s(trailers)
    reason = f"gRPC {code.name}: {_short(details)}"
    too_large = code is grpc.StatusCode.RESOURCE_EXHAUSTED and delay_s is None
    if code in _GRPC_REFUSED or too_large:
        verdict = Verdict.REFUSED
    else:
        verdict = Verdict.UNSURE if code in _GRPC_UNSURE else Verdict.LATER
    return Answer(verdict, reason, code.name, delay_s or 0.0, too_large=too_large)


def retry_after_s(text: str, *, now: datetime) -> float:
    """Seconds, or a date (RFC 9110, 10.2.3); 0 if it is neither, or past."""
    text = text.strip()
    if text.isdecimal():
        return min(float(text), MAX_DELAY_S)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    delay_s = ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()
    return min(max(delay_s, 0.0), MAX_DELAY_S)


def _retry_info_s(trailers: Sequence[tuple[str, str | bytes]]) -> float | None:
    for name, value in trailers:
        if name != "grpc-status-details-bin" or not isinstance(value, bytes):
            continue
        try:
            details = Status.FromString(value).details
        except DecodeError:
            continue
        for detail in details:
            info = RetryInfo()
            if detail.Is(RetryInfo.DESCRIPTOR) and detail.Unpack(info):
                return float(min(max(info.retry_delay.ToNanoseconds() / 1e9, 0.0), MAX_DELAY_S))
    return None


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _REASON_CHARACTERS else text[: _REASON_CHARACTERS - 1] + "…"
