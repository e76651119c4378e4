"""`audit verify` on a real worker's API, over a real store."""

from __future__ import annotations

import sqlite3
import threading
from types import SimpleNamespace

import pytest
import uvicorn
from fastapi import FastAPI

from remediation.api.audit import install_audit
from remediation.store.record import KillSwitch
from remediation.store.store import Store
from steersman.cli import audit
from steersman.errors import StackError


@pytest.fixture
def served(tmp_path):
    store = Store.in_file(tmp_path / "store.sqlite")
    for number in range(5):
        store.stop_all(KillSwitch(reason=f"turn {number}", by="ada", at_unix_ms=number))
    app = FastAPI()
    install_audit(app, SimpleNamespace(store=store))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", tmp_path / "store.sqlite"
    server.should_exit = True
    thread.join()
    store.close()


def test_untouched_log_is_verified_and_its_head_is_found_again_later(served, tmp_path, capsys, monkeypatch):
    url, _ = served
    monkeypatch.setattr(audit, "PAGE", 2)
    audit.run_verify(tmp_path, url=url, expect=None)
    told = capsys.readouterr().out
    assert told.startswith("5 entries")
    audit.run_verify(tmp_path, url=url, expect=told.split()[-1])
    with pytest.raises(StackError, match="entry 3 is not the one"):
        audit.run_verify(tmp_path, url=url, expect="3:" + "0" * 64)
    with pytest.raises(StackError, match="SEQUENCE:HASH"):
        audit.run_verify(tmp_path, url=url, expect="x")


def test_edited_log_is_found(served, tmp_path):
    url, path = served
    other = sqlite3.connect(path)
    other.execute("UPDATE remediation_audit SET detail_json = '{}' WHERE sequence = 3")
    other.commit()
    other.close()
    with pytest.raises(StackError, match="has been changed: entry 3 has been edited"):
        audit.run_verify(tmp_path, url=url, expect=None)
