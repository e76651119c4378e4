"""
Each guard is taken out of the worker, and made-up lives are tried until one overruns its limit. With all of them in
place, none may.

    python bench/soak/guards_without.py [--examples 1000] [--seeds 3] [--only NAME…]

Prints how many lives it took, for each seed; `none` where the guard was not missed. Exits with 1 if a guard was missed
by no seed, or if a limit was overrun with all guards in place. Lives are random alone: the ways to each limit that the
tests know are not used.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

from guard_moves import LIVES, Life
from guard_removals import GUARDS
from guard_world import world_of
from hypothesis import HealthCheck, Phase, given, seed, settings


class FoundError(Exception):
    """A life that overran a limit."""


def lives_until(overrun: str | None, *, examples: int, number: int) -> int | None:
    """How many it took until this limit was overrun (None: any); None if it never was."""
    tried = 0

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(LIVES)
    def search(life: Life) -> None:
        nonlocal tried
        tried += 1
        with world_of(life.rules) as world:
            world.go(life.moves)
            found = [one for one in world.overruns if overrun in (None, one.guard)]
        if found:
            raise FoundError(f"{found[0]}: {life}")

    try:
        search()
    except FoundError as error:
        if overrun is None:
            print(error, flush=True)
        return tried
    return None


def row(name: str, patch: Any, overrun: str | None, options: argparse.Namespace) -> list[int | None]:
    began_s = time.process_time()
    with patch():
        counts = [lives_until(overrun, examples=options.examples, number=number) for number in range(options.seeds)]
    told = ", ".join("none" if count is None else str(count) for count in counts)
    print(f"| {name} | {told} | {time.process_time() - began_s:.0f} |", flush=True)
    return counts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=1000, help="lives to try at most, for each seed")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="*", choices=sorted(GUARDS), default=list(GUARDS))
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    print("| without | lives until its limit is overrun | processor s |\n| --- | --- | --: |", flush=True)
    missed_by_none = 0
    for name in options.only:
        guard = GUARDS[name]
        counts = row(name, guard.patch, guard.overrun, options)
        missed_by_none += all(count is None for count in counts)
    overrun = [one for one in row("nothing", contextlib.nullcontext, None, options) if one is not None]
    print(f"{len(options.only)} guards, {missed_by_none} of which nobody missed; {len(overrun)} overruns with all")
    return 1 if missed_by_none or overrun else 0


if __name__ == "__main__":
    sys.exit(main())
