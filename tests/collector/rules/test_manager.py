"""The manager over real files, store and engine; restarts are new managers over the same folder."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import pytest

from collector.errors import ConfigError
from collector.model.alert import Alert
from collector.query.promql.engine import Engine
from collector.rules.alert_state import AlertState
from collector.rules.manager import RuleManager
from collector.storage.metrics.store import MetricStore

RULES = """
groups:
  - name: shop
    rules:
      - alert: Slow
        expr: latency > 0.5
        for: 2s
        annotations: {summary: "{{ $labels.job }} takes {{ $value }}"}
"""
Put = Callable[[int, Mapping[str, float]], Awaitable[None]]
Ask = Callable[[str, int], dict[tuple[tuple[str, str], ...], float]]


class Shop:
    """A manager with what it told, driven second by second."""

    def __init__(self, folder: Path, engine: Engine, store: MetricStore, put: Put, start_ms: int) -> None:
        self.folder, self.engine, self.store, self.put, self.now_ms = folder, engine, store, put, start_ms
        self.rules = folder / "rules.yml"
        self.told: list[Alert] = []
        self.refuse = False

    async def notify(self, alerts: Sequence[Alert]) -> None:
        if self.refuse:
            raise OSError("no space left")
        self.told += alerts

    def manager(self) -> RuleManager:
        return RuleManager(
            files=[str(self.folder / "*.yml")],
            engine=self.engine,
            sink=self.store,
            source=self.store,
            notify=self.notify,
            state_path=self.folder / "state" / "alerts.json",
            evaluation_interval_s=1,
            external_url="http://c:9090/",
            clock=lambda: self.now_ms / 1000,
        )

    async def start(self) -> RuleManager:
        """As after a start of the process: nothing is known but what is on disk."""
        self.told = []
        manager = self.manager()
        await manager.reload()
        return manager

    async def second(self, manager: RuleManager, values: Mapping[str, float] | None) -> None:
        """One second passes; None: no telemetry has arrived, and what there was is out of reach."""
        if values is not None:
            await self.put(self.now_ms, values)
        for group in manager.groups:
            await manager.evaluate(group, self.now_ms)
        self.now_ms += 1000

    async def seconds(self, manager: RuleManager, count: int, values: Mapping[str, float] | None) -> None:
        for _ in range(count):
            await self.second(manager, values)


@pytest.fixture
def shop(tmp_path: Path, engine: Engine, store: MetricStore, put: Put, start_ms: int) -> Shop:
    shop = Shop(tmp_path, engine, store, put, start_ms)
    shop.rules.write_text(RULES)
    return shop


async def test_alert_is_told_when_it_fires_and_when_it_resolves(shop: Shop, start_ms: int) -> None:
    manager = await shop.start()
    await shop.seconds(manager, 4, {"cart": 0.7})
    await shop.seconds(manager, 2, {"cart": 0.2})
    fired, resolved = shop.told
    assert (fired.starts_at_ms, fired.ends_at_ms) == (start_ms + 2000, start_ms + 2000 + 240_000)
    assert (resolved.starts_at_ms, resolved.ends_at_ms) == (start_ms + 2000, start_ms + 4000)
    assert resolved.annotations == (("summary", "cart takes 0.7"),)


async def test_alert_that_was_not_taken_is_told_again(shop: Shop, start_ms: int) -> None:
    manager = await shop.start()
    shop.refuse = True
    await shop.seconds(manager, 4, {"cart": 0.7})
    shop.refuse = False
    await shop.second(manager, {"cart": 0.7})
    assert [alert.starts_at_ms for alert in shop.told] == [start_ms + 2000]


async def test_firing_alert_keeps_its_start_over_a_restart(shop: Shop, start_ms: int) -> None:
    await shop.seconds(await shop.start(), 4, {"cart": 0.7})
    shop.now_ms += 20_000
    manager = await shop.start()
    await shop.second(manager, {"cart": 0.9})
    (alert,) = shop.told
    assert alert.starts_at_ms == start_ms + 2000
    assert alert.ends_at_ms > shop.now_ms
    assert alert.annotations == (("summary", "cart takes 0.9"),)


async def test_firing_alert_keeps_its_start_over_many_restarts_and_hours(shop: Shop, start_ms: int) -> None:
    await shop.seconds(await shop.start(), 4, {"cart": 0.7})
    for _ in range(4):
        shop.now_ms += 1_500_000
        await shop.seconds(await shop.start(), 2, {"cart": 0.7})
    assert {alert.starts_at_ms for alert in shop.told} == {start_ms + 2000}


async def test_pending_alert_does_not_begin_anew_after_a_restart(shop: Shop) -> None:
    shop.rules.write_text(RULES.replace("for: 2s", "for: 10s"))
    await shop.seconds(await shop.start(), 9, {"cart": 0.7})  # 8 s of 10 s when last seen
    shop.now_ms += 30_000
    manager = await shop.start()
    await shop.seconds(manager, 2, {"cart": 0.7})
    assert shop.told == []  # the outage does not count
    await shop.second(manager, {"cart": 0.7})
    assert len(shop.told) == 1


async def test_no_resolved_is_told_before_telemetry_is_back(shop: Shop, start_ms: int) -> None:
    shop.rules.write_text(RULES.replace("latency > 0.5", "last_over_time(latency[10s]) > 0.5"))
    await shop.seconds(await shop.start(), 4, {"cart": 0.7})
    shop.now_ms += 60_000  # so long that the window is empty
    manager = await shop.start()
    await shop.seconds(manager, 5, None)
    (rule,) = manager.groups[0].alerting
    assert rule.table.state is AlertState.FIRING
    assert all(alert.ends_at_ms > shop.now_ms for alert in shop.told)
    await shop.seconds(manager, 3, {"cart": 0.7})
    await shop.second(manager, {"cart": 0.1})
    assert (shop.told[-1].starts_at_ms, shop.told[-1].ends_at_ms) == (start_ms + 2000, shop.now_ms - 1000)


async def test_alert_that_ended_during_the_outage_is_told_as_resolved_with_its_annotations(shop: Shop) -> None:
    await shop.seconds(await shop.start(), 4, {"cart": 0.7})
    shop.now_ms += 60_000
    manager = await shop.start()
    await shop.seconds(manager, 16, {"cart": 0.1})
    assert shop.told[-1].ends_at_ms < shop.now_ms
    assert shop.told[-1].annotations == (("summary", "cart takes 0.7"),)


async def test_resolved_alert_that_was_not_told_before_the_restart_is_told_after_it(shop: Shop, start_ms: int) -> None:
    manager = await shop.start()
    await shop.seconds(manager, 4, {"cart": 0.7})
    shop.refuse = True  # as when killed between the evaluation and the dispatcher
    await shop.second(manager, {"cart": 0.1})
    shop.refuse = False
    manager = await shop.start()
    await shop.second(manager, {"cart": 0.1})
    (alert,) = shop.told
    assert (alert.starts_at_ms, alert.ends_at_ms) == (start_ms + 2000, start_ms + 4000)


@pytest.mark.parametrize("damage", [None, b"{", b'{"version": 9}', b'{"version": 1, "alerts": [3]}'])
async def test_damaged_state_file_costs_annotations_only(shop: Shop, start_ms: int, damage: bytes | None) -> None:
    await shop.seconds(await shop.start(), 4, {"cart": 0.7})
    path = shop.folder / "state" / "alerts.json"
    path.unlink() if damage is None else path.write_bytes(damage)
    shop.now_ms += 20_000
    await shop.seconds(await shop.start(), 17, {"cart": 0.1})
    assert shop.told[-1].starts_at_ms == start_ms + 2000
    assert shop.told[-1].annotations == (("summary", "cart takes NaN"),)


async def test_state_older_than_the_outage_tolerance_is_not_believed(shop: Shop) -> None:
    await shop.seconds(await shop.start(), 4, {"cart": 0.7})
    shop.now_ms += 3_700_000
    manager = await shop.start()
    await shop.second(manager, {"cart": 0.7})
    (alert,) = manager.groups[0].alerting[0].table.alerts.values()
    assert alert.state is AlertState.PENDING


async def test_recorded_value_from_before_a_restart_does_not_linger(shop: Shop, ask: Ask) -> None:
    shop.rules.write_text("groups: [{name: g, rules: [{record: seen, expr: 'last_over_time(latency[10s])'}]}]")
    await shop.seconds(await shop.start(), 2, {"cart": 0.7})
    shop.now_ms += 60_000
    assert len(ask("seen", shop.now_ms)) == 1
    await shop.second(await shop.start(), None)
    assert ask("seen", shop.now_ms) == {}


async def test_like_named_rules_get_their_own_alerts_back(shop: Shop) -> None:
    shop.rules.write_text(
        """
