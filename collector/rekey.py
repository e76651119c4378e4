"""
A data folder written anew under another key, or the first, or none, while no collector runs on it.

    python -m collector.rekey OLD_FOLDER NEW_FOLDER [--key-file FILE] [--new-key-file FILE]

The old folder stays as it is. What is not encrypted (the state of alerts, tokens) is copied.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import duckdb

from collector.errors import CollectorError
from collector.storage.encryption import MARK, EncryptionError, EncryptionKey, check_key
from collector.storage.encryption_config import EncryptionConfig
from collector.storage.metrics.rekey import rekey_metrics
from collector.storage.traces.connection import copy_file

METRICS, TELEMETRY = "metrics", "telemetry.duckdb"  # as in app.py
_LEFT = (METRICS, TELEMETRY, f"{TELEMETRY}.wal", "spill", MARK)


def rekey(source: Path, target: Path, *, old: EncryptionKey | None, new: EncryptionKey | None) -> None:
    """
    Raises:
        EncryptionError: `old` is not the source's key, or the target is not empty.
        CollectorError: the source is in use, or cannot be read. The target is incomplete then, and may be removed.
    """
    stores = (METRICS, TELEMETRY)
    if not all((source / name).exists() for name in stores):
        raise EncryptionError(f"{source} is no data folder of a collector: {' and '.join(stores)} are not there")
    if target.exists() and any(target.iterdir()):
        raise EncryptionError(f"{target} is not empty")
    check_key(source, old, stores=stores)
    target.mkdir(parents=True, exist_ok=True)
    try:
        copy_file(source / TELEMETRY, target / TELEMETRY, old=old, new=new)
    except duckdb.Error as error:
        raise CollectorError(f"{source / TELEMETRY} cannot be read: {error}") from error
    rekey_metrics(source / METRICS, target / METRICS, old=old, new=new)
    for entry in source.iterdir():
        if entry.name not in _LEFT:
            copy = shutil.copytree if entry.is_dir() else shutil.copy2
            copy(entry, target / entry.name)
    check_key(target, new, stores=())  # last: without its mark an encrypted folder is opened by nobody


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="collector.rekey", description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("old_folder", type=Path)
    parser.add_argument("new_folder", type=Path)
    parser.add_argument("--key-file", type=Path, help="of the old folder, if it is encrypted")
    parser.add_argument("--new-key-file", type=Path, help="of the new folder, if it is to be")
    arguments = parser.parse_args(argv)
    try:
        old, new = (
            None if path is None else EncryptionConfig(key_file=path).key(Path())
            for path in (arguments.key_file, arguments.new_key_file)
        )
        rekey(arguments.old_folder, arguments.new_folder, old=old, new=new)
    except (CollectorError, OSError) as error:
        print(f"collector.rekey: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
