import pytest

from remediation.policy.matcher import parse_matcher

LABELS = {"alertname": "HighRequestLatency", "service": "cart"}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ('alertname="HighRequestLatency"', True),
        ("alertname=HighRequestLatency", True),
        ('alertname!="HighRequestLatency"', False),
        ('service=~"catalog|cart"', True),
        ('service=~"car"', False),  # the whole value
        ('service!~"car"', True),
        ('service=~".+"', True),
        ('team=""', True),  # an absent label is empty
        ('team=~".+"', False),
        ('team!="shop"', True),
        (' service = "cart" ', True),
    ],
)
def test_matchers_mean_what_they_mean_to_alertmanager(text, matches):
    assert parse_matcher(text).matches(LABELS) is matches


def test_escapes_are_resolved_and_written_back():
    matcher = parse_matcher(r'summary="a \"quoted\" \\ line\nbreak"')
    assert matcher.value == 'a "quoted" \\ line\nbreak'
    assert parse_matcher(str(matcher)) == matcher


@pytest.mark.parametrize(
    "text",
    [
        "",
        "service",
        '="x"',
        'service="x',
        'service=x"',
        'service=~"("',
        'service=~"(?=x)y"',
        'a="b"c"',
        'service=~"(a)\\1"',
    ],
)
def test_what_is_no_matcher_is_refused(text):
    with pytest.raises(ValueError):
        parse_matcher(text)
