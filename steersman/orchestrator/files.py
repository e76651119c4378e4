"""Files that other processes watch: replaced as a whole, so that nobody reads half of one."""

from __future__ import annotations

import os
from pathlib import Path


def replace_file(path: Path, text: str, *, mode: int = 0o644) -> None:
    """
    Write beside `path` and rename over it.

    The name that is written to begins with a dot and ends in .tmp, so that no watcher of `*.json` or `*.yml` takes it.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "w") as file:
        os.fchmod(file.fileno(), mode)
        file.write(text)
    temporary.replace(path)
