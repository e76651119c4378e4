"""How a feature flag is kept: bucket `flags` of NATS's key-value store, JSON {"value": …, "until_unix_ms": …}."""

from __future__ import annotations

import json
from typing import Any

BUCKET = "flags"


def decoded(raw: bytes | None, now_unix_ms: int) -> Any:
    """The value in force; None for what is not a flag, is unset, or is over."""
    try:
        kept = json.loads(raw or b"null")
        until = kept["until_unix_ms"]
        return kept["value"] if until is None or now_unix_ms < until else None
    except (ValueError, TypeError, KeyError):
        return None
