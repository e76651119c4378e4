"""
Kill a writer of the metric store with `kill -9` at random moments, and look whether everything acknowledged is there.

The writer is a process of its own (this file, run as a script). What it writes follows from the number of the step, so
that the judge needs to know only which steps were acknowledged. A step is a few hundred floats of three targets; every
third one a table of late samples too, many of them older than what is sealed already; every fifth one native
histograms. Its clock runs ahead of ours, so that samples are sealed, merged and thrown out all the time.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from collector.model.histogram import NO_COUNTS, NO_INDEX, NativeHistogram
from collector.model.series import (
    ABSENT,
    AppendOutcome,
    Labels,
    Matcher,
    MatchOp,
    SampleBatch,
    SampleTable,
    is_absent,
    labels_of,
)
from collector.storage.metrics.store import MetricStore

START_MS = 1_700_000_000_000
STEP_MS = 60_000  # two hours, and so a segment file, are 120 steps
TARGETS, SERIES = 3, 100  # floats in each step
TABLE_SERIES, TABLE_TIMES = 20, 8
HISTOGRAM_SERIES = 4
CHURN = 100  # steps after which the series of a target are new ones
LATE_STEPS = 300  # five hours: the time of a table's samples is sealed, and its file merged, already
IN_FLIGHT = 4  # appends that wait for the disk together
WINDOW_S = 3600.0
RETENTION_S = 90 * 86_400.0


def values_at(steps: NDArray[np.int64], number: int) -> NDArray[np.float64]:
    """The value of series `number` at each step: no two near ones alike, integers and fractions."""
    mixed = (steps * 2_654_435_761 + number * 40_503) % 1_000_003
    return np.where(mixed % 3 == 0, mixed / 7, mixed)


def histogram_at(step: int, number: int) -> NativeHistogram:
    counts = values_at(np.arange(step, step + 5), number)
    index = np.arange(step % 7, step % 7 + 5, dtype=np.int32)
    return NativeHistogram(2, float(counts.sum()) + 1, step / 3, 1e-9, 1.0, index, counts, NO_INDEX, NO_COUNTS)


def now_at(step: int) -> int:
    return START_MS + step * STEP_MS


def _names(kind: str, target: int, generation: int, count: int) -> tuple[Labels, ...]:
    fixed = {"__name__": kind, "target": str(target), "generation": str(generation)}
    return tuple(labels_of({**fixed, "n": str(number)}) for number in range(count))


def _tables(step: int, names: dict[tuple[str, int], tuple[Labels, ...]]) -> list[SampleTable]:
    tables = []
    generation = step // CHURN
    for target in range(TARGETS):
        labels = names.setdefault((f"f{generation}", target), _names("floats", target, generation, SERIES))
        values = np.array([values_at(np.array([step]), number + target)[0] for number in range(SERIES)])
        tables.append(SampleBatch(f"scrape|t|{target}", now_at(step), labels, values).as_table())
    if step % 3 == 0:
        labels = names.setdefault(("t", 0), _names("tables", 0, 0, TABLE_SERIES))
        times = now_at(step - LATE_STEPS) + 1 + np.arange(TABLE_TIMES, dtype=np.int64)
        values = np.array([values_at(step * TABLE_TIMES + np.arange(TABLE_TIMES), n) for n in range(TABLE_SERIES)])
        # Beside the floats of the first target, so that they lie between its rows and sealed chunks.
        tables.append(SampleTable("scrape|t|0", labels, times, values))
    if step % 5 == 0:
        labels = names.setdefault(("h", 0), _names("histograms", 0, 0, HISTOGRAM_SERIES))
        samples = tuple((number, histogram_at(step, number)) for number in range(HISTOGRAM_SERIES))
        nothing = np.full(HISTOGRAM_SERIES, ABSENT)
        tables.append(SampleBatch("scrape|t|1", now_at(step), labels, nothing, histograms=samples).as_table())
    return tables


def write(directory: Path, first: int) -> None:
    """Append step after step, and say on the standard output which are acknowledged, until killed."""
    step = first
    store = MetricStore.open(directory, clock=lambda: now_at(step), retention_s=RETENTION_S, out_of_order_s=WINDOW_S)
    names: dict[tuple[str, int], tuple[Labels, ...]] = {}
    waiting: deque[tuple[int, Future[AppendOutcome]]] = deque()
    while True:
        waiting.append((step, store.submit(_tables(step, names))))
        step += 1
        if len(waiting) >= IN_FLIGHT:
            acknowledged, future = waiting.popleft()
            outcome = future.result()
            if outcome.refusals or outcome.repeated:
                raise SystemExit(f"step {acknowledged}: {outcome}")
            os.write(1, b"%d\n" % acknowledged)
        if step % 50 == 0:
            names = {key: value for key, value in names.items() if key[0] in (f"f{step // CHURN}", "t", "h")}


@dataclass
class Campaign:
    directory: Path
    seed: int
    acknowledged: list[int] = field(default_factory=list)  # steps
    next_step: int = LATE_STEPS
    samples: int = 0  # checked in the last judgement
    histograms: int = 0
    open_s: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)

    def kill_once(self, *, most_s: float = 0.8) -> int:
        """Run a writer, kill it at some moment within `most_s` of its first acknowledgement. Returns how many came."""
        command = [sys.executable, __file__, str(self.directory), str(self.next_step)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline()]
            if not lines[0]:
                raise RuntimeError(f"the writer ended with {writer.wait()} before it acknowledged anything")
            time.sleep(self._random.uniform(0, most_s))
            if writer.poll() is not None:
                raise RuntimeError(f"the writer ended by itself with {writer.returncode}")
            writer.kill()
            lines += writer.stdout.read().splitlines(keepends=True)
        # A last line that the kill cut short is no acknowledgement.
        steps = [int(line) for line in lines if line.endswith(b"\n")]
        self.acknowledged += steps
        # The writer was at most IN_FLIGHT steps ahead; the next one must not write those again with other companions.
        self.next_step = max(steps) + IN_FLIGHT + 1
        return len(steps)

    def judge(self) -> list[str]:
        """What is wrong with the store: lost, changed or invented samples. Empty when all is well."""
        begun = time.monotonic()
        store = MetricStore.open(
            self.directory, clock=lambda: now_at(self.next_step), retention_s=RETENTION_S, out_of_order_s=WINDOW_S
        )
        self.open_s.append(time.monotonic() - begun)
        try:
            judge = _Judge(store, np.array(self.acknowledged, np.int64), self.next_step)
            faults = [*judge.floats(), *judge.tables(), *judge.histograms(), *judge.ranges(self._random)]
            self.samples, self.histograms = judge.samples, judge.histogram_count
            return faults
        finally:
            store.close()


class _Judge:
    def __init__(self, store: MetricStore, acknowledged: NDArray[np.int64], steps: int) -> None:
        self._store = store
        self._acknowledged = np.zeros(steps + 1, np.bool_)
        self._acknowledged[acknowledged] = True
        self.samples = 0
        self.histogram_count = 0

    def _select(self, name: str) -> list[tuple[dict[str, str], NDArray[np.int64], NDArray[np.float64]]]:
        """(labels, timestamps, values) of each series, without gaps."""
        found = []
        for block in self._store.select([Matcher("__name__", MatchOp.EQUAL, name)], min_ms=0, max_ms=1 << 60):
            if not (np.diff(block.timestamps_ms) > 0).all():
                raise AssertionError(f"timestamps of {name} do not increase")
            for labels, row in zip(block.labels, block.values, strict=True):
                present = ~is_absent(row)
                found.append((dict(labels), block.timestamps_ms[present], row[present]))
        return found

    def _compare(
        self, series: str, found: NDArray[np.int64], needed: NDArray[np.int64], same: NDArray[np.bool_]
    ) -> list[str]:
        self.samples += len(found)
        faults = []
        if not same.all():
            faults.append(f"{series}: {np.count_nonzero(~same)} samples have another value or time than was written")
        lost = np.setdiff1d(needed, found, assume_unique=True)
        if len(lost):
            faults.append(f"{series}: {len(lost)} acknowledged samples are lost, the first is {lost[0]}")
        return faults

    def floats(self) -> list[str]:
        faults = []
        seen: dict[tuple[int, int], int] = {}
        for labels, times, values in self._select("floats"):
            steps = (times - START_MS) // STEP_MS
            target, generation, number = int(labels["target"]), int(labels["generation"]), int(labels["n"])
            same = (values == values_at(steps, number + target)) & ((times - START_MS) % STEP_MS == 0)
            same &= steps // CHURN == generation
            mine = np.flatnonzero(self._acknowledged[generation * CHURN : (generation + 1) * CHURN])
            faults += self._compare(str(labels), steps, mine + generation * CHURN, same)
            seen[target, generation] = seen.get((target, generation), 0) + 1
        for generation in np.unique(np.flatnonzero(self._acknowledged) // CHURN).tolist():
            for target in range(TARGETS):
                if seen.get((target, generation)) != SERIES:
                    faults.append(f"target {target}, generation {generation}: {seen.get((target, generation))} series")
        return faults

    def tables(self) -> list[str]:
        faults = []
        found = self._select("tables")
        steps = np.flatnonzero(self._acknowledged)
        steps = steps[steps % 3 == 0]
        needed = (steps[:, np.newaxis] * TABLE_TIMES + np.arange(TABLE_TIMES)).ravel()
        if len(steps) and len(found) != TABLE_SERIES:
            faults.append(f"{len(found)} of {TABLE_SERIES} series of tables")
        for labels, times, values in found:
            offset = (times - START_MS) % STEP_MS - 1
            places = ((times - START_MS) // STEP_MS + LATE_STEPS) * TABLE_TIMES + offset
            same = (values == values_at(places, int(labels["n"]))) & (offset >= 0) & (offset < TABLE_TIMES)
            faults += self._compare(str(labels), places, needed, same)
        return faults

    def histograms(self) -> list[str]:
        faults = []
        steps = np.flatnonzero(self._acknowledged)
        steps = steps[steps % 5 == 0]
        found = self._store.select_histograms([], min_ms=0, max_ms=1 << 60)
        if len(steps) and len(found) != HISTOGRAM_SERIES:
            faults.append(f"{len(found)} of {HISTOGRAM_SERIES} series of histograms")
        for series in found:
            number = int(dict(series.labels)["n"])
            at = (series.timestamps_ms - START_MS) // STEP_MS
            pairs = zip(at.tolist(), series.histograms, strict=True)
            same = np.array([one.identical(histogram_at(step, number)) for step, one in pairs], np.bool_)
            faults += self._compare(str(series.labels), at, steps, same)
            self.histogram_count += len(at)
        return faults

    def ranges(self, chance: random.Random) -> list[str]:
        """A query of a part gives that part of the whole."""
        faults = []
        matchers = [Matcher("__name__", MatchOp.REGEX, "floats|tables"), Matcher("n", MatchOp.EQUAL, "7")]
        for _ in range(3):
            low = chance.randrange(START_MS, now_at(len(self._acknowledged)))
            high = low + chance.randrange(2_000_000)
            part = _content(self._store, matchers, low, high)
            whole = {
                (labels, at, value)
                for labels, at, value in _content(self._store, matchers, 0, 1 << 60)
                if low <= at <= high
            }
            if part != whole:
                faults.append(f"{len(part ^ whole)} samples differ between {low} and {high}")
        return faults


def _content(store: MetricStore, matchers: list[Matcher], low: int, high: int) -> set[tuple[Labels, int, float]]:
    return {
        (labels, at, value)
        for block in store.select(matchers, min_ms=low, max_ms=high)
        for labels, row, absent in zip(block.labels, block.values, is_absent(block.values), strict=True)
        for at, value in zip(block.timestamps_ms[~absent].tolist(), row[~absent].tolist(), strict=True)
    }


if __name__ == "__main__":
    write(Path(sys.argv[1]), int(sys.argv[2]))
