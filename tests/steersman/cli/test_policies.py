from __future__ import annotations

import pytest

from steersman.cli import policies
from steersman.errors import StackError

POLICY = """
policies:
  - name: NAME
    match: ['alertname="X"']
    steps:
      - {name: add, restart: {}, verify: {within: 20s}}
"""


def test_check_names_file_key_and_value_of_each_fault_and_goes_on(tmp_path, capsys):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(POLICY.replace("NAME", "one"))
    bad.write_text(POLICY.replace("NAME", "one").replace("20s", "20"))
    assert policies.run_check([bad, good]) == 1
    told = capsys.readouterr()
    assert f"{bad}: policies[0].steps[0].verify.within (policy one): " in told.err
    assert "got 20" in told.err
    assert 'one (priority 0) {alertname="X"}: restart' in told.out
    assert policies.run_check([good]) == 0
    assert policies.run_check([tmp_path / "none.yaml"]) == 1


def test_check_names_each_step_that_the_scaler_does_not_support(tmp_path, capsys):
    file = tmp_path / "policies.yaml"
    file.write_text(POLICY.replace("NAME", "one").replace("restart: {}", "shift_traffic: {}"))
    assert policies.run_check([file], scaler="local") == 0
    assert policies.run_check([file], scaler="kubernetes") == 1
    told = capsys.readouterr().err
    assert told == f"{file}: policy one, step 'add': the scaler kubernetes does not support shift_traffic\n"


@pytest.mark.parametrize(
    "text",
    ['{"labels": {"a": "b"}}', '[{"labels": {"a": "b"}}]', '{"version": "4", "alerts": [{"labels": {"a": "b"}}]}'],
)
def test_alert_is_read_from_a_notification_a_list_or_alone(tmp_path, text):
    file = tmp_path / "alert.json"
    file.write_text(text)
    assert policies.read_alerts(file) == [{"labels": {"a": "b"}}]


@pytest.mark.parametrize(("text", "named"), [("{", "not JSON"), ("[]", "no alerts"), ("[1]", "alert 0 has no labels")])
def test_file_without_an_alert_is_refused(tmp_path, text, named):
    file = tmp_path / "alert.json"
    file.write_text(text)
    with pytest.raises(StackError, match=named):
        policies.read_alerts(file)


def test_explanation_tells_policy_guards_and_plan():
    answer = {
        "policy": "scale-out",
        "why": ['alertname="X"'],
        "also_match": [],
        "target": "cart",
        "guards": [
            {"guard": "cooldown", "verdict": "pass", "reason": "no other run acted"},
            {"guard": "freeze", "verdict": "refuse", "reason": "nothing is changed during 'sunday'"},
        ],
        "plan": [{"step": "add", "detail": "scale cart 1 → 2", "verify": "it is over", "on_failure": "undo"}],
        "would": "refuse",
        "reason": "freeze: nothing is changed during 'sunday'",
    }
    text = "\n".join(policies.explanation({"labels": {"alertname": "X"}}, answer))
    assert "REFUSE  freeze    nothing is changed during 'sunday'" in text
    assert "1. add: scale cart 1 → 2" in text
    assert text.endswith("now it would refuse: freeze: nothing is changed during 'sunday'")
