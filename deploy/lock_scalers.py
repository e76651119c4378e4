"""
What the image has beside constraints.txt: the clients of Kubernetes and AWS, as constraints-dev.txt pins them.

`python deploy/lock_scalers.py` writes deploy/constraints-scalers.txt, where both are installed: it follows what the
installed packages require.
"""

from __future__ import annotations

import re
from importlib.metadata import requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

TOP = Path(__file__).parents[1]
LOCK = TOP / "deploy" / "constraints-scalers.txt"
EXTRAS = ("kubernetes", "boto3")
_PINNED = re.compile(r"^([a-z0-9][a-z0-9.-]*)==.*(?:\n .*)*\n", re.MULTILINE)


def pinned(text: str) -> dict[str, str]:
    """By package, its lines of a lock file: version and hashes."""
    return {match[1]: match[0] for match in _PINNED.finditer(text)}


def closure(names: tuple[str, ...]) -> set[str]:
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = canonicalize_name(waiting.pop())
        if name not in found:
            found.add(name)
            needed = map(Requirement, requires(name) or ())
            waiting += [one.name for one in needed if one.marker is None or one.marker.evaluate({"extra": ""})]
    return found


def locked() -> str:
    have = pinned((TOP / "constraints.txt").read_text())
    everything = pinned((TOP / "constraints-dev.txt").read_text())
    return "".join(everything[name] for name in sorted(closure(EXTRAS) - have.keys()))


if __name__ == "__main__":
    LOCK.write_text(locked())
