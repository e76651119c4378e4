"""Text as Go writes it, which Prometheus and Alertmanager show and compute keys from."""

from __future__ import annotations

import json


def quote(text: str) -> str:
    """strconv.Quote, to the letter for what is printable."""
    return json.dumps(text, ensure_ascii=False)


def bound_text(bound: float) -> str:
    """A bucket's bound as the value of `le`: shortest decimal notation without an exponent, `+Inf` for infinity."""
    if bound == float("inf"):
        return "+Inf"
    if bound == float("-inf"):
        return "-Inf"
    text = repr(float(bound))
    if "e" in text:
        text = f"{bound:.20f}".rstrip("0") if abs(bound) < 1 else f"{bound:.0f}"
    return text.removesuffix(".0")
