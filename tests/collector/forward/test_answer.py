from __future__ import annotations

from datetime import UTC, datetime

import grpc
import pytest
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from collector.forward.answer import MAX_DELAY_S, Answer, Verdict, of_grpc, of_http
from collector.forward.pacing import MOST_DELAY_S, Pace, retry_delay_s
from collector.forward.partial_success import delivered
from collector.receivers.otlp_ingest import Signal

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        (400, Verdict.REFUSED),
        (413, Verdict.REFUSED),
        (422, Verdict.REFUSED),
        (500, Verdict.UNSURE),
        *((status, Verdict.LATER) for status in (301, 401, 403, 404, 405, 408, 415, 429, 502, 503, 504)),
    ],
)
def test_only_a_refusal_of_the_data_itself_is_final_over_http(status, verdict):
    answer = of_http(status, {}, "", now=NOW)
    assert answer == Answer(verdict, f"HTTP {status}", str(status), too_large=status == 413)


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("INVALID_ARGUMENT", Verdict.REFUSED),
        ("RESOURCE_EXHAUSTED", Verdict.REFUSED),
        *((code, Verdict.UNSURE) for code in ("INTERNAL", "UNKNOWN", "DATA_LOSS")),
        *((code, Verdict.LATER) for code in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "ABORTED")),
        *((code, Verdict.LATER) for code in ("OUT_OF_RANGE", "UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED")),
    ],
)
def test_only_a_refusal_of_the_data_itself_is_final_over_grpc(code, verdict):
    answer = of_grpc(grpc.StatusCode[code], "why", [])
    assert answer == Answer(verdict, f"gRPC {code}: why", code, too_large=code == "RESOURCE_EXHAUSTED")


def retry_info(seconds: float) -> list[tuple[str, str | bytes]]:
    status, info = Status(code=8), RetryInfo()
    info.retry_delay.FromNanoseconds(round(seconds * 1e9))
    status.details.add().Pack(info)
    return [("other", "x"), ("grpc-status-details-bin", status.SerializeToString())]


def test_a_busy_destination_is_told_from_a_message_that_is_too_large():
    busy = of_grpc(grpc.StatusCode.RESOURCE_EXHAUSTED, "later", retry_info(2.5))
    assert (busy.verdict, busy.delay_s) == (Verdict.LATER, 2.5)


@pytest.mark.parametrize(
    ("text", "delay_s"),
    [
        ("7", 7.0),
        ("Fri, 02 Jan 2026 03:04:15 GMT", 10.0),
        ("Fri, 02 Jan 2026 03:04:00 GMT", 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("9" * 30, MAX_DELAY_S),
        ("Fri, 02 Jan 2099 03:04:00 GMT", MAX_DELAY_S),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_bounded(text, delay_s):
    assert of_http(503, {"retry-after": text}, "", now=NOW).delay_s == delay_s


@pytest.mark.parametrize(("seconds", "delay_s"), [(-1.0, 0.0), (1e9, MAX_DELAY_S)])
def test_retry_info_is_bounded(seconds, delay_s):
    assert of_grpc(grpc.StatusCode.UNAVAILABLE, "", retry_info(seconds)).delay_s == delay_s


def test_details_that_are_no_status_are_passed_over():
    assert of_grpc(grpc.StatusCode.UNAVAILABLE, "", [("grpc-status-details-bin", b"\xff\xff")]).delay_s == 0.0


def test_a_long_reason_is_cut():
    assert len(of_http(400, {}, "x " * 5000, now=NOW).reason) < 300


def test_a_response_that_cannot_be_read_says_nothing_against_the_request():
    assert delivered(Signal.TRACES, b"\xff\xff") == Answer(Verdict.DELIVERED)


def test_delays_grow_to_a_bound_and_never_fall_below_what_is_asked_for():
    delays = [retry_delay_s(failures, 0.0, 0.5) for failures in range(1, 100)]
    assert delays == sorted(delays)
    assert delays[0] == 0.5
    assert delays[-1] == MOST_DELAY_S
    assert retry_delay_s(1, 30.0, 0.0) == 30.0
    assert 30.0 < retry_delay_s(1, 30.0, 0.99) <= 45.0
    assert retry_delay_s(50, 0.0, 0.0) == MOST_DELAY_S / 2


def test_a_pace_lets_a_second_through_at_once_and_then_so_much_a_second():
    pace = Pace(1000.0)
    assert [pace.delay_s(500, now_s=100.0) for _ in range(5)] == [0.0, 0.0, 0.5, 1.0, 1.5]
    assert pace.delay_s(500, now_s=102.0) == 0.0
    assert Pace(1000.0).delay_s(5000, now_s=7.0) == 4.0  # larger than a second's: it takes its time
