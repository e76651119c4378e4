"""Which of the two processes to be: the collector, or with `--forward URL` an agent, which loads much less."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    arguments = sys.argv[1:] if argv is None else list(argv)
    if any(word.partition("=")[0] == "--forward" for word in arguments):
        from collector.agent import main as run
    else:
        from collector.app import main as run
    return run(arguments)
