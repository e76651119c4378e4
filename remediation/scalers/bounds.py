"""How few and how many replicas a service may have, as its owner has marked it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from remediation.errors import PermanentScalerError

MINIMUM, MAXIMUM = "steersman.minimum", "steersman.maximum"
HIGHEST = 1000  # replicas; a mark beyond this is a mistake


class Bounds(NamedTuple):
    """Both inclusive."""

    minimum: int
    maximum: int


def marked_bounds(service: str, marks: Mapping[str, str], *, kind: str, highest: int = HIGHEST) -> Bounds:
    """
    Args:
        kind: What the system calls such a mark: label, annotation, tag.

    Raises:
        PermanentScalerError: no maximum, so the service is not ours to scale; or a mark is no such number.
    """
    if MAXIMUM not in marks:
        raise PermanentScalerError(f"{service} has no {kind} {MAXIMUM}, so it is not to be scaled")
    bounds = Bounds(
        _number(service, marks, MINIMUM, kind=kind, highest=highest),
        _number(service, marks, MAXIMUM, kind=kind, highest=highest),
    )
    if bounds.minimum > bounds.maximum:
        raise PermanentScalerError(f"{service}: {MINIMUM} {bounds.minimum} is more than {MAXIMUM} {bounds.maximum}")
    return bounds


def require_within(service: str, desired: int, bounds: Bounds) -> None:
    """
    Raises:
        PermanentScalerError: it is not.
    """
    if not bounds.minimum <= desired <= bounds.maximum:
        raise PermanentScalerError(
            f"{service}: {desired} replicas are out of bounds, {bounds.minimum} to {bounds.maximum}"
        )


def _number(service: str, marks: Mapping[str, str], name: str, *, kind: str, highest: int) -> int:
    text = marks.get(name, "1")
    if not (text.isascii() and text.isdecimal() and len(text) <= 6 and 1 <= int(text) <= highest):
        raise PermanentScalerError(f"{service}: the {kind} {name} must be from 1 to {highest}, got {text[:80]!r}")
    return int(text)
