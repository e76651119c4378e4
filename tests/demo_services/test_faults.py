from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from pydantic import ValidationError

from demo_services.faults import Fault, FaultBoard, FaultKind, FaultRequest


def test_a_fault_ends_by_itself() -> None:
    now = [1_000]
    board = FaultBoard(clock_ms=lambda: now[0])
    board.put(Fault(kind=FaultKind.LATENCY, expires_at_unix_ms=2_000, latency_ms=800))
    assert board.added_latency_s() == 0.8
    now[0] = 1_999
    assert [fault.kind for fault in board.active()] == [FaultKind.LATENCY]
    now[0] = 2_000
    assert board.added_latency_s() == 0
    assert board.active() == []


def test_a_slow_dependency_delays_calls_of_that_dependency_only() -> None:
    board = FaultBoard(clock_ms=lambda: 0)
    board.put(
        Fault(kind=FaultKind.SLOW_DEPENDENCY, expires_at_unix_ms=1, latency_ms=1500, dependency="payment"),
    )
    assert (board.delay_before_s("payment"), board.delay_before_s("inventory")) == (1.5, 0)


def test_the_gauge_shows_which_kinds_are_in_force() -> None:
    registry = CollectorRegistry()
    board = FaultBoard(registry=registry, clock_ms=lambda: 0)
    board.put(Fault(kind=FaultKind.ERRORS, expires_at_unix_ms=1, error_ratio=0.5))
    text = generate_latest(registry).decode()
    assert 'fault_active{kind="errors"} 1.0' in text
    assert 'fault_active{kind="latency"} 0.0' in text


def test_a_fault_survives_its_json() -> None:
    fault = FaultRequest(kind=FaultKind.SLOW_DEPENDENCY, ttl_s=60, latency_ms=5, dependency="payment").to_fault(1_000)
    assert fault.expires_at_unix_ms == 61_000
    assert Fault.from_json(fault.to_json()) == fault


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"kind": "earthquake"}', b'{"kind": "latency"}', b"\xff"])
def test_what_is_no_fault_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError):
        Fault.from_json(text)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"kind": "latency", "ttl_s": 60}, "a fault of kind latency needs latency_ms"),
        ({"kind": "crash", "ttl_s": 60, "latency_ms": 5}, "a fault of kind crash takes no latency_ms"),
        ({"kind": "slow_dependency", "ttl_s": 60, "latency_ms": 5}, "needs dependency"),
        ({"kind": "latency", "ttl_s": 0.5, "latency_ms": 5}, "ttl_s"),
        ({"kind": "latency", "ttl_s": 3601, "latency_ms": 5}, "ttl_s"),
        ({"kind": "latency", "ttl_s": 60, "latency_ms": 60_001}, "latency_ms"),
        ({"kind": "errors", "ttl_s": 60, "error_ratio": 1.01}, "error_ratio"),
        ({"kind": "errors", "ttl_s": 60, "error_ratio": float("nan")}, "error_ratio"),
        ({"kind": "earthquake", "ttl_s": 60}, "kind"),
        ({"kind": "crash", "ttl_s": 60, "colour": "red"}, "colour"),
    ],
)
def test_requests_out_of_bounds_are_refused(body, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FaultRequest.model_validate(body)
