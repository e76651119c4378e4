"""The commands and the files that a Markdown document shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_FENCE = re.compile(
    r"^(?:<!-- file: (?P<file>\S+) -->\n)?```(?P<language>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL
)
_SHELL = {"console", "sh", "bash", "shell"}
# A block without a language is one of commands if it begins with one of these.
_PROGRAMS = ("steersman ", "make ", "python ", "curl ", "openssl ", "kubectl ", "docker ", "$ ")
_NAMED = re.compile(r"# (\S+\.ya?ml)\n")
# What is told beside a command: after a `#`, or in a column of its own, which begins with three spaces.
_ASIDE = re.compile(r"\s+#\s.*|(?<=\S) {3,}\S.*")


@dataclass(frozen=True, slots=True)
class Command:
    document: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.document}:{self.line}: {self.text}"


@dataclass(frozen=True, slots=True)
class ShownFile:
    """A block that a reader is to save; marked `<!-- file: NAME -->`, or by a first line `# NAME.yml`."""

    name: str
    text: str


def read(path: Path, root: Path) -> tuple[list[Command], list[ShownFile]]:
    text = path.read_text()
    commands: list[Command] = []
    files: list[ShownFile] = []
    for fence in _FENCE.finditer(text):
        body = fence["body"]
        line = text.count("\n", 0, fence.start("body")) + 1
        if name := fence["file"] or (named[1] if (named := _NAMED.match(body)) else None):
            files.append(ShownFile(name, body))
        elif fence["language"] in _SHELL or (not fence["language"] and body.startswith(_PROGRAMS)):
            document = str(path.relative_to(root))
            commands += [Command(document, line + at, one) for at, one in _joined(body)]
    return commands, files


def _joined(body: str) -> Iterator[tuple[int, str]]:
    """Each command with its first line's number; one goes on after a backslash, in open quotes, and when indented."""
    whole, began = "", 0
    for number, raw in enumerate(body.splitlines()):
        goes_on = whole.endswith("\\") or whole.count("'") % 2 == 1 or (whole and raw.startswith("  "))
        if goes_on:
            whole = whole.removesuffix("\\").rstrip() + " " + raw.strip()
        else:
            if whole:
                yield began, whole
            whole, began = raw.removeprefix("$ "), number
        if whole.count("'") % 2 == 0:
            whole = _ASIDE.sub("", whole).rstrip()
    if whole:
        yield began, whole
