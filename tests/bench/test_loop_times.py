"""What the table of loop times is made of; the measurement is bench/loop_times.py, which needs an hour and a half."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from remediation.policy.book import load_policies

BENCH = Path(__file__).parents[2] / "bench"
FAULT_MS = 1_700_000_000_000
RECORD = {
    "alert": {"startsAt": "2023-11-14T22:13:24.5Z"},
    "started_at_unix_ms": FAULT_MS + 4_600,
    "state": "resolved_pending",
    "outcome": None,
    "timeline": [
        {"event": "accepted", "at_unix_ms": FAULT_MS + 4_600},
        {"event": "scale_out", "at_unix_ms": FAULT_MS + 4_800},
        {"event": "scale_out", "at_unix_ms": FAULT_MS + 13_000},
        {"event": "verified", "at_unix_ms": FAULT_MS + 26_000},
    ],
}


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))


def arm(name):
    from stacks.arms import ARMS

    return next(each for each in ARMS if each.name == name)


def test_times_count_from_the_fault_to_the_first_of_each_event():
    from loop_times import Times

    times = Times.of(RECORD, FAULT_MS, 24.0)
    assert (times.firing, times.notified, times.action, times.verified, times.served) == (4.5, 4.6, 4.8, 26.0, 24.0)
    assert times.outcome == ""


def test_a_run_that_was_never_verified_says_what_became_of_it():
    from loop_times import Times, table

    given_up = RECORD | {"state": "escalated", "outcome": "it did not help", "timeline": RECORD["timeline"][:2]}
    times = Times.of(given_up, FAULT_MS, None)
    assert (times.action, times.verified, times.outcome) == (4.8, None, "escalated: it did not help")
    row = table({"embedded": [times, Times.of(RECORD, FAULT_MS, 24.0)]})[2]
    assert row.endswith(
        "| 4.5 s (4.5 s) | 4.6 s (4.6 s) | 4.8 s (4.8 s) | 26.0 s (26.0 s, 1 of 2) | 24.0 s (24.0 s, 1 of 2) |"
    )


def test_rare_scrapes_get_rules_and_policies_that_they_can_answer(tmp_path):
    code = arm("default").code(tmp_path / "copy")
    rules = yaml.safe_load((code / "rules" / "latency.yml").read_text())["groups"][0]
    assert "interval" not in rules
    assert "[240s]" in rules["rules"][0]["expr"]
    policy = next(one for one in load_policies(code / "policies").policies if one.name == "scale-out-on-latency")
    assert policy.steps[0].verify.within == 40 + 240 + 2 * 60
    assert "[240s]" in policy.steps[0].scale.replicas
    assert "[240s]" in policy.guards.telemetry


def test_the_second_that_ships_is_left_as_it_is(tmp_path):
    code = arm("tightest").code(tmp_path / "copy")
    for file in ("rules/latency.yml", "policies/shop.yaml"):
        assert (code / file).read_text() == (BENCH.parent / file).read_text()


def test_own_defaults_means_that_nothing_is_set(tmp_path, monkeypatch):
    from stacks import arms

    from steersman.runtime.paths import DataDir

    data_dir, told = DataDir.at(tmp_path), []
    data_dir.create()
    monkeypatch.setattr(arms.os, "kill", lambda pid, _signal: told.append(pid))
    prometheus = {"global": {"scrape_interval": "1s"}, "scrape_configs": [{"job_name": "a", "scrape_interval": "1s"}]}
    route = {"receiver": "remediation", "group_by": ["alertname"], "group_wait": "0s", "repeat_interval": "1m"}
    (data_dir.run / "prometheus.yml").write_text(yaml.safe_dump(prometheus))
    (data_dir.run / "alertmanager.yml").write_text(yaml.safe_dump({"route": route}))
    arm("default").configure(data_dir, {"prometheus": 11, "alertmanager": 12})
    assert yaml.safe_load((data_dir.run / "prometheus.yml").read_text()) == {
        "global": {},
        "scrape_configs": [{"job_name": "a"}],
    }
    kept = {"receiver": "remediation", "group_by": ["alertname"]}
    assert yaml.safe_load((data_dir.run / "alertmanager.yml").read_text()) == {"route": kept}
    assert told == [11, 12]


async def test_customers_count_as_served_once_they_stay_so(tmp_path, monkeypatch):
    import loop_times
    from loop_times import Watched

    from remediation.drills.endpoints import Endpoints
    from steersman.runtime.paths import DataDir

    p99s = [0.1, 2.0, None, 0.2, 0.7, 0.2, 0.2, 0.2, 0.2, 0.2, 0.2]
    polls: list[float | None] = []  # one a second
    monkeypatch.setattr(loop_times.time, "time", lambda: float(len(polls)))
    monkeypatch.setattr(loop_times, "POLL_S", 0)

    class Scripted(Watched):
        async def _p99(self):
            polls.append(p99s[len(polls)])
            return polls[-1]

        async def _record(self, began):
            return RECORD | {"finished_at_unix_ms": None}

    endpoints = Endpoints(data_dir=DataDir.at(tmp_path))
    async with Scripted(endpoints, "http://127.0.0.1:1", arm("embedded")) as stack:
        times = await stack._watch(0.0)
    assert times.served == 6.0
    assert len(polls) == times.served + loop_times.SERVED_FOR_S
