"""
A root filesystem of Debian's kind, for images where none can be pulled: the files of packages that this machine has
installed, and of what these depend on, as dpkg knows them.
"""

from __future__ import annotations

import io
import re
import subprocess
import tarfile
from pathlib import Path

# What `python:3-slim` has of use to an image of ours: Python with venv, a shell, coreutils, useradd, certificates.
PYTHON = ("python3-venv", "dash", "coreutils", "grep", "sed", "passwd", "ca-certificates", "libstdc++6")
LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64"}
FOLDERS = {"tmp": 0o1777, "var/tmp": 0o1777, "root": 0o700, "proc": 0o755, "sys": 0o755, "dev": 0o755, "run": 0o755}
ACCOUNTS = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/sh\n",
    "etc/group": "root:x:0:\n",
    "etc/shadow": "root:*:19000:0:99999:7:::\n",
}
_ALTERNATIVES = re.compile(r"[|,]")
_NEEDLESS = ("/usr/share/doc/", "/usr/share/man/", "/usr/share/locale/", "/usr/share/info/")


def write_root(archive: Path, packages: tuple[str, ...] = PYTHON, *, pip_conf: str = "") -> None:
    """
    A tar that `docker import` takes.

    Args:
        pip_conf: What its pip is to keep to.

    Raises:
        CalledProcessError: a package is not installed, or this is no Debian.
    """
    files: set[Path] = set()
    for name in _closure(packages):
        listed = _asked("dpkg-query", "--listfiles", name).splitlines()
        files |= {_merged(Path(line)) for line in listed if line.startswith("/") and not line.startswith(_NEEDLESS)}
    files |= {Path("/etc/ssl/certs/ca-certificates.crt"), Path("/etc/ld.so.cache")}  # made, not shipped
    with tarfile.open(archive, "w") as tar:
        for name, target in LINKS.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            tar.addfile(entry)
        for name, mode in FOLDERS.items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, mode
            tar.addfile(entry)
        for path in sorted(files):
            if (path.is_symlink() or path.is_file()) and str(path)[1:] not in LINKS:
                tar.add(path, str(path)[1:], recursive=False)
        for name, text in ACCOUNTS.items():
            _add_text(tar, name, text)
        if pip_conf:
            _add_text(tar, "etc/pip.conf", pip_conf)


def _closure(packages: tuple[str, ...]) -> set[str]:
    """Of installed packages; of alternatives that one which is installed."""
    told = _asked("dpkg-query", "--show", "--showformat", "${Package}\t${Provides}\t${Pre-Depends},${Depends}\n")
    needs: dict[str, str] = {}
    providers: dict[str, str] = {}
    for line in told.splitlines():
        name, provided, wanted = line.split("\t")
        needs[name] = wanted
        providers |= {_name(word): name for word in provided.split(",") if word.strip()}
    found: set[str] = set()
    waiting = list(packages)
    while waiting:
        name = waiting.pop()
        name = name if name in needs else providers.get(name, name)
        if name in needs and name not in found:
            found.add(name)
            waiting += [_name(word) for word in _ALTERNATIVES.split(needs[name]) if word.strip()]
    missing = set(packages) - found
    if missing:
        _asked("dpkg-query", "--listfiles", *missing)  # says which is not installed
    return found


def _name(word: str) -> str:
    return word.strip().partition(" ")[0].partition(":")[0]


def _merged(path: Path) -> Path:
    """Where it really is: `/bin` is a link to `/usr/bin`."""
    return path.parent.resolve() / path.name


def _asked(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


def _add_text(tar: tarfile.TarFile, name: str, text: str) -> None:
    entry = tarfile.TarInfo(name)
    data = text.encode()
    entry.size, entry.mode = len(data), 0o644
    tar.addfile(entry, io.BytesIO(data))
