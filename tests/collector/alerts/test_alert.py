from __future__ import annotations

import pytest

from collector.model.alert import fingerprint, rfc3339
from collector.model.duration import format_duration, parse_duration_ms
from collector.model.series import labels_of


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        # prometheus/common/model: signature_test.go, TestLabelsToSignature and TestLabelSetFingerprint use these sums.
        ({}, 14695981039346656037),
        ({"name": "garland, briggs", "fear": "love is not enough"}, 5799056148416392346),
    ],
)
def test_fingerprint_is_that_of_alertmanager(labels: dict[str, str], expected: int) -> None:
    assert fingerprint(labels_of(labels)) == f"{expected:016x}"


def test_time_is_written_as_go_writes_it() -> None:
    assert rfc3339(1_700_000_000_000) == "2023-11-14T22:13:20Z"
    assert rfc3339(1_700_000_000_120) == "2023-11-14T22:13:20.12Z"


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [("0", 0), ("0s", 0), ("100ms", 100), ("1h30m", 5_400_000), ("1d2h3m4s5ms", 93_784_005), ("1w", 604_800_000)],
)
def test_duration_is_read_and_written_as_prometheus_does(text: str, duration_ms: int) -> None:
    assert parse_duration_ms(text) == duration_ms
    assert parse_duration_ms(format_duration(duration_ms)) == duration_ms


@pytest.mark.parametrize("text", ["", "1", "-1s", "1.5s", "1s1h", "1 s", "1s1s", "99999999999y"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration_ms(text)
