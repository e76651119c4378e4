import math

import pytest

from dashboards.viewer.grafana.units import format_value


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0, "s", "0 s"),
        (0.0004321, "s", "432 µs"),
        (0.25, "s", "250 ms"),
        (1.234, "s", "1.23 s"),
        (90, "s", "1.5 min"),
        (7200, "s", "2 hours"),
        (1500, "ms", "1.5 s"),
        (0.123, "percentunit", "12.3%"),
        (12.34, "percent", "12.3%"),
        (1536, "bytes", "1.5 KiB"),
        (1_500_000, "decbytes", "1.5 MB"),
        (12345, "short", "12.3 K"),
        (5.78, "reqps", "5.78 req/s"),
        (3, "none", "3"),
        (0.1, "", "0.1"),
        (1, "bool_yes_no", "Yes"),
        (2.5, "suffix: widgets", "2.5 widgets"),
        (7, "furlongs", "7 furlongs"),
        (None, "s", "–"),
        (math.nan, "s", "–"),
        (-math.inf, "", "-∞"),
    ],
)
def test_value_is_written_with_its_unit(value, unit, text):
    assert format_value(value, unit) == text


def test_decimals_are_as_asked():
    assert format_value(1.23456, "s", 3) == "1.235 s"
    assert format_value(2, "none", 2) == "2.00"
