"""
The rule files in force as an editor sees them: read, checked, tested, replayed, and replaced whole or not at all.

What is tried stands in a folder of its own for as long as that takes; the files in force are touched by `save` alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from collector.errors import BadRequestError, CollectorError, ConfigError, LimitExceededError
from collector.rules import check_files, unit_test
from collector.rules.backtest import result as backtest_result
from collector.rules.backtest.replay import Window
from collector.rules.backtest.run import run as run_backtest
from collector.rules.backtest.threshold import comparison
from collector.rules.manager import RuleManager
from collector.rules.remote import Remote
from collector.rules.rulefile import Problem, RuleFileError, parse
from collector.storage.durable_file import replace_file

MAX_TEXT_BYTES = 1 << 20  # the largest rule file we know of is a tenth of it
MAX_WINDOW_MS = 7 * 86_400_000  # of a backtest that somebody waits for
REMOTE_TIMEOUT_S = 30.0
TEST_FOLDERS = ("tests", ".")  # where the unit tests of NAME.yml are looked for, as NAME_test.yml


class ConflictError(CollectorError):
    """The file has changed since it was read."""


class ProblemsError(BadRequestError):
    """What was to be saved cannot be used; `problems` holds all that is wrong with it."""

    def __init__(self, problems: list[dict[str, Any]], message: str) -> None:
        super().__init__(message)
        self.problems = problems


@dataclass(frozen=True, slots=True)
class RuleFile:
    path: Path
    text: str
    tests: str  # of its unit-test file; empty if it has none

    @property
    def version(self) -> str:
        return version_of(self.text)


def version_of(text: str) -> str:
    """What changes when a file does."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class RuleFiles:
    """
    Args:
        url: Of the Prometheus API whose data rules are held against: our own.
    """

    def __init__(self, manager: RuleManager, *, url: str) -> None:
        self._manager = manager
        self._url = url
        self._saving = asyncio.Lock()
        self._replaying = threading.Lock()  # a backtest costs seconds of a core; the rules in force come first

    # Reading

    def listed(self) -> list[dict[str, Any]]:
        return [
            {"file": str(path), "writable": os.access(path, os.W_OK), "bytes": path.stat().st_size}
            for path in self._manager.files
            if path.is_file()
        ]

    def read(self, file: str) -> RuleFile:
        """
        Raises:
            BadRequestError: not one of the files in force, or not readable.
        """
        path = self._known(file)
        try:
            if path.stat().st_size > MAX_TEXT_BYTES:
                raise LimitExceededError(f"{path}: {path.stat().st_size} bytes, the limit is {MAX_TEXT_BYTES}")
            return RuleFile(path, path.read_text(encoding="utf-8"), _tests_of(path))
        except (OSError, UnicodeDecodeError) as error:
            raise BadRequestError(f"{path}: {error}") from error

    def _known(self, file: str) -> Path:
        known = {str(path): path for path in self._manager.files}
        if file not in known:
            raise BadRequestError(f"no rule file {file[:200]!r} is in force")
        return known[file]

    # Trying

    def check(self, text: str, file: str) -> dict[str, Any]:
        """Errors and lint, as `steersman rules check` tells them, with the file's own name."""
        with _written(text, file) as path:
            report = check_files.check([path], url=self._url, answer=None)
            document = check_files.document(report)
        return dict(_renamed(document, str(path), file))

    def test(self, text: str, tests: str, file: str) -> dict[str, Any]:
        """
        The verdict of unit tests on this text. They name rule files as they do where they stand: the other files in
        force are there too, beside it.
        """
        with _written(text, file) as path:
            for other in self._manager.files:
                if other.name != path.name:
                    (path.parent / other.name).write_bytes(other.read_bytes())
            folder = path.parent / "tests"
            folder.mkdir()
            for rules in list(path.parent.glob("*.y*ml")):
                (folder / rules.name).symlink_to(rules)
            stated = folder / f"{path.stem}_test.yml"
            stated.write_text(tests, encoding="utf-8")
            verdict = asyncio.run(unit_test.run_file(stated))
            told = [text.replace(str(folder), "tests").replace(str(path.parent), "") for text in verdict.failures]
            return {"passed": not told, "tests": verdict.tests, "failures": told, "warnings": list(verdict.warnings)}

    def backtest(self, text: str, file: str, *, from_ms: int, to_ms: int, name: str = "") -> dict[str, Any]:
        """
        What the alerting rules of this text would have done, as `steersman rules backtest --format json` tells it; and
        for each what its expression compares with which number, so that it can be drawn.

        Args:
            name: Only the alert of this name; empty: all.

        Raises:
            CollectorError: the window is too long, the text is wrong, or something cannot be replayed.
        """
        if not 0 < to_ms - from_ms <= MAX_WINDOW_MS:
            raise BadRequestError(f"the window must be between 0 and {MAX_WINDOW_MS // 86_400_000} days")
        window, notices = Window(from_ms, to_ms), list[str]()
        with self._replaying, _written(text, file) as path, Remote(self._url, timeout_s=REMOTE_TIMEOUT_S) as remote:
            results, _ = run_backtest(
                [path],
                remote,
                window,
                baseline=None,
                answer=None,
                chosen=lambda rule: not name or rule.name == name,
                notice=notices.append,
            )
            document = backtest_result.as_json(results, url=self._url, window=window, notices=notices)
        compared = [comparison(result.replayed.rule.expr) for result in results]
        rules: Any = document["rules"]
        for rule, found in zip(rules, compared, strict=True):
            rule["comparison"] = (
                None
                if found is None
                else {"query": found.expr, "operator": found.operator, "threshold": found.threshold}
            )
        return dict(_renamed(document, str(path), file))

    # Saving

    async def save(self, text: str, file: str, *, version: str) -> str:
        """
        Put the text in the file's place and the rules in force; the new version. A text that cannot be used changes
        nothing.

        Args:
            version: That it replaces; empty: there must be no such file yet.

        Raises:
            ConflictError: the file has changed meanwhile.
            ProblemsError: the text, or all rule files together with it, cannot be used.
            BadRequestError: not a place of rule files, or it cannot be written.
        """
        async with self._saving:
            path = self._place(file, new=not version)
            before = path.read_bytes() if path.exists() else None
            found = version_of(before.decode("utf-8", "replace")) if before is not None else ""
            if found != version:
                raise ConflictError(f"{path} has changed since it was read; read it again")
            try:
                parse(text, str(path))
            except RuleFileError as error:
                raise ProblemsError([_problem(one) for one in error.problems], str(error)) from error
            try:
                await asyncio.to_thread(replace_file, path, text.encode())
            except OSError as error:
                raise BadRequestError(f"{path} cannot be written: {error.strerror}") from error
            await self._put_in_force(path, before)
        return version_of(text)

    async def _put_in_force(self, path: Path, before: bytes | None) -> None:
        try:
            await self._manager.reload()
        except ConfigError as error:
            if before is None:
                await asyncio.to_thread(path.unlink, missing_ok=True)
            else:
                await asyncio.to_thread(replace_file, path, before)
            with contextlib.suppress(ConfigError):  # another file is wrong, and was before
                await self._manager.reload()
            problems = [_problem(one) for one in error.problems] if isinstance(error, RuleFileError) else []
            raise ProblemsError(problems, str(error)) from error

    def _place(self, file: str, *, new: bool) -> Path:
        if not new:
            return self._known(file).resolve()  # the file itself, where a link stands among the rules
        path = Path(file)
        fits = any(
            fnmatch(path.name, Path(pattern).name) and path.parent == Path(pattern).parent
            for pattern in self._manager.patterns
        )
        if not fits or not path.is_absolute() or path.name.startswith("."):
            raise BadRequestError(f"{file[:200]!r} fits none of rule_files: {', '.join(self._manager.patterns)}")
        return path


