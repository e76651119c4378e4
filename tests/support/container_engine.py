"""A Docker-compatible engine for tests: podman's API service over runc, its state in a folder of the test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import docker
import pytest

STARTS_WITHIN_S = 20
IMAGE = "steersman-test/sleeper:1"
SLEEPER = """
#include <signal.h>
#include <unistd.h>
static void end(int number) { (void)number; _exit(0); }
int main(void) { signal(SIGTERM, end); for (;;) pause(); }
"""


def require_engine() -> None:
    missing = [name for name in ("podman", "runc", "gcc") if shutil.which(name) is None]
    if os.geteuid() != 0:
        missing.append("root")
    if not missing:
        return
    reason = f"needs {', '.join(missing)}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def running_engine(driver: str = "vfs") -> Iterator[str]:
    """
    Yields its address, `unix://…`. Containers in it can only use the host's network.

    Args:
        driver: How layers are stored: `vfs` works everywhere and copies them; `overlay` is for large images.
    """
    require_engine()
    folder = Path(tempfile.mkdtemp(prefix="engine-"))  # a socket's path must be short, and pytest's are not
    configuration = folder / "containers.conf"
    configuration.write_text(
        textwrap.dedent("""\
        [containers]
        default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
        [engine]
        runtime = "runc"
        cgroup_manager = "cgroupfs"
        events_logger = "file"
        """)
    )
    socket = folder / "engine.sock"
    command = ["podman", f"--storage-driver={driver}", "--root", str(folder / "root"), "--runroot", str(folder / "run")]
    command += ["system", "service", "--time=0", f"unix://{socket}"]
    with (folder / "engine.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env={**os.environ, "CONTAINERS_CONF": str(configuration)}
        )
    try:
        deadline = time.monotonic() + STARTS_WITHIN_S
        while not socket.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError((folder / "engine.log").read_text())
            time.sleep(0.05)
        yield f"unix://{socket}"
    finally:
        process.terminate()
        process.wait(STARTS_WITHIN_S)
        _remove(folder)


def _remove(folder: Path) -> None:
    """With what the engine leaves mounted when it ends; by `rm`, since an image has tens of thousands of files."""
    mounted = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for point in sorted((one for one in mounted if one.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", "--lazy", point], check=True, timeout=30)
    subprocess.run(["rm", "-rf", "--one-file-system", str(folder)], check=True, timeout=120)


def build_sleeper(client: docker.DockerClient, folder: Path) -> str:
    """An image from scratch, with one static program that sleeps until SIGTERM."""
    (folder / "sleeper.c").write_text(SLEEPER)
    subprocess.run(["gcc", "-static", "-O2", "-o", str(folder / "sleeper"), str(folder / "sleeper.c")], check=True)
    (folder / "Dockerfile").write_text('FROM scratch\nCOPY sleeper /sleeper\nENTRYPOINT ["/sleeper"]\n')
    client.images.build(path=str(folder), tag=IMAGE, rm=True)
    return IMAGE
