"""`export` and `import`: a range of time of the collector's spans and log records, into Parquet files and back."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import httpx
import pyarrow as pa
import typer

from collector.errors import CollectorError
from collector.storage.traces.archive import KINDS, Kind, Part, parts_of
from collector.storage.traces.parquet import check_files, paths_of, read_files, write_files
from steersman.cli.peers import ask
from steersman.errors import ArchiveError, PeerError
from steersman.runtime.paths import DataDir
from steersman.runtime.tokens import read_token
from steersman.stack.settings import Urls
from steersman.stack.state import require_state

_NANO = 1_000_000_000
_LAST = 2**64 - 1
_AGO = re.compile(r"(\d{1,6})(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# A part of an import is searched for in the store before it is written; a busy collector takes seconds for one.
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)


def run_export(
    data_dir: Path, out: Path, *, since: str, until: str, only: str | None, url: str | None, token_file: Path | None
) -> None:
    now = time.time()
    start, end = moment_nano(since, now, "--from"), moment_nano(until, now, "--to")
    if start > end:
        raise typer.BadParameter(f"{since} is after {until}", param_hint="--from")
    kinds = _kinds(only)
    for kind in kinds:
        if there := [path for path in paths_of(out, kind) if path.exists()]:
            raise ArchiveError(f"{there[0]} is there already; export into another folder")
    where, token = _collector(data_dir, url, token_file)
    for kind in kinds:
        parameters = {"kind": kind.name, "start_unix_nano": str(start), "end_unix_nano": str(end)}
        try:
            rows = write_files(out, kind, _received(where, token, kind, parameters))
        except (OSError, CollectorError) as error:
            raise ArchiveError(f"{kind.name}: {error}") from error
        typer.echo(f"{kind.name:6}{rows:>12,}  {paths_of(out, kind)[2]}")


def run_import(data_dir: Path, folder: Path, *, only: str | None, url: str | None, token_file: Path | None) -> None:
    kinds = _kinds(only)
    try:
        found = [kind for kind in kinds if check_files(folder, kind) is not None]
    except CollectorError as error:
        raise ArchiveError(f"{error}; nothing was imported") from error
    if not found:
        raise ArchiveError(
            f"{folder} holds no archive: {' and '.join(f'{kind.name}.parquet' for kind in kinds)} is not there"
        )
    where, token = _collector(data_dir, url, token_file)
    for kind in found:
        received = stored = 0
        for part in read_files(folder, kind):
            answer = ask(
                "POST",
                f"{where}/api/v1/import",
                token=token,
                params={"kind": kind.name},
                content=part.encoded(),
                timeout=_TIMEOUT,
            )
            received += answer["data"]["received"]
            stored += answer["data"]["stored"]
        typer.echo(f"{kind.name:6}{stored:>12,} stored, {received - stored:,} were there already")


def moment_nano(text: str, now: float, option: str) -> int:
    """`2h` (ago), `now`, `2026-11-23T15:00:00Z`, `2026-11-23` (local time), Unix seconds, or `all`, for no bound."""
    if text == "all":
        return 0 if option == "--from" else _LAST
    try:
        if match := _AGO.fullmatch(text):
            nano = round((now - int(match[1]) * _SECONDS[match[2]]) * _NANO)
        elif text == "now":
            nano = round(now * _NANO)
        elif re.fullmatch(r"\d{1,10}(\.\d{1,9})?", text):
            nano = int(Decimal(text) * _NANO)
        else:
            nano = round(datetime.fromisoformat(text).timestamp() * 1e6) * 1000  # it has microseconds
        if nano < 0:
            raise ValueError
    except (ValueError, OverflowError):
        hint = "a time such as 2h, 7d, now, all, 2026-11-23T15:00:00Z or Unix seconds"
        raise typer.BadParameter(f"{text[:40]!r} is not {hint}", param_hint=option) from None
    return nano


def _kinds(only: str | None) -> list[Kind]:
    if only is not None and only not in KINDS:
        raise typer.BadParameter(f"{only[:40]!r} is not one of {', '.join(KINDS)}", param_hint="--only")
    return [kind for kind in KINDS.values() if only in (None, kind.name)]


def _collector(data_dir: Path, url: str | None, token_file: Path | None) -> tuple[str, str]:
    data = DataDir.at(data_dir)
    if url is None:
        state = require_state(data)
        url = Urls.of(state.ports, state.backend).collector
    path = token_file or data.token_file("collector")
    try:
        return url.rstrip("/"), read_token(path)
    except FileNotFoundError as error:
        raise ArchiveError(f"token file {path} is not there; --token-file names another") from error


def _received(where: str, token: str, kind: Kind, parameters: dict[str, str]) -> Iterator[Part]:
    headers = {"Authorization": f"Bearer {token}"}
    try:
        with (
            httpx.Client(trust_env=False, timeout=_TIMEOUT) as client,
            client.stream("GET", f"{where}/api/v1/export", params=parameters, headers=headers) as answer,
        ):
            if not answer.is_success:
                answer.read()
                raise PeerError(_refusal(answer))
            yield from parts_of(pa.PythonFile(_Body(answer.iter_bytes()), "r"), kind)
    except httpx.HTTPError as error:
        raise PeerError(f"{where} stopped answering: {error or type(error).__name__}; nothing was kept") from error


def _refusal(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"{answer.url} answered {answer.status_code}"


class _Body:
    """An answer's chunks as a file that is read from its beginning to its end."""

    closed = False

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = bytearray()

    def read(self, size: int) -> bytes:
        """`size` bytes; fewer at the end."""
        while len(self._rest) < size and (chunk := next(self._chunks, None)) is not None:
            self._rest += chunk
        taken = bytes(self._rest[:size])
        del self._rest[:size]
        return taken
