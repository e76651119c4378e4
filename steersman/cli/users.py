"""`steersman users`: who may sign in to the dashboards, and as what."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from dashboards.errors import UsersError
from dashboards.viewer.auth.roles import Role
from dashboards.viewer.auth.users import Users
from steersman.errors import StackError
from steersman.runtime.paths import DataDir


def run_add(data_dir: Path, name: str, role: str) -> None:
    """The password is made, shown once, and kept only as a hash."""
    try:
        password = _users(data_dir).put(name, Role(role))
    except UsersError as error:
        raise StackError(str(error)) from error
    print(f"{name}, {role}. The password, which is not shown again:\n{password}")


def run_remove(data_dir: Path, name: str) -> None:
    """Their sessions end at once."""
    try:
        removed = _users(data_dir).remove(name)
    except UsersError as error:
        raise StackError(str(error)) from error
    if not removed:
        raise StackError(f"no user {name!r}; `steersman users list` shows who there is")
    print(f"{name} is removed, and signed out")


def run_list(data_dir: Path) -> None:
    try:
        users = _users(data_dir).all()
    except UsersError as error:
        raise StackError(str(error)) from error
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("name")
    table.add_column("role")
    for user in users:
        table.add_row(user.name, str(user.role))
    Console(highlight=False).print(table if users else "no users; the token of the dashboards signs in as admin")


def _users(data_dir: Path) -> Users:
    return Users(DataDir.at(data_dir).part("viewer") / "users.json")
