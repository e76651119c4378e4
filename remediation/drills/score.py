"""
How well a run went, as one number, and what the runs so far say of the whole.

A run that failed gets 50 points times the share of its expectations that were met. One that passed gets 60, and up to
40 more for its grades: a grade is worth 1 up to its aim and falls in a straight line to 0 at its deadline; one without
an aim is worth 1. Grades weigh as WEIGHTS says, or as the definition does (`weight`). So no failed run is ever above a
passed one, and what was merely in time is told from what was as quick as hoped.

The resilience score is the mean of each drill's latest run, weighed by the drills' own `weight`. Drills that were never
run do not count: they are named beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from remediation.drills.report import Grade, Report
from remediation.drills.tracker import Status

# To be well again is what customers feel; all else is on the way there.
WEIGHTS = {"recover": 4.0, "detect": 3.0, "escalate": 3.0, "act": 2.0}
FAILED_AT_MOST, PASSED_AT_LEAST = 50.0, 60.0


def of_run(report: Report) -> float:
    """0 to 100."""
    if not report.passed:
        decided = len(report.expectations) or 1
        # A failed run may have met them all, if a stop condition or an interruption ended it.
        return FAILED_AT_MOST * sum(each.status is Status.MET for each in report.expectations) / decided
    weights = [each.weight or WEIGHTS.get(each.grade, 1.0) for each in report.grades]
    worth = sum(weight * _worth(each) for weight, each in zip(weights, report.grades, strict=True))
    return PASSED_AT_LEAST + (100 - PASSED_AT_LEAST) * (worth / sum(weights) if weights else 1.0)


def _worth(grade: Grade) -> float:
    if grade.took_s is None:
        return 0.0
    if grade.aim_s is None or grade.took_s <= grade.aim_s:
        return 1.0
    room_s = grade.deadline_s - grade.aim_s
    return max(0.0, 1 - (grade.took_s - grade.aim_s) / room_s) if room_s > 0 else 0.0


@dataclass(frozen=True, slots=True)
class DrillHistory:
    drill: str
    runs: tuple[Report, ...]  # oldest first, at least one
    weight: float

    @property
    def latest(self) -> Report:
        return self.runs[-1]

    @property
    def score(self) -> float:
        return of_run(self.latest)

    @property
    def passed(self) -> int:
        return sum(run.passed for run in self.runs)

    def took(self, grade: str) -> list[float]:
        """Seconds of one grade in all runs that met it, oldest first."""
        return [g.took_s for run in self.runs for g in run.grades if g.grade == grade and g.took_s is not None]

    @property
    def grades(self) -> list[str]:
        return list(dict.fromkeys(grade.grade for run in reversed(self.runs) for grade in run.grades))


@dataclass(frozen=True, slots=True)
class Resilience:
    drills: tuple[DrillHistory, ...]  # by name
    never_run: tuple[str, ...]

    @property
    def score(self) -> float | None:
        """None if nothing was run."""
        total = sum(each.weight for each in self.drills)
        return sum(each.weight * each.score for each in self.drills) / total if total else None


def resilience(reports: Sequence[Report], weights: Mapping[str, float], known: Iterable[str]) -> Resilience:
    """
    Args:
        reports: In any order.
        weights: Of the drills whose definition is at hand; others weigh 1.
        known: The names of all drills that there are.
    """
    by_drill: dict[str, list[Report]] = {}
    for report in sorted(reports, key=lambda each: each.started_at_unix_ms):
        by_drill.setdefault(report.drill, []).append(report)
    drills = [DrillHistory(name, tuple(runs), weights.get(name, 1.0)) for name, runs in sorted(by_drill.items())]
    return Resilience(tuple(drills), tuple(sorted(set(known) - set(by_drill))))
