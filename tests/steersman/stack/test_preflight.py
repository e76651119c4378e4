from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from steersman.errors import PortsTakenError
from steersman.stack import preflight
from steersman.stack.settings import Settings


@pytest.fixture
def taken():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_taken_port_is_named_with_what_holds_it(taken: int):
    with pytest.raises(PortsTakenError, match=rf"port {taken} \(remediation\) is held by pid {os.getpid()} \(\S+\)"):
        preflight.require_free_ports({"remediation": taken})


def test_port_taken_on_every_interface_is_found_too():
    with socket.socket() as listener:
        listener.bind(("0.0.0.0", 0))
        listener.listen()
        assert len(preflight.taken_ports({"NATS": listener.getsockname()[1]})) == 1


def test_free_ports_are_no_obstacle(settings: Settings):
    preflight.require_free_ports(settings.listening_ports)


def test_error_stays_short_when_a_whole_stack_is_in_the_way(taken: int):
    with pytest.raises(PortsTakenError, match="and 3 more; stop what is in the way"):
        preflight.require_free_ports({f"use {n}": taken for n in range(7)})


def verdict(settings: Settings, subject: str) -> preflight.Verdict:
    return next(v for v in preflight.examine(settings) if v.subject == subject)


def test_secret_that_others_can_read_is_reported_with_the_remedy(settings: Settings):
    settings.data_dir.create()
    path = settings.data_dir.token_file("load")
    path.write_text("x")
    path.chmod(0o644)
    found = verdict(settings, "secrets")
    assert (found.ok, found.blocks) == (False, False)
    assert f"chmod 600 {path}" in found.detail


def test_empty_secret_keeps_the_stack_from_starting(settings: Settings):
    settings.data_dir.create()
    settings.data_dir.token_file("load").touch(mode=0o600)
    found = verdict(settings, "secrets")
    assert (found.ok, found.blocks) == (False, True)


def test_data_directory_below_a_file_is_refused(settings: Settings, tmp_path: Path):
    (tmp_path / "data").write_text("a file")
    found = verdict(settings, "data directory")
    assert (found.ok, found.blocks) == (False, True)


def test_unreadable_services_file_is_refused(settings: Settings):
    assert "cannot read services file" in verdict(settings, "services file").detail
