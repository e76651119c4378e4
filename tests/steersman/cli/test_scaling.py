from steersman.cli.policies import explanation
from steersman.cli.scaling import decision, forecast

STATUS = {
    "service": "catalog",
    "autoscaler": "shop",
    "at_unix_ms": 1_780_000_000_000,
    "decision": "out",
    "desired": 2,
    "ready": 2,
    "to": 4,
    "wanted": 4,
    "floor": 1,
    "reason": "utilisation 1.1, target 0.6, over 2 replicas: 4 replicas",
    "held": None,
    "run": "scaling-catalog-1",
}


def test_decision_is_told_with_its_reason_and_its_record():
    told = decision(STATUS)
    assert "out 2 → 4, 2 ready, floor 1" in told[0]
    assert told[1:] == [
        "  utilisation 1.1, target 0.6, over 2 replicas: 4 replicas",
        "  steersman remediation show scaling-catalog-1",
    ]


def test_decision_that_was_not_done_says_why():
    told = decision(STATUS | {"run": None, "held": "run a-1 is at work on catalog"})
    assert told[-1] == "  not done: run a-1 is at work on catalog"
    assert "stays at 2" in decision(STATUS | {"decision": "hold"})[0]


def test_explanation_tells_what_scaling_does_without_the_alert():
    guards = {
        "out": [{"guard": "freeze", "verdict": "pass", "reason": ""}],
        "in": [{"guard": "freeze", "verdict": "refuse", "reason": "nothing is changed during 'launch'"}],
    }
    answer = {
        "policy": None,
        "nearest": [],
        "autoscaling": {"autoscaler": "shop", "guards": guards, "last": STATUS},
    }
    told = explanation({"labels": {"service": "catalog"}}, answer)
    assert "  without an alert, autoscaler shop" in told
    assert told[-2:] == ["    scaling out may", "    scaling in may not: freeze: nothing is changed during 'launch'"]
    assert explanation({"labels": {}}, answer | {"autoscaling": None})[-1].endswith("each says no by")


FORECAST = {
    "service": "catalog",
    "query": "load",
    "season_s": 86400.0,
    "ahead_s": 900.0,
    "quantile": 0.9,
    "known_seasons": 13.5,
    "floor": 3,
    "applied": False,
    "per_replica": 12.0,
    "accuracy": {
        "points": 288,
        "error": 0.08,
        "error_of_last_season": 0.11,
        "error_of_now": 0.2,
        "covered": 0.91,
        "spare": 0.12,
    },
    "points": [{"at_unix_ms": 1_780_000_000_000, "expected": 30.0, "high": 34.0, "replicas": 3}] * 48,
}


def test_forecast_tells_its_floor_and_how_good_it_has_been():
    told = forecast(FORECAST)
    assert "floor for the next 900 s: 3 replicas (shown only; apply: true makes it a floor)" in told[2]
    assert "wrong by 8.0% of the load; last season again would be 11.0%, no change 20.0%" in told[3]
    assert len(told) == 5 + 24


def test_forecast_without_enough_history_says_so():
    unknown = {"at_unix_ms": 1_780_000_000_000, "expected": None, "high": None, "replicas": None}
    told = forecast(FORECAST | {"floor": None, "accuracy": None, "points": [unknown]})
    assert "unknown replicas" in told[2]
    assert "cannot be measured yet" in told[3]
    assert told[-1].split()[-3:] == ["unknown"] * 3
