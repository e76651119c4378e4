"""A native histogram as text, as Prometheus prints one (model/histogram/float_histogram.go, String)."""

from __future__ import annotations

from collector.model.histogram import NativeHistogram


def text_of(histogram: NativeHistogram) -> str:
    """`{count:3, sum:4.5, [-0.001,0.001]:1, (0.5,1]:2}`."""
    width = 2.0**-histogram.schema
    parts = [f"count:{_go(histogram.count)}", f"sum:{_go(histogram.sum)}"]
    negative = list(zip(histogram.negative_index.tolist(), histogram.negative.tolist(), strict=True))
    for index, count in reversed(negative):
        if count:
            parts.append(f"[{_go(-(2 ** (index * width)))},{_go(-(2 ** ((index - 1) * width)))}):{_go(count)}")
    if histogram.zero_count:
        parts.append(f"[{_go(-histogram.zero_threshold)},{_go(histogram.zero_threshold)}]:{_go(histogram.zero_count)}")
    for index, count in zip(histogram.positive_index.tolist(), histogram.positive.tolist(), strict=True):
        if count:
            parts.append(f"({_go(2 ** ((index - 1) * width))},{_go(2 ** (index * width))}]:{_go(count)}")
    return "{" + ", ".join(parts) + "}"


def _go(value: float) -> str:
    """As Go's %g writes it."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(float(value))
    if "e" not in text:
        return text.removesuffix(".0") if abs(value) < 1e21 else f"{value:g}"
    return text
