import pytest

from remediation.policy.duration import format_duration, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30s", 30), ("1h30m", 5400), ("500ms", 0.5), ("1d", 86400), ("1m1s1ms", 61.001), ("0", 0), ("2w", 1209600)],
)
def test_durations_are_read_as_prometheus_writes_them(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)
    assert parse_duration(format_duration(seconds)) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "30", "1m1h", "-5s", "1.5s", "5 s", "s", "1s2s"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ValueError, match="not a duration"):
        parse_duration(text)
