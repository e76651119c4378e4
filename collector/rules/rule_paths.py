"""Which files `rule_files` name, and whether they have changed."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from glob import glob  # patterns of users are absolute or relative, which Path.glob does not take
from pathlib import Path

from collector.rules.rulefile import Problem, RuleFileError

Fingerprint = dict[str, tuple[int, int]]  # by file: when it was changed, in nanoseconds, and its size


def rule_paths(patterns: Sequence[str]) -> list[Path]:
    """
    In the order of the patterns, each file once.

    Raises:
        RuleFileError: a path that is no pattern does not exist.
    """
    for pattern in patterns:
        if not any(sign in pattern for sign in "*?[") and not Path(pattern).exists():
            raise RuleFileError([Problem(pattern, "no such file")])
    return present_paths(patterns)


def present_paths(patterns: Sequence[str]) -> list[Path]:
    """As `rule_paths`, but nothing of what is missing."""
    return list(dict.fromkeys(Path(name) for pattern in patterns for name in sorted(glob(pattern))))  # noqa: PTH207


def fingerprint(patterns: Sequence[str]) -> Fingerprint:
    """Another one as soon as a file comes, goes or is written; what cannot be looked at is left out."""
    stats = {}
    for pattern in patterns:
        for name in glob(pattern):  # noqa: PTH207
            with contextlib.suppress(OSError):
                status = Path(name).stat()
                stats[name] = (status.st_mtime_ns, status.st_size)
    return stats
