from __future__ import annotations

import pytest

from dashboards.viewer.auth.roles import Role
from dashboards.viewer.auth.users import Users
from steersman.cli.users import run_add, run_list, run_remove
from steersman.errors import StackError


def test_a_user_is_added_with_a_password_that_is_shown_once_and_removed_again(tmp_path, capsys):
    run_add(tmp_path, "ada", "operator")
    password = capsys.readouterr().out.splitlines()[-1]
    users = Users(tmp_path / "viewer" / "users.json")
    assert users.get("ada").accepts(password)
    assert users.get("ada").role is Role.OPERATOR
    run_list(tmp_path)
    shown = capsys.readouterr().out
    assert "ada" in shown
    assert password not in shown
    run_remove(tmp_path, "ada")
    assert users.get("ada") is None


def test_what_cannot_be_done_is_said_in_a_line(tmp_path):
    with pytest.raises(StackError, match="no user 'ada'"):
        run_remove(tmp_path, "ada")
    with pytest.raises(StackError, match="a user's name"):
        run_add(tmp_path, "../ada", "viewer")
