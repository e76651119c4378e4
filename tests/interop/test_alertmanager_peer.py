"""The same alerts, at the same times, to Debian's Alertmanager and to ours: their webhooks must tell the same."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from alertmanager_server import Alertmanager, Hook, debians, ours, served

pytestmark = pytest.mark.peer

INTERVAL_S = 0.5
ROUTE = {"receiver": "hook", "group_wait": "200ms", "group_interval": "500ms", "repeat_interval": "1h"}
PATIENCE_S = 10.0


class Pair(NamedTuple):
    """The two Alertmanagers and what each told its webhook."""

    peer: Alertmanager
    own: Alertmanager
    told_by_peer: Hook
    told_by_own: Hook

    async def post(self, *alerts: dict[str, Any]) -> None:
        await asyncio.gather(self.peer.post(*alerts), self.own.post(*alerts))

    async def silence(self, **fields: Any) -> tuple[str, str]:
        first, second = await asyncio.gather(self.peer.silence(**fields), self.own.silence(**fields))
        return first, second

    async def expire(self, ids: tuple[str, str]) -> None:
        for one, silence_id in zip((self.peer, self.own), ids, strict=True):
            (await one.call("DELETE", f"/api/v2/silence/{silence_id}")).raise_for_status()

    async def told(self, count: int) -> None:
        """Until both have told this often in all."""
        async with asyncio.timeout(PATIENCE_S):
            while min(len(self.told_by_peer.received), len(self.told_by_own.received)) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    async def quiet(self, intervals: float = 2) -> None:
        await asyncio.sleep(INTERVAL_S * intervals)

    def notifications(self) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
        return by_group(self.told_by_peer), by_group(self.told_by_own)


def by_group(hook: Hook) -> dict[str, list[Any]]:
    """What was told of each group, in order; times are normalised to whether they are given."""
    found: dict[str, list[Any]] = {}
    for payload in hook.received:
        shown = {key: value for key, value in payload.items() if key != "alerts"}
        shown["alerts"] = [
            {key: value for key, value in alert.items() if key not in ("startsAt", "endsAt")}
            | {"hasEnded": not alert["endsAt"].startswith("0001")}
            for alert in payload["alerts"]
        ]
        found.setdefault(f"{payload['receiver']} {payload['groupKey']}", []).append(shown)
    return found


def alert(name: str = "Slow", *, ends_in_s: float | None = 600, **labels: str) -> dict[str, Any]:
    """
    Firing until then; 0: resolved now; None: nobody says when it ends.

    It starts when it arrives: one that started longer than the group_wait ago would be told while the others of its
    request are still being taken.
    """
    now = datetime.now(UTC)
    found: dict[str, Any] = {
        "labels": {"alertname": name, **labels},
        "annotations": {"summary": f"{name} of {labels.get('job', 'all')}"},
        "generatorURL": "http://p:9090/graph",
    }
    return found if ends_in_s is None else found | {"endsAt": (now + timedelta(seconds=ends_in_s)).isoformat()}


def matching(**labels: str) -> list[dict[str, Any]]:
    return [{"name": name, "value": value, "isRegex": False, "isEqual": True} for name, value in labels.items()]


def silencing(**labels: str) -> dict[str, Any]:
    now = datetime.now(UTC)
    ends = (now + timedelta(hours=1)).isoformat()
    fields = {"startsAt": now.isoformat(), "endsAt": ends, "createdBy": "me", "comment": "known"}
    return fields | {"matchers": matching(**labels)}


Scenario = Callable[[Pair], Awaitable[None]]


async def one_fires_another_joins_both_resolve(pair: Pair) -> None:
    await pair.post(alert(job="a"))
    await pair.told(1)
    await pair.post(alert(job="b"))
    await pair.told(2)
    await pair.post(alert(job="a", ends_in_s=0))
    await pair.told(3)
    await pair.post(alert(job="b", ends_in_s=0))
    await pair.told(4)
    await pair.quiet()


async def repeated_posts_say_nothing_new(pair: Pair) -> None:
    for _ in range(4):
        await pair.post(alert(job="a"), alert("Other", job="a"))
        await pair.quiet(1)
    await pair.post(alert(job="a", ends_in_s=0), alert("Other", job="a", ends_in_s=0))
    await pair.told(4)
    await pair.quiet()


async def an_alert_that_nobody_repeats_times_out(pair: Pair) -> None:
    await pair.post(alert(job="a", ends_in_s=4))
    await pair.told(2)
    await pair.quiet()


async def a_resolved_alert_fires_again(pair: Pair) -> None:
    await pair.post(alert(job="a"))
    await pair.told(1)
    await pair.post(alert(job="a", ends_in_s=0))
    await pair.told(2)
    await pair.quiet(3)
    await pair.post(alert(job="a"))
    await pair.told(3)
    await pair.quiet()


async def routes_split_and_continue(pair: Pair) -> None:
    await pair.post(
        alert(team="shop", severity="critical", job="a"),
        alert(team="shop", severity="warning", job="a"),
        alert(team="core", severity="critical", job="b"),
        alert(team="core", job="b"),
    )
    await pair.told(4)  # one is inhibited
    await pair.quiet()


async def a_silence_hides_and_its_end_tells(pair: Pair) -> None:
    ids = await pair.silence(**silencing(job="a"))
    await pair.post(alert(job="a"), alert(job="b"))
    await pair.told(1)
    await pair.quiet()
    await pair.expire(ids)
    await pair.told(2)
    await pair.quiet()


async def what_resolves_under_a_silence_is_not_told(pair: Pair) -> None:
    await pair.post(alert(job="a"), alert(job="b"))
    await pair.told(1)
    ids = await pair.silence(**silencing(job="a"))
    await pair.post(alert(job="a", ends_in_s=0))
    await pair.quiet(3)
    await pair.expire(ids)
    await pair.post(alert(job="b", ends_in_s=0))
    await pair.told(2)
    await pair.quiet()


async def a_source_inhibits_until_it_resolves(pair: Pair) -> None:
    await pair.post(alert("Down", severity="critical", job="a"))
    await pair.told(1)
    await pair.post(alert("Slow", severity="warning", job="a"), alert("Slow", severity="warning", job="b"))
    await pair.told(2)
    await pair.quiet()
    await pair.post(alert("Down", severity="critical", job="a", ends_in_s=0))
    await pair.told(4)
    await pair.quiet()


async def too_many_alerts_are_cut_off(pair: Pair) -> None:
    await pair.post(*(alert(job=f"j{number}") for number in range(7)))
    await pair.told(1)
    await pair.post(*(alert(job=f"j{number}", ends_in_s=0) for number in range(3)))
    await pair.told(2)
    await pair.quiet()


async def only_firing_ones_are_told(pair: Pair) -> None:
    await pair.post(alert(job="a"), alert(job="b"))
    await pair.told(1)
    await pair.post(alert(job="a", ends_in_s=0))
    await pair.quiet(3)
    await pair.post(alert(job="c"))
    await pair.told(2)
    await pair.post(alert(job="b", ends_in_s=0), alert(job="c", ends_in_s=0))
    await pair.quiet(3)


async def muted_and_inactive_routes_say_nothing(pair: Pair) -> None:
    await pair.post(alert(team="muted"), alert(team="inactive"), alert(team="active"), alert(team="rest"))
    await pair.told(2)
    await pair.quiet(3)


async def a_long_firing_alert_does_not_wait(pair: Pair) -> None:
    old = alert(job="a") | {"startsAt": (datetime.now(UTC) - timedelta(hours=1)).isoformat()}
    await pair.post(old)
    await pair.told(1)  # PATIENCE_S is far below the minute of its group_wait


WEBHOOKS: dict[str, Any] = {"max_alerts": {"max_alerts": 4}, "no_resolved": {"send_resolved": False}}
ROUTES: dict[str, dict[str, Any]] = {
    "by name": {"group_by": ["alertname"]},
    "by all": {"group_by": ["..."]},
    "together": {},
    "slow to start": {"group_wait": "1m"},
    "repeating": {"group_by": ["alertname"], "repeat_interval": "1s"},
    "tree": {
        "group_by": ["job"],
        "routes": [
            {"receiver": "other", "matchers": ['severity="critical"'], "continue": True},
            {
                "matchers": ["team=~s.*"],
                "group_by": ["severity", "team"],
                "routes": [{"receiver": "other", "match": {"severity": "warning"}, "group_by": ["..."]}],
            },
            {"match_re": {"team": "core|none"}, "receiver": "other"},
        ],
    },
    "times": {
        "group_by": ["team"],
        "routes": [
            {"matchers": ["team=muted"], "mute_time_intervals": ["always"]},
            {"matchers": ["team=inactive"], "active_time_intervals": ["never"]},
            {
                "matchers": ["team=active"],
                "active_time_intervals": ["always", "never"],
                "mute_time_intervals": ["never"],
            },
        ],
    },
}
SCENARIOS: list[tuple[Scenario, str, str]] = [
    (one_fires_another_joins_both_resolve, "by name", ""),
    (one_fires_another_joins_both_resolve, "together", ""),
    (repeated_posts_say_nothing_new, "by name", ""),
    (an_alert_that_nobody_repeats_times_out, "by all", ""),
    (a_resolved_alert_fires_again, "by name", ""),
    (routes_split_and_continue, "tree", ""),
    (a_silence_hides_and_its_end_tells, "by name", ""),
    (what_resolves_under_a_silence_is_not_told, "by name", ""),
    (a_source_inhibits_until_it_resolves, "by all", ""),
    (too_many_alerts_are_cut_off, "by name", "max_alerts"),
    (only_firing_ones_are_told, "by name", "no_resolved"),
    (muted_and_inactive_routes_say_nothing, "times", ""),
    (a_long_firing_alert_does_not_wait, "slow to start", ""),
]  # fmt: skip


def config(url: str, route: str, webhook: str) -> dict[str, Any]:
    hooks = [{"url": url, **WEBHOOKS.get(webhook, {})}]
    return {
        "route": ROUTE | ROUTES[route],
        "receivers": [{"name": name, "webhook_configs": hooks} for name in ("hook", "other")],
        "inhibit_rules": [
            {
                "source_matchers": ["severity=critical"],
                "target_matchers": ["severity=warning"],
                "equal": ["job", "team"],
            }
        ],
        "time_intervals": [
            {"name": "always", "time_intervals": [{"years": ["2000:3000"]}]},
            {"name": "never", "time_intervals": [{"years": ["2000"]}]},
        ],
    }


@contextlib.asynccontextmanager
async def both(folder: Path, route: str, webhook: str) -> AsyncIterator[Pair]:
    hooks = Hook(), Hook()
    for name in ("peer", "own"):
        (folder / name).mkdir(parents=True)
    async with (
        served(hooks[0]) as peer_url,
        served(hooks[1]) as own_url,
        debians(folder / "peer", config(peer_url, route, webhook)) as peer,
        ours(folder / "own", config(own_url, route, webhook)) as own,
    ):
        yield Pair(peer, own, *hooks)


def brief(found: dict[str, list[Any]]) -> dict[str, list[list[str]]]:
    """Which alerts were told in each notification of each group."""
    return {
        key: [
            [f"{alert['status']} {' '.join(alert['labels'].values())}" for alert in payload["alerts"]]
            for payload in payloads
        ]
        for key, payloads in found.items()
    }


async def play(folder: Path, scenario: Scenario, route: str, webhook: str) -> None:
    async with both(folder, route, webhook) as pair:
        await scenario(pair)
        by_peer, by_own = pair.notifications()
        assert by_peer, "nothing was told, so nothing was compared"
        assert by_own == by_peer, f"ours: {brief(by_own)}\npeer: {brief(by_peer)}"


async def test_notifications_are_those_of_alertmanager(tmp_path: Path) -> None:
    """All scenarios at once: they mostly wait."""
    outcomes = await asyncio.gather(
        *(
            play(tmp_path / str(number), scenario, route, webhook)
            for number, (scenario, route, webhook) in enumerate(SCENARIOS)
        ),
        return_exceptions=True,
    )
    failed = {
        f"{scenario.__name__}, {route}": outcome
        for (scenario, route, _), outcome in zip(SCENARIOS, outcomes, strict=True)
        if isinstance(outcome, BaseException)
    }
    for outcome in failed.values():
        if isinstance(outcome, pytest.skip.Exception):
            raise outcome
    assert not failed, "\n\n".join(f"{name}: {outcome!r}" for name, outcome in failed.items())
