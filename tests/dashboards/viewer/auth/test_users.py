from __future__ import annotations

import json
import stat

import pytest

from dashboards.errors import UsersError
from dashboards.viewer.auth.attempts import Attempts
from dashboards.viewer.auth.audit import MAX_REFUSALS_A_MINUTE, AuditLog
from dashboards.viewer.auth.roles import Act, Identity, Role
from dashboards.viewer.auth.users import Users


def test_a_made_password_is_accepted_and_not_in_the_file(tmp_path):
    users = Users(tmp_path / "users.json")
    password = users.put("ada", Role.OPERATOR)
    assert len(password) >= 24
    assert Users(tmp_path / "users.json").get("ada").accepts(password)
    assert not users.get("ada").accepts(password + "x")
    assert password not in (tmp_path / "users.json").read_text()
    assert stat.S_IMODE((tmp_path / "users.json").stat().st_mode) == 0o600


def test_a_change_of_the_file_counts_at_once(tmp_path):
    here, there = Users(tmp_path / "users.json"), Users(tmp_path / "users.json")
    here.put("ada", Role.OPERATOR, "correct horse battery")
    assert there.get("ada").role is Role.OPERATOR
    assert here.remove("ada")
    assert there.get("ada") is None
    assert not here.remove("ada")


@pytest.mark.parametrize(("name", "password"), [("", "long enough 1"), ("../x", "long enough 1"), ("ada", "short")])
def test_unusable_names_and_passwords_are_refused(tmp_path, name, password):
    with pytest.raises(UsersError):
        Users(tmp_path / "users.json").put(name, Role.VIEWER, password)
    assert not (tmp_path / "users.json").exists()


@pytest.mark.parametrize("text", ["", "[]", '{"users": [{"name": "a"}]}', '{"users": 3}'])
def test_a_file_that_is_none_is_named_and_lets_nobody_in(tmp_path, text):
    (tmp_path / "users.json").write_text(text)
    with pytest.raises(UsersError, match=r"users\.json: not a users file"):
        Users(tmp_path / "users.json").get("ada")


def test_attempts_come_back_with_time_and_success_forgets_failures():
    attempts = Attempts(capacity=2, refill_s=10)
    attempts.failed("a", 0.0)
    assert attempts.wait_s("a", 0.0) == 0
    attempts.failed("a", 0.0)
    assert attempts.wait_s("a", 0.0) == 10
    assert attempts.wait_s("a", 4.0) == pytest.approx(6)
    assert attempts.wait_s("a", 10.0) == 0
    assert attempts.wait_s("b", 0.0) == 0
    attempts.succeeded("a")
    assert attempts.wait_s("a", 0.0) == 0


def test_the_audit_log_is_only_appended_to_and_a_stranger_cannot_fill_it(tmp_path):
    audit = AuditLog(tmp_path / "audit.jsonl")
    ada = Identity("ada", Role.OPERATOR)
    audit.write(ada, Act.START_DRILL, target="latency-surge", client="127.0.0.1", outcome="done")
    first = audit.path.read_bytes()
    for _ in range(3 * MAX_REFUSALS_A_MINUTE):
        audit.write(Identity("x", None), "sign_in", target="y" * 10_000, client="127.0.0.1", outcome="refused")
    assert audit.path.read_bytes().startswith(first)
    lines = [json.loads(line) for line in audit.path.read_text().splitlines()]
    assert len(lines) <= 1 + 2 * MAX_REFUSALS_A_MINUTE  # a minute may have turned meanwhile
    assert max(len(line["target"]) for line in lines) == 500
    assert stat.S_IMODE(audit.path.stat().st_mode) == 0o600


def test_a_line_that_was_cut_off_is_left_out(tmp_path):
    audit = AuditLog(tmp_path / "audit.jsonl")
    audit.write(Identity("ada", Role.ADMIN), "sign_in", target="viewer", client="::1", outcome="done")
    with audit.path.open("a") as file:
        file.write('{"at_unix_ms": 17')
    assert [line["who"] for line in audit.newest(10)] == ["ada"]


def test_roles_include_one_another():
    viewer, operator, admin = (Identity("x", role) for role in (Role.VIEWER, Role.OPERATOR, Role.ADMIN))
    assert not viewer.may(Act.START_DRILL)
    assert operator.may(Act.START_DRILL)
    assert not operator.may(Act.READ_AUDIT)
    assert all(admin.may(act) for act in Act)
    assert not any(Identity("nobody", None).may(act) for act in Act)