@contextlib.contextmanager
def _written(text: str, file: str) -> Iterator[Path]:
    """The text in a file of that name, alone in a folder."""
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise LimitExceededError(f"{len(text.encode())} bytes, the limit is {MAX_TEXT_BYTES}")
    name = Path(file).name
    if not name or name.startswith("."):
        raise BadRequestError(f"{file[:200]!r} names no file")
    with tempfile.TemporaryDirectory(prefix="steersman-rules-") as folder:
        path = Path(folder) / name
        path.write_text(text, encoding="utf-8")
        yield path


def _tests_of(path: Path) -> str:
    for folder in TEST_FOLDERS:
        stated = path.parent / folder / f"{path.stem}_test.yml"
        if stated.is_file() and stated.stat().st_size <= MAX_TEXT_BYTES:
            return stated.read_text(encoding="utf-8")
    return ""


def _problem(one: Problem) -> dict[str, Any]:
    return {
        "file": one.file,
        "line": one.line,
        "column": one.column,
        "group": one.group,
        "rule": one.rule_name,
        "message": one.message,
    }


def _renamed(document: Any, path: str, file: str) -> Any:
    """Every text of the document with the name that the reader knows."""
    if isinstance(document, dict):
        return {_renamed(key, path, file): _renamed(value, path, file) for key, value in document.items()}
    if isinstance(document, list):
        return [_renamed(each, path, file) for each in document]
    return document.replace(path, file) if isinstance(document, str) else document
