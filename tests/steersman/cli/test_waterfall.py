from __future__ import annotations

import io

import pytest
from rich.console import Console

from steersman.cli.waterfall import duration, line, shown, waterfall

MS = 1_000_000
START = 1_700_000_000_000_000_000


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "0 ns"),
        (870, "870 ns"),
        (1_500, "1.50 µs"),
        (12_345_678, "12.3 ms"),
        (999_600, "1.00 ms"),
        (123 * MS, "123 ms"),
        (1_240 * MS, "1.24 s"),
        (59_400 * MS, "59.4 s"),
        (125_000 * MS, "2 m 05 s"),
        (3_725_000 * MS, "1 h 02 m"),
    ],
)
def test_a_duration_has_three_digits(nano, text):
    assert duration(nano) == text


def test_a_line_is_heavy_on_the_critical_path_and_thin_elsewhere():
    drawn = line(20, 25, 50, [(25, 50)], total=100, style="")
    assert drawn.plain == "  ╺━━──╴  "
    assert line(20, 99, 0, [], total=100, style="").plain == "         ╶"  # however short, it is seen
    assert line(20, 100, 50, [], total=100, style="").plain == "         ╶"


def span(span_id, depth, *, start=0, took=10, service="shop", status="ok", **more):
    return {
        "span_id": span_id,
        "parent_span_id": "",
        "depth": depth,
        "service": service,
        "name": f"op {span_id}",
        "start_unix_nano": str(START + start * MS),
        "duration_nano": took * MS,
        "self_nano": MS,
        "critical_nano": MS,
        "status": status,
        "status_message": "",
        "attributes": {},
        "events": [],
    } | more


def trace(*spans):
    section = {"span_id": "a", "start_unix_nano": str(START), "end_unix_nano": str(START + 5 * MS)}
    return {
        "trace_id": "1" * 32,
        "start_unix_nano": str(START),
        "duration_nano": 10 * MS,
        "spans": list(spans),
        "critical_path": [section],
    }


def drawn(answer, width, **options):
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, color_system=None)
    console.print(waterfall(answer, width=width, **{"most": 100, **options}))
    return out.getvalue()


def test_the_tree_hangs_together():
    text = drawn(trace(span("a", 0), span("b", 1), span("c", 2), span("d", 2), span("e", 1), span("f", 2)), 80)
    labels = [row[:15].rstrip() for row in text.splitlines() if "shop op " in row]
    assert labels == ["shop op a", "├ shop op b", "│ ├ shop op c", "│ └ shop op d", "└ shop op e", "  └ shop op f"]


def test_the_service_is_named_where_it_changes():
    spans = [span("a", 0), span("b", 1, parent_span_id="a"), span("c", 1, parent_span_id="a", service="bank")]
    text = drawn(trace(*spans), 80)
    assert "├ op b" in text
    assert "└ bank op c" in text


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_no_row_is_wider_than_the_terminal(width):
    spans = [span(f"{depth:x}", depth, service="a-service-with-a-long-name", name="x" * 90) for depth in range(60)]
    text = drawn(trace(*spans, span("z", 1, status="error", status_message="y" * 300)), width, details=True)
    assert all(len(row) <= width for row in text.splitlines())
    assert sum("━" in row or "─" in row for row in text.splitlines()) >= 61  # and every span has its line


def test_an_error_says_what_went_wrong():
    attributes = {"exception.type": "TimeoutError", "exception.message": "too late\x1b[2J"}
    event = {"name": "exception", "time_unix_nano": str(START), "attributes": attributes}
    text = drawn(trace(span("a", 0, status="error", events=[event])), 80)
    assert "✗ shop op a" in text
    assert "TimeoutError: too late [2J" in text
    assert "\x1b" not in text


def test_a_long_trace_is_cut_and_says_so():
    text = drawn(trace(*(span(str(number), 1) for number in range(50))), 80, most=10)
    assert "40 more spans" in text


def test_what_a_terminal_would_obey_is_taken_out():
    assert shown("a\x1b[31m\nb\u202e") == "a [31m b"
