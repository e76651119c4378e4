"""
All rule groups, each on its own schedule; their reload, their restore, and the way of their alerts to the dispatcher.

Source: prometheus/rules/manager.go.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path

from collector.errors import ConfigError
from collector.model.alert import Alert
from collector.model.series import Labels, SampleSink, SeriesSource
from collector.rules import metrics
from collector.rules.alert_state import AlertState
from collector.rules.evaluated_rule import QueryEngine
from collector.rules.group import RuleGroup, Run, first_slot, inline, next_slot
from collector.rules.restore import file_content, restore
from collector.rules.rule import RuleGroupSpec
from collector.rules.rule_paths import Fingerprint, fingerprint, present_paths, rule_paths
from collector.rules.rulefile import Problem, RuleFileError, load
from collector.storage.durable_file import replace_file

logger = logging.getLogger(__name__)

RESEND_DELAY_S = 60.0  # Prometheus, --rules.alert.resend-delay
# After a start, how long a restored alert is believed although its expression is empty: the 10 s window of the shop's
# rules, a scrape and an export of one second each, and as much again for a machine that is busy starting.
DOUBT_S = 15.0
POLL_S = 1.0  # how soon a changed rule file is noticed
Notify = Callable[[Sequence[Alert]], Awaitable[None]]


class _Runner:
    """A group and the task that evaluates it."""

    def __init__(self, group: RuleGroup) -> None:
        self.group = group
        self.stopping = asyncio.Event()
        self.task: asyncio.Task[None] | None = None

    async def stop(self) -> None:
        """Return once the evaluation in progress, if any, is complete."""
        self.stopping.set()
        if self.task is not None:
            await self.task

    async def abort(self) -> None:
        """Stop in the middle of whatever it does; it may be started again."""
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None


class RuleManager:
    """
    Evaluates rule files until cancelled.

    Args:
        files: Paths, each of which may be a pattern such as `rules/*.yml`.
        notify: Hears of alerts that fire, again every `resend_delay_s` while they do, and of those that resolved. Must
            return once it has them for good; if it raises, they are told again at the next evaluation.
        state_path: A file that this manager owns.
        evaluation_interval_s: For groups that name none.
        query_offset_s: For groups that name none.
        external_url: Under which users see this collector, without a slash at the end.
        external_labels: What templates see as `$externalLabels`.
        run: Evaluates expressions, in a thread so that ingest keeps flowing meanwhile.
    """

    def __init__(
        self,
        *,
        files: list[str],
        engine: QueryEngine,
        sink: SampleSink,
        source: SeriesSource,
        notify: Notify,
        state_path: Path,
        evaluation_interval_s: float,
        external_url: str,
        external_labels: Mapping[str, str] | None = None,
        query_offset_s: float = 0.0,
        run: Run = inline,
        resend_delay_s: float = RESEND_DELAY_S,
        doubt_s: float = DOUBT_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._files = files
        self._engine = engine
        self._sink = sink
        self._source = source
        self._notify = notify
        self._state_path = state_path
        self._interval_ms = round(evaluation_interval_s * 1000)
        self._external_url = external_url.rstrip("/")
        self._external_labels = external_labels or {}
        self._query_offset_ms = round(query_offset_s * 1000)
        self._run = run
        self._resend_delay_ms = round(resend_delay_s * 1000)
        self._doubt_ms = round(doubt_s * 1000)
        self._clock = clock
        self._runners: dict[str, _Runner] = {}
        self._running = False
        self._restored = False
        self._fingerprint: Fingerprint = {}
        self._saved: dict[str, frozenset[tuple[Labels, AlertState]]] = {}  # by group: what the state file knows
        self._reloading = asyncio.Lock()
        self._saving = asyncio.Lock()
        self.load_error: str | None = None  # why the files as they stand are not in force

    @property
    def groups(self) -> list[RuleGroup]:
        """By file and name, as Prometheus lists them."""
        return [self._runners[key].group for key in sorted(self._runners)]

    @property
    def patterns(self) -> Sequence[str]:
        """Where rule files are looked for."""
        return tuple(self._files)

    @property
    def files(self) -> list[Path]:
        """The rule files that there are now; nothing of what is missing."""
        return present_paths(self._files)

    def _now_ms(self) -> int:
        return int(self._clock() * 1000)

    async def run(self) -> None:
        """
        Evaluate until cancelled; may be run again then.

        Bad files do not end it: they are logged, `load_error` says why, the old rules stay.
        """
        self._running = True
        try:
            await self._reload_if_changed()
            for runner in self._runners.values():
                self._start(runner)
            while True:
                await asyncio.sleep(POLL_S)
                await self._reload_if_changed()
        finally:
            self._running = False
            await asyncio.gather(*(runner.abort() for runner in self._runners.values()))

    async def _reload_if_changed(self) -> None:
        if fingerprint(self._files) == self._fingerprint:
            return
        with contextlib.suppress(ConfigError):
            await self.reload()

    async def reload(
        self,
        *,
        files: list[str] | None = None,
        evaluation_interval_s: float | None = None,
        external_labels: Mapping[str, str] | None = None,
        query_offset_s: float | None = None,
    ) -> None:
        """
        Read all files again; all of them take effect or none. Unchanged rules keep their alerts.

        Args:
            files, evaluation_interval_s, external_labels, query_offset_s: In place of what was given before, when the
                configuration has changed.

        Raises:
            ConfigError: with every problem; the old rules stay in force.
        """
        async with self._reloading:
            former = self._files, self._interval_ms, self._external_labels, self._query_offset_ms
            if files is not None:
                self._files = files
            if evaluation_interval_s is not None:
                self._interval_ms = round(evaluation_interval_s * 1000)
            if external_labels is not None:
                self._external_labels = external_labels
            if query_offset_s is not None:
                self._query_offset_ms = round(query_offset_s * 1000)
            self._fingerprint = fingerprint(self._files)
            try:
                groups = self._read(keep=former[1:3] == (self._interval_ms, self._external_labels))
            except ConfigError as error:
                self._files, self._interval_ms, self._external_labels, self._query_offset_ms = former
                self.load_error = str(error)
                metrics.RELOAD_SUCCESSFUL.set(0)
                logger.error("rule files are not usable, the old rules stay in force: %s", error)
                raise
            self.load_error = None
            await self._replace(groups)
            metrics.RELOAD_SUCCESSFUL.set(1)
            metrics.RELOAD_TIME.set(self._clock())

    def _read(self, *, keep: bool) -> dict[str, RuleGroup]:
        """`keep`: groups whose text is as it was stay as they are."""
        specs: list[RuleGroupSpec] = []
        problems: list[Problem] = []
        for path in rule_paths(self._files):
            try:
                specs += load(path, query_offset_ms=self._query_offset_ms)
            except RuleFileError as error:
                problems += error.problems
        groups: dict[str, RuleGroup] = {}
        for spec in specs:
            try:
                groups[spec.key] = self._group(spec, keep=keep)
            except RuleFileError as error:
                problems += error.problems
        if problems:
            raise RuleFileError(problems)
        return groups

    def _group(self, spec: RuleGroupSpec, *, keep: bool) -> RuleGroup:
        former = self._runners.get(spec.key)
        if keep and former is not None and former.group.spec == spec:
            return former.group
        return RuleGroup(
            spec,
            engine=self._engine,
            sink=self._sink,
            interval_ms=spec.interval_ms or self._interval_ms,
            resend_delay_ms=self._resend_delay_ms,
            external_url=self._external_url,
            external_labels=self._external_labels,
            run=self._run,
        )

    async def _replace(self, groups: dict[str, RuleGroup]) -> None:
        if not self._restored:
            self._restored = True
            now_ms = self._now_ms()
            count = restore(
                groups.values(),
                self._source,
                self._state_path,
                now_ms=now_ms,
                doubt_until_ms=now_ms + self._doubt_ms,
            )
            if count:
                logger.info("%d alerts restored", count)
        for key, former in list(self._runners.items()):
            if groups.get(key) is former.group:
                continue
            await former.stop()
            del self._runners[key]
            if key in groups:
                groups[key].take_over(former.group)
            else:
                await former.group.end_orphans(self._now_ms(), all_series=True)
                metrics.forget(key)
                self._saved.pop(key, None)
        for key, group in groups.items():
            if key not in self._runners:
                metrics.introduce(key, interval_s=group.interval_ms / 1000, rules=len(group.rules))
                self._runners[key] = _Runner(group)
                if self._running:
                    self._start(self._runners[key])

    def _start(self, runner: _Runner) -> None:
        if runner.task is None:
            runner.task = asyncio.create_task(self._evaluate_forever(runner), name=f"rules {runner.group.spec.name}")

    async def _evaluate_forever(self, runner: _Runner) -> None:
        group = runner.group
        slot_ms = first_slot(group.spec.key, self._now_ms(), group.interval_ms)
        while not await self._stopped_before(slot_ms, runner.stopping):
            metrics.ITERATIONS.labels(group.spec.key).inc()
            try:
                await self.evaluate(group, slot_ms)
            except Exception:  # a fault of ours must not end the watch
                logger.exception("evaluation of rule group %r failed", group.spec.name)
            slot_ms, missed = next_slot(slot_ms, self._now_ms(), group.interval_ms)
            if missed:
                metrics.ITERATIONS.labels(group.spec.key).inc(missed)
                metrics.ITERATIONS_MISSED.labels(group.spec.key).inc(missed)

    async def _stopped_before(self, slot_ms: int, stopping: asyncio.Event) -> bool:
        try:
            await asyncio.wait_for(stopping.wait(), timeout=max(0.0, slot_ms / 1000 - self._clock()))
        except TimeoutError:
            return False
        return True

    async def evaluate(self, group: RuleGroup, at_ms: int) -> None:
        """
        One evaluation.

        Samples are on disk before the dispatcher hears of an alert, so that no restart forgets since when it fires.
        """
        await group.evaluate(at_ms)
        alerts = group.due(at_ms)
        if alerts:
            await self._tell(group, alerts)
        await self._save_if_changed(group)

    async def _tell(self, group: RuleGroup, alerts: Sequence[Alert]) -> None:
        try:
            await self._notify(alerts)
        except Exception:  # told again at the next evaluation
            group.untell(alerts)
            logger.exception("%d alerts of rule group %r were not taken", len(alerts), group.spec.name)

    async def _save_if_changed(self, group: RuleGroup) -> None:
        notable = frozenset((alert.labels, alert.state) for rule in group.alerting for alert in rule.notable())
        if notable == self._saved.get(group.spec.key, frozenset()):
            return
        async with self._saving:
            try:
                await asyncio.to_thread(replace_file, self._state_path, file_content(self.groups))
            except OSError as error:
                logger.warning("alert state file %s was not written: %s", self._state_path, error)
                return
            self._saved[group.spec.key] = notable