groups:
  - name: g
    rules:
      - {alert: Down, expr: latency > 0.5}
      - {alert: Down, expr: "sum(latency) > 5"}
"""
    )
    await shop.seconds(await shop.start(), 2, {"cart": 0.7, "catalog": 9})
    before = json.loads((shop.folder / "state" / "alerts.json").read_text())["alerts"]
    manager = await shop.start()
    await shop.second(manager, {"cart": 0.7, "catalog": 9})
    counts = [len(rule.table.alerts) for rule in manager.groups[0].alerting]
    assert counts == [2, 1]
    assert sorted(item["rule"] for item in before) == [0, 0, 1]


async def test_reload_keeps_the_alerts_of_unchanged_rules(shop: Shop, start_ms: int) -> None:
    manager = await shop.start()
    await shop.seconds(manager, 2, {"cart": 0.7})
    shop.rules.write_text("# moved\n" + RULES + "      - {record: more, expr: latency}\n")
    await manager.reload()
    await shop.second(manager, {"cart": 0.7})
    assert [alert.starts_at_ms for alert in shop.told] == [start_ms + 2000]
    assert len(manager.groups[0].rules) == 2


async def test_bad_file_is_told_and_the_old_rules_stay(shop: Shop) -> None:
    manager = await shop.start()
    (shop.folder / "another.yml").write_text("groups: [{name: fine, rules: [{record: a, expr: up}]}]")
    shop.rules.write_text(RULES.replace("latency > 0.5", "latency >"))
    with pytest.raises(
        ConfigError, match=r'rules\.yml: 6:15: group "shop", rule 1, "Slow": could not parse expression'
    ):
        await manager.reload()
    assert [group.spec.name for group in manager.groups] == ["shop"]
    assert manager.load_error is not None
    shop.rules.write_text(RULES)
    await manager.reload()
    assert [group.spec.name for group in manager.groups] == ["fine", "shop"]
    assert manager.load_error is None


async def test_series_of_a_removed_group_end(shop: Shop, ask: Ask) -> None:
    manager = await shop.start()
    await shop.seconds(manager, 1, {"cart": 0.7})
    shop.rules.unlink()
    await manager.reload()
    assert manager.groups == []
    assert ask("ALERTS", shop.now_ms) == {}


async def test_missing_file_is_refused_but_an_empty_pattern_is_not(shop: Shop, tmp_path: Path) -> None:
    manager = shop.manager()
    manager._files = [str(tmp_path / "none.yml")]
    with pytest.raises(ConfigError, match=r"none\.yml: no such file"):
        await manager.reload()
    manager._files = [str(tmp_path / "none*.yml")]
    await manager.reload()


@contextlib.asynccontextmanager
async def running(manager: RuleManager) -> AsyncIterator[None]:
    task = asyncio.create_task(manager.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_running_manager_evaluates_on_schedule_and_notices_a_changed_file(
    tmp_path: Path, engine: Engine, store: MetricStore
) -> None:
    told: asyncio.Queue[Alert] = asyncio.Queue()

    async def notify(alerts: Sequence[Alert]) -> None:
        for alert in alerts:
            told.put_nowait(alert)

    rules = tmp_path / "rules.yml"
    rules.write_text("groups: [{name: g, interval: 50ms, rules: [{alert: Broken, expr: vector(}]}]")
    manager = RuleManager(
        files=[str(rules)],
        engine=engine,
        sink=store,
        source=store,
        notify=notify,
        state_path=tmp_path / "alerts.json",
        evaluation_interval_s=1,
        external_url="http://c",
    )
    async with running(manager), asyncio.timeout(10):
        while manager.load_error is None:  # noqa: ASYNC110  (a plain attribute, which nothing announces)
            await asyncio.sleep(0.01)
        rules.write_text("groups: [{name: g, interval: 50ms, rules: [{alert: Always, expr: vector(1), for: 100ms}]}]")
        os.utime(rules, ns=(1, 1))
        alert = await told.get()
        assert dict(alert.labels) == {"alertname": "Always"}
        assert manager.load_error is None
    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("rules ")]
