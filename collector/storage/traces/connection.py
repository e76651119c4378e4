"""
The connection to the DuckDB file, encrypted or not.

DuckDB encrypts what it attaches: blocks, the write-ahead log and what it spills, with AES-256 in Galois/Counter mode,
and refuses a wrong key. As it is built for Python it does that with mbedTLS, and wants to be told that this is meant:
its nonces come from a generator that is seeded for each by 64 bits of the kernel's randomness, not by 96. Of a million
blocks (256 GB) two share a nonce with a probability of 3e-8. The key of the database is given; that of what is spilled,
which dies with the process, comes from the same generator and so is one of 2^64. See
docs/adr/0008-encryption-by-the-databases-own-cipher.md.
"""

from __future__ import annotations

from pathlib import Path

import duckdb

from collector.storage.encryption import EncryptionKey

_CATALOG = "telemetry"
_PURPOSE = "the DuckDB file of spans and logs"

_ENCRYPTED = {"force_mbedtls_unsafe": True, "temp_file_encryption": True}

Settings = dict[str, str | bool | int | float | list[str]]


class TelemetryConnection:
    """The writer's own connection, and cursors for readers."""

    def __init__(self, path: Path, settings: Settings, key: EncryptionKey | None) -> None:
        """
        Raises:
            duckdb.Error: it cannot be opened; the message does not hold the key.
        """
        self._encrypted = key is not None
        if key is None:
            self.writer = duckdb.connect(str(path), config=settings)
            return
        self.writer = duckdb.connect(config=settings | _ENCRYPTED)
        try:
            _attach(self.writer, path, _CATALOG, key)
            self.writer.execute(f"USE {_CATALOG}")
        except BaseException:
            self.writer.close()
            raise

    def cursor(self) -> duckdb.DuckDBPyConnection:
        cursor = self.writer.cursor()
        if self._encrypted:
            cursor.execute(f"USE {_CATALOG}")  # each connection has its own default
        return cursor

    def close(self) -> None:
        self.writer.close()


def copy_file(source: Path, target: Path, *, old: EncryptionKey | None, new: EncryptionKey | None) -> None:
    """
    Write all that one file holds, its log with it, into another one under another key.

    Raises:
        duckdb.Error: it cannot be read with `old`, or is in use.
    """
    with duckdb.connect(config={**_ENCRYPTED, "memory_limit": "256MiB", "temp_directory": f"{target}.spill"}) as both:
        _attach(both, source, "source", old, "READ_ONLY")
        _attach(both, target, "target", new)
        both.execute("COPY FROM DATABASE source TO target")
        both.execute("CHECKPOINT target")


def _attach(
    connection: duckdb.DuckDBPyConnection, path: Path, name: str, key: EncryptionKey | None, *options: str
) -> None:
    named = str(path).replace("'", "''")
    if key is not None:
        options += (f"ENCRYPTION_KEY '{key.derived(_PURPOSE).hex()}'", "ENCRYPTION_CIPHER 'GCM'")
    connection.execute(f"ATTACH '{named}' AS {name}" + (f" ({', '.join(options)})" if options else ""))
