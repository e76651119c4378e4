"""`steersman up` as a process; the whole of it, working, is tested in tests/e2e."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from steersman.stack import state
from steersman.stack.preflight import taken_ports
from steersman.stack.settings import Settings


@pytest.fixture
def starting(settings: Settings) -> Iterator[subprocess.Popen[str]]:
    """A stack of which only the first parts are up."""
    settings.services_file.write_text(
        f"services: {{slow: {{command: [{sys.executable}, -c, 'import time; time.sleep(60)']}}}}"
    )
    argv = [sys.executable, "-m", "steersman", "up", "--data-dir", str(settings.data_dir.root)]
    argv += ["--port-offset", str(settings.port_offset), "--services", str(settings.services_file)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if "traefik is ready" in line:
                break
        yield child
        child.kill()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGHUP, 0), (signal.SIGKILL, -9)]
)
def test_signal_in_the_middle_of_the_start_leaves_nothing(starting, settings: Settings, number, code):
    family = psutil.Process(starting.pid).children(recursive=True)
    assert len(family) >= 3
    starting.send_signal(number)
    said, _ = starting.communicate(timeout=30)
    assert starting.returncode == code, said
    assert psutil.wait_procs(family, timeout=5)[1] == []
    assert state.read_state(settings.data_dir) is None
    assert taken_ports(settings.listening_ports) == []
    if code == 0:
        assert "stopped in" in said
        assert "Traceback" not in said
