"""Steps that set a version, weights, a rate, a flag or a replica, through a real worker: helped, undone, refused."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

import nats
import pytest
import yaml
from nats.js import api
from nats_server import NatsServer, free_port

VERIFY = {"within": "1200ms", "hold": "200ms", "every": "50ms"}
OF_TARGET = '{job="{{ target }}"}'
STEPS: dict[str, dict[str, Any]] = {
    "rolls": {"rollback": {"served_well": f"fine{OF_TARGET}"}},
    "shifts": {"shift_traffic": {"away_from": "{{ annotations.zone }}", "for": "1m"}},
    "sheds": {"shed_load": {"requests_per_second": f"rate{OF_TARGET}", "for": "1m"}},
    "replaces": {"replace": {"worst": f"busy{OF_TARGET}"}},
    "flags": {"set_flag": {"flag": "{{ target }}.new", "value": False, "for": "1h"}},
}
STEPS = {name: {"name": name, **step, "verify": VERIFY} for name, step in STEPS.items()}
CONTROLS = {"rolls": "version", "shifts": "traffic", "sheds": "shedding", "replaces": "restart"}
AFTER = {"rolls": "1", "shifts": {"a": 0, "b": 100}, "sheds": 12.0}
BEFORE = {"rolls": "2", "shifts": {}, "sheds": None}


def policies(given: dict[str, list[dict[str, Any]]]) -> str:
    guards = {"cooldown": "0s", "patience": "500ms", "escalation_hold_off": "0s", "telemetry": f"telemetry{OF_TARGET}"}
    made = [
        {
            "name": name,
            "match": ['alertname="HighRequestLatency"', f'service=~"{name}.*"'],
            "guards": guards,
            "steps": steps,
        }
        for name, steps in given.items()
    ]
    limits = {"max_actions_per_hour": 1000, "max_concurrent": 100, "blast_radius": {"services": 1}}
    return yaml.safe_dump({"limits": limits, "policies": made})


@pytest.fixture(scope="module")
def nats_server(tmp_path_factory: pytest.TempPathFactory):
    server = NatsServer(tmp_path_factory.mktemp("nats"), free_port())
    server.start()
    flags(server)
    yield server
    server.kill()


def flags(server: NatsServer, *changes: tuple[str, object]) -> dict[str, tuple[object, int]]:
    """Set these, then all there are: value, and how often it was written."""

    async def exchange() -> dict[str, tuple[object, int]]:
        client = await nats.connect(server.url, token="a-token-made-up-for-tests")
        try:
            stream = client.jetstream()
            try:
                bucket = await stream.key_value("flags")
            except nats.js.errors.BucketNotFoundError:
                bucket = await stream.create_key_value(api.KeyValueConfig(bucket="flags", history=10))
                return {}
            for name, value in changes:
                await bucket.put(name, json.dumps({"value": value, "until_unix_ms": None}).encode())
            found = {}
            for name in await bucket.keys() if (await bucket.status()).values else []:
                written = await bucket.history(name)
                found[name] = (json.loads(written[-1].value)["value"], len(written))
            return found
        finally:
            await client.close()

    return asyncio.run(exchange())


@pytest.fixture(scope="module")
def worker(tmp_path_factory, worker_process, orchestrator, prometheus, nats_server):
    """One for all tests, each with services of its own."""
    folder = tmp_path_factory.mktemp("worker")
    given = {name: [step] for name, step in STEPS.items()} | {"either": [STEPS["rolls"], STEPS["sheds"]]}
    given["tried"] = [{"name": "one more", "scale": {"replicas": f"wanted{OF_TARGET}"}, "verify": VERIFY}]
    (folder / "policies.yaml").write_text(policies(given))
    running = worker_process(folder, orchestrator, prometheus)
    running.environment = {
        "REMEDIATION_NATS_URL": nats_server.url,
        "REMEDIATION_NATS_TOKEN_FILE": str(nats_server.token_file),
    }
    running.start()
    yield running
    running.stop()


@pytest.fixture
def add(orchestrator, prometheus, slow_until):
    """Adds a service that is cured when `cured_by` says so: of its kind's lever, if that is not given."""

    def make(name: str, *, cured_by=None) -> None:
        kind = name.partition("-")[0]
        cure = cured_by or (lambda: bool(orchestrator.settings_of(name, CONTROLS[kind])))
        slow_until(name, cured_by=cure, desired=2)
        now = time.time_ns() // 1_000_000
        old = {"by": "ci", "at_unix_ms": now - 900_000, "serving_unix_ms": now - 890_000}
        new = {"by": "ci", "at_unix_ms": now - 30_000, "serving_unix_ms": now - 20_000, "left_unix_ms": None}
        history = [{"version": "2", **new}, {"version": "1", **old, "left_unix_ms": now - 30_000}]
        orchestrator.controls[name, "version"] = {"version": "2", "history": history}
        orchestrator.controls[name, "traffic"] = {"weights": {}, "zones": {"a": 1, "b": 1}}
        orchestrator.controls[name, "shedding"] = {"requests_per_s": None, "until_unix_ms": None}
        prometheus.set("fine", name, 1.0)
        prometheus.set("rate", name, 12.0)
        prometheus.set("busy", name, {f"{name}-1": 0.2, f"{name}-2": 0.9})

    return make


@pytest.fixture
def fires(alert):
    def make(service: str):
        made = alert(service, starts=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()))
        made["annotations"]["zone"] = "a"
        return made

    return make


