"""
Fifty kills of a writing metric store at random moments; after each one everything acknowledged is looked for.

    python bench/soak/metric_kills.py [--kills 50] [--seed 1] [--most-s 1.5]

Prints what each kill left and the figures at the end; exits with 1 at the first fault.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "support"))

from metric_campaign import Campaign


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--most-s", type=float, default=1.5, help="a writer lives at most this long after its first ack"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="metric-kills-") as directory:
        campaign = Campaign(Path(directory), options.seed)
        for kill in range(1, options.kills + 1):
            steps = campaign.kill_once(most_s=options.most_s)
            faults = campaign.judge()
            print(
                f"kill {kill:3}: {steps:5} appends acknowledged, {campaign.samples:9,} samples there, "
                f"opened in {campaign.open_s[-1] * 1000:.0f} ms",
                flush=True,
            )
            if faults:
                print("\n".join(faults[:20]))
                return 1
        size = sum(path.stat().st_size for path in Path(directory).iterdir())
        print(
            f"{options.kills} kills, {len(campaign.acknowledged):,} appends acknowledged, none lost: "
            f"{campaign.samples:,} samples ({campaign.histograms:,} native histograms among them), "
            f"{size / campaign.samples:.1f} bytes a sample on disk; opened after a kill in "
            f"{statistics.median(campaign.open_s) * 1000:.0f} ms (median), {max(campaign.open_s) * 1000:.0f} ms (worst)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
