"""Text as Go quotes it, which Prometheus and Alertmanager show and compute keys from."""

from __future__ import annotations

import json


def quote(text: str) -> str:
    """strconv.Quote, to the letter for what is printable."""
    return json.dumps(text, ensure_ascii=False)
