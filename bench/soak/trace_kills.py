"""
Fifty kills of a loaded collector at random moments; after them each acknowledged span and log record is looked for.

    python bench/soak/trace_kills.py [--kills 50] [--seed 1] [--most-s 2]

Prints what came of each kill and the figures at the end; exits with 1 at the first fault.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

from trace_campaign import RECORDS, Campaign


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most-s", type=float, default=2.0, help="a collector lives at most this long under load")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="trace-kills-") as directory:
        campaign = Campaign(Path(directory), options.seed)
        for kill in range(1, options.kills + 1):
            campaign.kill_once(most_s=options.most_s)
            faults = campaign.judge()
            print(
                f"kill {kill:3}: {len(campaign.traces.acknowledged) * RECORDS:9,} spans and "
                f"{len(campaign.logs.acknowledged) * RECORDS:9,} log records acknowledged so far, "
                f"ready in {campaign.start_s[-1]:.1f} s",
                flush=True,
            )
            if faults:
                print("\n".join(faults))
                return 1
        again = campaign.traces.repeated + campaign.logs.repeated
        median, worst = statistics.median(campaign.start_s), max(campaign.start_s)
        print(f"{options.kills} kills, none lost, none twice; {again} requests had no answer and were sent again")
        print(f"ready after a kill in {median:.1f} s (median), {worst:.1f} s (worst)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