def test_each_lever_that_helps_resolves_its_run_and_says_from_what_to_what(
    worker, add, fires, orchestrator, prometheus, nats_server
):
    for name in CONTROLS:
        add(name)
    flags(nats_server, ("flags.new", True))
    add("flags", cured_by=lambda: flags(nats_server)["flags.new"][0] is False)
    ids = dict(zip(STEPS, worker.post(*map(fires, STEPS)), strict=True))
    told = {}
    for name, run_id in ids.items():
        (action,) = worker.wait_for_state(run_id, "resolved")["actions"]
        assert action["status"] == "done"
        told[name] = (action["action"], action["from"], action["to"])
    assert told == {
        "rolls": ("rollback", "2", "1"),
        "shifts": ("shift_traffic", "even", "a 0, b 100"),
        "sheds": ("shed_load", "all", "12/s"),
        "replaces": ("replace", "replaces-2", "another"),
        "flags": ("set_flag", "true", "false"),
    }
    assert {name: orchestrator.settings_of(name, CONTROLS[name]) for name in AFTER} == {
        name: [after] for name, after in AFTER.items()
    }
    ((replica, before),) = orchestrator.settings_of("replaces", "restart")
    assert (replica, before) == ("replaces-2", worker.record(ids["replaces"])["actions"][0]["at_unix_ms"])
    left_s = orchestrator.controls["rolls", "version"]["history"][-1]["left_unix_ms"] / 1000
    assert prometheus.asked_at["fine", "rolls"] == pytest.approx(left_s - 1), "how it was when it was left"


def test_what_did_not_help_is_put_back_before_people_are_told(worker, add, fires, orchestrator, nats_server):
    names = {kind: f"{kind}-in-vain" for kind in (*AFTER, "flags")}
    for name in names.values():
        add(name, cured_by=lambda: False)
    ids = worker.post(*map(fires, names.values()))
    for (kind, name), run_id in zip(names.items(), ids, strict=True):
        record = worker.wait_for_state(run_id, "escalated")
        done, undone = record["actions"]
        assert (undone["action"], undone["from"], undone["to"]) == ("undo", done["to"], done["from"])
        assert f"{done['from']} is back" in record["outcome"]
        if kind in AFTER:
            assert orchestrator.settings_of(name, CONTROLS[kind]) == [AFTER[kind], BEFORE[kind]]
    assert flags(nats_server)["flags-in-vain.new"] == (None, 2)


def test_somebody_else_s_change_is_left_as_it_is(worker, add, fires, orchestrator):
    add("rolls-contested", cured_by=lambda: False)

    def deploy(service: str) -> None:
        orchestrator.controls[service, "version"]["version"] = "3"

    orchestrator.before_put = deploy
    try:
        (run_id,) = worker.post(fires("rolls-contested"))
        record = worker.wait_for_state(run_id, "escalated")
    finally:
        orchestrator.before_put = lambda service: None
    assert "version is '3'" in record["outcome"]
    assert [one["status"] for one in record["actions"]] == ["conflict"]
    assert orchestrator.controls["rolls-contested", "version"]["version"] == "3"


def test_lever_that_has_no_ground_to_stand_on_is_refused(worker, add, fires, orchestrator, prometheus):
    names = ("rolls-unproven", "rolls-first", "shifts-alone", "sheds-unknown", "replaces-unknown")
    for name in names:
        add(name, cured_by=lambda: False)
    prometheus.set("fine", "rolls-unproven", lambda: None)
    orchestrator.controls["rolls-first", "version"]["history"].pop()
    orchestrator.controls["shifts-alone", "traffic"]["zones"]["b"] = 0
    prometheus.set("rate", "sheds-unknown", float("nan"))
    prometheus.set("busy", "replaces-unknown", lambda: None)
    orchestrator.set_to.clear()
    outcomes = []
    for run_id in worker.post(*map(fires, names)):
        record = worker.wait_for_state(run_id, "refused")
        assert record["actions"] == []
        outcomes.append(record["outcome"].partition(":")[0])
    assert outcomes == ["no_good_version", "recent_deploy", "blast_radius", "telemetry", "telemetry"]
    assert orchestrator.set_to == []


def test_refused_lever_makes_way_for_the_next_step(worker, add, fires, orchestrator, prometheus):
    add("either", cured_by=lambda: bool(orchestrator.settings_of("either", "shedding")))
    prometheus.set("fine", "either", lambda: None)
    (run_id,) = worker.post(fires("either"))
    record = worker.wait_for_state(run_id, "resolved")
    assert [one["action"] for one in record["actions"]] == ["shed_load"]


def test_replicas_are_not_replaced_one_after_the_other_until_none_is_left(worker, add, fires):
    add("replaces-again", cured_by=lambda: False)
    (first,) = worker.post(fires("replaces-again"))
    worker.wait_for_state(first, "escalated")
    again = fires("replaces-again")
    again["startsAt"] = "2036-01-02T03:04:05Z"
    (second,) = worker.post(again)
    record = worker.wait_for_state(second, "refused")
    assert "would be replica 2 of 2 replaced within 600 s, limit 1" in record["outcome"]


def test_what_was_undone_is_not_tried_again_unless_the_load_asks_for_it(
    worker, fires, orchestrator, prometheus, slow_until
):
    slow_until("tried", wanted=0.5, cured_by=3)
    (first,) = worker.post(fires("tried"))
    worker.wait_for_state(first, "escalated")
    assert orchestrator.changes("tried") == [2, 1]
    again = fires("tried") | {"startsAt": "2036-01-02T03:04:05Z"}
    (second,) = worker.post(again)
    assert "more did not help when it was tried" in worker.wait_for_state(second, "refused")["outcome"]
    prometheus.set("wanted", "tried", 2.4)
    (third,) = worker.post(again | {"startsAt": "2036-01-02T03:05:05Z"})
    worker.wait_for_state(third, "resolved_pending", "resolved")
    assert orchestrator.changes("tried") == [2, 1, 3]
