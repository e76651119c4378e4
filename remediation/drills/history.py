"""The runs so far, from the reports in DATA_DIR/drills, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from remediation.drills import definition, report, score
from remediation.drills.errors import DefinitionError, UnknownReportError
from remediation.drills.score import Resilience

MAX_REPORTS = 10_000  # read at once; some 10 KB each


class History(NamedTuple):
    resilience: Resilience
    problems: tuple[str, ...]  # files that are no report; they are passed over


def read(reports: Path, definitions: Path, drill: str | None, last: int) -> History:
    """
    Args:
        drill: Only this one.
        last: How many runs of each drill at most, the latest.

    Raises:
        UnknownReportError: `drill` was never run.
    """
    paths = _latest(report.recorded(reports)[-MAX_REPORTS:], drill, last)
    if drill is not None and not paths:
        raise UnknownReportError(f"no report of a drill {drill!r} in {reports}")
    found, problems = [], []
    for path in paths:
        try:
            found.append(report.read(path))
        except UnknownReportError as error:
            problems.append(str(error))
    weights, known = {}, []
    for path in definition.available(definitions) if drill is None else ():
        known.append(path.stem)
        try:
            weights[path.stem] = definition.load(path).weight
        except DefinitionError as error:
            problems.append(str(error))
    return History(score.resilience(found, weights, known), tuple(problems))


def _latest(paths: Sequence[Path], drill: str | None, last: int) -> list[Path]:
    by_drill: dict[str, list[Path]] = {}
    for path in paths:
        by_drill.setdefault(path.stem.rpartition("-")[0], []).append(path)
    chosen = by_drill if drill is None else {drill: by_drill.get(drill, [])}
    return [path for runs in chosen.values() for path in runs[-last:]]


def document(resilience: Resilience) -> dict[str, Any]:
    """What `steersman drill history --json` prints; runs are oldest first."""
    return {
        "score": None if resilience.score is None else round(resilience.score, 1),
        "never_run": list(resilience.never_run),
        "drills": [
            {
                "drill": each.drill,
                "weight": each.weight,
                "score": round(each.score, 1),
                "passed": each.passed,
                "runs": [
                    {
                        "run": run.run,
                        "verdict": run.verdict,
                        "score": round(score.of_run(run), 1),
                        "started_at_unix_ms": run.started_at_unix_ms,
                        "grades": {grade.grade: grade.took_s for grade in run.grades},
                    }
                    for run in each.runs
                ],
            }
            for each in resilience.drills
        ],
    }
