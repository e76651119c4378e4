"""
Generated PromQL to Debian's Prometheus and to the engine, over the same samples: who agrees, and who does not.

    python bench/soak/promql_differential.py [--examples 2000] [--seed 1] [--show 20]

Each example is one query, asked at one time and over a range. Samples reach Prometheus by remote write and the engine
through the metric store. Prints how many agreed and every disagreement; exits with 1 if there was one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))

from hypothesis import HealthCheck, Phase, given, seed, settings
from promql_comparison import Times, as_prometheus_2, difference, known_reason
from promql_grammar import expressions
from promql_peer import both, times


def main() -> int:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--examples", type=int, default=2_000)
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--show", type=int, default=20, help="disagreements that are printed")
    options = arguments.parse_args()
    found: dict[str, str] = {}
    known: dict[str, str] = {}
    asked: set[tuple[str, tuple[Times, Times]]] = set()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, both(Path(folder)) as (peer, engine), as_prometheus_2():

        @seed(options.seed)
        @settings(
            max_examples=options.examples,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(query=expressions(), at=times())
        def ask(query: str, at: tuple[Times, Times]) -> None:
            asked.add((query, at))
            for one in at:
                if (text := difference(peer, engine, query, one)) is None:
                    continue
                if (reason := known_reason(query, text)) is not None:
                    known.setdefault(query, reason)
                else:
                    found.setdefault(query, f"{one}: {text}")

        ask()
    for query, text in list(found.items())[: options.show]:
        print(f"DISAGREE {query}\n    {text}")
    for reason, count in Counter(known.values()).items():
        print(f"{count} as docs/promql.md explains: {reason}")
    agreed = len(asked) - len(found) - len(known)
    print(f"{agreed} of {len(asked)} queries agreed, in {time.perf_counter() - began:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
