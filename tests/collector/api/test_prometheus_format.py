from __future__ import annotations

import pytest

from collector.api.prometheus_format import one_line

LONG = "a_metric_whose_name_is_so_long_that_the_expression_is_broken_into_lines_where_it_is_shown_prettily_total"


@pytest.mark.parametrize(
    ("expr", "shown"),
    [
        ("sum(rate(x[90s]))by(job)", "sum by (job) (rate(x[1m30s]))"),
        ("a\n  and on(job)\n(b  > 1e3)", "a and on (job) (b > 1000)"),
        (f"sum(rate({LONG}[5m])) by (job)", f"sum by (job) (rate({LONG}[5m]))"),
        ('count({__name__=~"( a )"})', 'count({__name__=~"( a )"})'),
        ("this is no (", "this is no ("),
    ],
)
def test_expression_is_shown_on_one_line(expr: str, shown: str) -> None:
    assert one_line(expr) == shown
