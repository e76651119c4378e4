"""How numbers are told in reasons, which people read at night."""

from __future__ import annotations


def replicas(count: int) -> str:
    return f"{count} replica{'' if count == 1 else 's'}"
