"""
`kill -9` of the worker right before and right after each step and each effect of each workflow: the run completes, and
its effect happens once. On SQLite with one worker, and on PostgreSQL with two, of which the other goes on.

    python bench/soak/remediation_kills.py [--store sqlite|postgresql|both] [--only SCENARIO…] [--at-once 8]

Prints what is wrong with each cell, and the figures at the end; exits with 1 if anything is.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

from kill_campaign import Campaign
from kill_scenarios import SCENARIOS
from postgres_cluster import PostgresCluster, require_postgres


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("sqlite", "postgresql", "both"), default="both")
    parser.add_argument("--only", nargs="*", choices=sorted(SCENARIOS), default=sorted(SCENARIOS))
    parser.add_argument("--at-once", type=int, default=8, help="cells under way at a time")
    parser.add_argument("--within-s", type=float, default=90.0, help="for each cell")
    options = parser.parse_args()
    stores = ("sqlite", "postgresql") if options.store == "both" else (options.store,)
    return 1 if sum(campaign(store, options) for store in stores) else 0


def campaign(store: str, options: argparse.Namespace) -> int:
    """Returns how many cells were at fault."""
    began_s, faults, done = time.monotonic(), 0, Counter[str]()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="remediation-kills-")))
        url = ""
        if store == "postgresql":
            cluster = PostgresCluster(require_postgres())
            stack.callback(cluster.close)
            url = cluster.database()
        running = Campaign(folder, url)
        stack.callback(running.close)
        cells, wrong = running.every_cell(within_s=options.within_s)
        for text in wrong:
            print(f"{store}: {text}", flush=True)
        cells = [cell for cell in cells if cell.scenario in options.only]
        for cell, fault in running.run(cells, at_once=options.at_once, within_s=options.within_s):
            done[cell.when] += 1
            faults += bool(fault)
            if fault:
                print(f"{store}: {cell}: {fault}", flush=True)
        kills = f"{done['before']} kills before and {done['after']} after a step or an effect"
        workers = "two workers" if url else "one worker"
        took_s = time.monotonic() - began_s
        print(f"{store}, {workers}: {kills} in {len(options.only)} workflows: {faults} at fault", flush=True)
        print(f"{store}: {running.lives} workers lived and died in {took_s:.0f} s", flush=True)
        print(f"{store}: {running.astray} cells were led astray by others' kills, and tried again alone", flush=True)
    return faults + len(wrong)


if __name__ == "__main__":
    sys.exit(main())
