from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from steersman.errors import AlreadyRunningError, NotRunningError
from steersman.runtime.paths import DataDir
from steersman.stack import state

HOLDER = """
import sys, time
from pathlib import Path
from steersman.runtime.paths import DataDir
from steersman.stack import state
where = DataDir.at(Path(sys.argv[1]))
with state.claim(where):
    state.write_state(where, state.own_state(where, phase="ready", port_offset=0, load=True, backend="embedded"))
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def where(tmp_path: Path) -> DataDir:
    return DataDir.at(tmp_path)


def test_second_stack_in_the_same_directory_is_refused_until_the_first_is_dead(where: DataDir):
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(where.root)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(AlreadyRunningError, match=rf"\(pid {holder.pid}, ready\)"), state.claim(where):
            pass
        assert state.require_state(where).pid == holder.pid
        holder.kill()
    assert state.state_file(where).exists()  # a crash leaves it
    assert state.read_state(where) is None
    with state.claim(where):
        pass


def test_state_of_a_later_process_with_the_same_pid_is_stale(where: DataDir):
    where.create()
    own = state.own_state(where, phase="ready", port_offset=0, load=True, backend="embedded")
    state.write_state(where, own)
    assert state.read_state(where) == own
    state.write_state(where, dataclasses.replace(own, create_time=own.create_time - 60))
    assert state.read_state(where) is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}', "null", '"x"'])
def test_damaged_state_file_counts_as_no_stack(where: DataDir, content: str):
    where.create()
    state.state_file(where).write_text(content)
    with pytest.raises(NotRunningError, match="no stack runs in"):
        state.require_state(where)


def test_state_file_is_gone_after_an_orderly_end(where: DataDir):
    with state.claim(where):
        state.write_state(where, state.own_state(where, phase="ready", port_offset=0, load=True, backend="embedded"))
    assert not state.state_file(where).exists()
