"""
An archive as a folder of Parquet files: spans, log records, and for each kind the resources and scopes it refers to.

A file appears under its name once it is whole and on disk. Its metadata says which form it has (archive.py). pyarrow's
Parquet takes 20 MB of memory, so the collector itself has nothing to do with this.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from collector.errors import BadRequestError
from collector.storage.durable_file import sync_directory
from collector.storage.traces.archive import RESOURCES, SCOPES, SPANS, Kind, Part, check_schema

SUFFIX, _DRAFT = ".parquet", ".parquet.partial"
_COMPRESSION = "zstd"
GROUP_ROWS = 65_536  # of a row group: enough for dictionaries to pay, and some 60 MB of usual spans in memory
SEND_ROWS = 4_096  # of a part that is read; one moment's rows stay together
SEND_BYTES = 8 << 20


def paths_of(folder: Path, kind: Kind) -> tuple[Path, Path, Path]:
    """Of the resources, the scopes and the records."""
    return tuple(folder / f"{name}{SUFFIX}" for name in (f"{kind.name}.resources", f"{kind.name}.scopes", kind.name))  # type: ignore[return-value]


def write_files(folder: Path, kind: Kind, parts: Iterable[Part]) -> int:
    """
    Write an archive's parts; returns how many records there were. If `parts` fails, no file of the kind appears.

    Raises:
        FileExistsError: there is an archive of this kind already.
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = paths_of(folder, kind)
    if there := [path for path in paths if path.exists()]:
        raise FileExistsError(f"{there[0]} is there already; export into another folder")
    drafts = [path.with_suffix(_DRAFT) for path in paths]
    rows = 0
    try:
        with ExitStack() as stack:
            schemas = (RESOURCES, SCOPES, kind.schema)
            tables = [stack.enter_context(_Rows(draft, schema)) for draft, schema in zip(drafts, schemas, strict=True)]
            for part in parts:
                for rows_of, table in zip(tables, (part.resources, part.scopes, part.records), strict=True):
                    rows_of.add(table)
                rows += part.records.num_rows
        for draft, path in zip(drafts, paths, strict=True):
            draft.replace(path)
    except BaseException:
        for draft in drafts:
            draft.unlink(missing_ok=True)
        raise
    sync_directory(folder)
    return rows


class _Rows:
    """One file, written a row group at a time."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path = path
        self._waiting: list[pa.Table] = []
        self._count = 0
        self._file = path.open("wb")
        self._writer = pq.ParquetWriter(self._file, schema, compression=_COMPRESSION, write_page_checksum=True)

    def __enter__(self) -> _Rows:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._file, self._writer:  # both also if it failed: the writer would write when it is collected
            if kind is None:
                self._write()
        if kind is None:
            with self._path.open("rb") as file:
                os.fsync(file.fileno())

    def add(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self._count += table.num_rows
        if self._count >= GROUP_ROWS:
            self._write()

    def _write(self) -> None:
        if self._count:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=GROUP_ROWS)
        self._waiting, self._count = [], 0


def check_files(folder: Path, kind: Kind) -> int | None:
    """
    Read every page of an archive's files; returns how many records there are, None if there is none of this kind.

    Raises:
        BadRequestError: a file is missing, is none of these, is of another version, or was cut or changed.
    """
    paths = paths_of(folder, kind)
    if not paths[2].exists():
        return None
    for path, schema in zip(paths, (RESOURCES, SCOPES, kind.schema), strict=True):
        with _opened(path, schema) as file:
            for _ in _batches(path, file):
                pass
            rows = int(file.metadata.num_rows)
    return rows


def read_files(folder: Path, kind: Kind) -> Iterator[Part]:
    """
    The archive in parts that each bring all they refer to, and that do not part what is of one moment.

    Raises:
        BadRequestError: as `check_files`.
    """
    resources_path, scopes_path, records_path = paths_of(folder, kind)
    with _opened(resources_path, RESOURCES) as file:
        resources = _ById(file.read())
    with _opened(scopes_path, SCOPES) as file:
        scopes = _ById(file.read())
    with _opened(records_path, kind.schema) as file:
        for records in _together(_batches(records_path, file), kind):
            yield Part(resources.some(records.column("resource_id")), scopes.some(records.column("scope_id")), records)


class _ById:
    def __init__(self, table: pa.Table) -> None:
        self._table = table
        self._places = {number: place for place, number in enumerate(table.column("id").to_pylist())}

    def some(self, ids: pa.ChunkedArray) -> pa.Table:
        """Those that are there."""
        places = sorted(self._places[number] for number in set(ids.to_pylist()) if number in self._places)
        return self._table.take(places) if places else self._table.slice(0, 0)


def _opened(path: Path, schema: pa.Schema) -> pq.ParquetFile:
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        check_schema(file.schema_arrow, schema)
    except FileNotFoundError as error:
        raise BadRequestError(f"{path} is missing") from error
    except BadRequestError as error:
        raise BadRequestError(f"{path}: {error}") from error
    except (pa.ArrowException, OSError) as error:
        raise BadRequestError(f"{path} is not a whole Parquet file: {error}") from error
    return file


def _batches(path: Path, file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    try:
        yield from file.iter_batches(batch_size=SEND_ROWS)
    except (pa.ArrowException, OSError) as error:
        raise BadRequestError(f"{path} was cut or changed: {error}") from error


def _together(batches: Iterable[pa.RecordBatch], kind: Kind) -> Iterator[pa.Table]:
    waiting = kind.schema.empty_table()
    for batch in batches:
        waiting = pa.concat_tables(
            [waiting, pa.Table.from_batches([batch]).replace_schema_metadata(kind.schema.metadata)]
        )
        if waiting.num_rows >= SEND_ROWS or waiting.nbytes >= SEND_BYTES:
            edges = np.flatnonzero(np.diff(_moments(waiting, kind))) + 1
            if len(edges):
                yield waiting.slice(0, int(edges[-1]))
                waiting = waiting.slice(int(edges[-1]))
    if waiting.num_rows:
        yield waiting


def _moments(table: pa.Table, kind: Kind) -> NDArray[np.uint64]:
    columns = ("start_unix_nano",) if kind is SPANS else ("time_unix_nano", "observed_unix_nano")
    first, *other = (np.asarray(table.column(name).to_numpy(), np.uint64) for name in columns)
    return np.where(first == 0, other[0], first) if other else first
