"""Counting what becomes of one append."""

from __future__ import annotations

from dataclasses import dataclass, field

from collector.model.labels import text_of
from collector.model.series import AppendOutcome, Refusal, RefusalReason
from collector.storage.metrics.put import Put
from collector.storage.metrics.table import SeriesTable


@dataclass(slots=True)
class Tally:
    stored: int = 0
    histograms: int = 0  # among the stored
    repeated: int = 0
    refusals: dict[RefusalReason, Refusal] = field(default_factory=dict)

    def refuse(self, reason: RefusalReason, count: int, example: str) -> None:
        """The first example of each reason is kept."""
        before = self.refusals.get(reason)
        self.refusals[reason] = Refusal(
            reason, count + (before.count if before else 0), before.example if before else example
        )

    def refused(self, reason: RefusalReason) -> int:
        return self.refusals[reason].count if reason in self.refusals else 0

    def put(self, put: Put, series: int, table: SeriesTable) -> None:
        """series: the id of what `put.conflict` is about."""
        self.stored += put.stored
        self.repeated += put.repeated
        if put.conflict is not None:
            example = f"{RefusalReason.DUPLICATE.value}: {text_of(table.labels_of(series))} at {put.conflict[1]} ms"
            self.refuse(RefusalReason.DUPLICATE, put.conflicts, example)

    def outcome(self) -> AppendOutcome:
        return AppendOutcome(self.stored, self.repeated, tuple(self.refusals.values()))
