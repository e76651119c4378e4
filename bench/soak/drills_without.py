"""
No drill is a formality: each fails on a stack from which the capability that it proves was taken.

    python bench/soak/drills_without.py                  all twelve, each on a stack of its own: half an hour
    python bench/soak/drills_without.py replica-crash    only these
    python bench/soak/drills_without.py --list           what is taken away, without running anything

The checkout is copied, the copy is changed (`bench/stacks/removals.py` tells how), `steersman up` is started from it,
and the drill runs there. That each passes on the stack as it is, `bench/soak/drills.py` shows. Prints a table; exits
with 1 if a drill passed although its capability is missing, or failed for another reason.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from stacks.checkout import copy_into
from stacks.drill import not_run, run_drill
from stacks.own import NotReadyError, own_stack
from stacks.removals import REMOVALS, Removal


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").strip().splitlines()[0])
    parser.add_argument("drills", nargs="*", help="all, without one")
    parser.add_argument("--list", action="store_true", dest="only_list")
    parser.add_argument("--json", type=Path, dest="json_file", help="the reports, to look at afterwards")
    options = parser.parse_args()
    if unknown := set(options.drills) - {each.drill for each in REMOVALS}:
        parser.error(f"no capability is known for {', '.join(sorted(unknown))}")
    chosen = [each for each in REMOVALS if not options.drills or each.drill in options.drills]
    if options.only_list:
        for each in chosen:
            print(f"{each.drill}: {each.capability} ({', '.join(sorted({edit.path for edit in each.edits}))})")
        return 0
    reports = []
    for each in chosen:
        report = _without(each)
        reports.append(report)
        print(f"{each.drill}, without {each.capability}: {report['verdict']}: {_first(report)}", file=sys.stderr)
    print(table(chosen, reports))
    if options.json_file:
        options.json_file.write_text(json.dumps(reports, indent=2) + "\n")
    return 0 if all(map(noticed, chosen, reports)) else 1


def _without(removal: Removal) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="steersman-without-") as folder:
        code = copy_into(Path(folder) / "copy", removal.edits)
        try:
            with own_stack(code=code) as data_dir:
                return run_drill(removal.drill, data_dir, code=code)
        except NotReadyError as error:
            return not_run(removal.drill, str(error))


def noticed(removal: Removal, report: dict[str, Any]) -> bool:
    """Whether the drill failed, and named what is missing."""
    return report["verdict"] == "FAIL" and re.search(removal.says, _first(report)) is not None


def _first(report: dict[str, Any]) -> str:
    return str(next(iter(report["reasons"]), "no reason given"))


def table(removals: list[Removal], reports: list[dict[str, Any]]) -> str:
    """Markdown."""
    lines = ["| drill | without | verdict | what it says |", "| --- | --- | --- | --- |"]
    for removal, report in zip(removals, reports, strict=True):
        said = _first(report).replace("|", "\\|").replace("\n", " ")
        mark = "" if noticed(removal, report) else " (not as it should)"
        lines.append(f"| `{removal.drill}` | {removal.capability} | {report['verdict']}{mark} | {said} |")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
