"""A rule file while it is written: where it belongs, and which version of it is replaced when it is saved."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from dashboards.errors import DraftError
from dashboards.viewer.peers.rule_files import RuleFiles

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}(\.yml)?")
TEMPLATE = """\
# What these rules are for, and who answers them.
groups:
  - name: {name}
    interval: 5s
    rules:
      - alert: {alert}
        expr: |
          up == 0
        for: 10s
        labels: {{severity: warning, service: "{{{{ $labels.job }}}}"}}
        annotations:
          summary: "{{{{ $labels.instance }}}} does not answer"
          runbook: "What to look at first, and what to do."
"""


@dataclass(slots=True)
class Draft:
    file: str
    text: str
    tests: str
    version: str  # that the collector told when the text was read; "": there is no such file yet

    @property
    def is_new(self) -> bool:
        return not self.version

    async def save(self, files: RuleFiles, text: str) -> None:
        """
        Put the text in force in the file's place. What was saved is what the next save replaces.

        Raises:
            PeerError: the text cannot be used, or somebody else has changed the file; nothing changed.
        """
        self.version = await files.save(self.file, text, self.version)
        self.text = text


async def opened(files: RuleFiles, listed: Sequence[Mapping[str, Any]], wanted: str) -> Draft:
    """
    The wanted file, or the first if it is none of those in force.

    Args:
        listed: Not empty.
    """
    names = [str(each["file"]) for each in listed]
    file = wanted if wanted in names else names[0]
    found = await files.read(file)
    return Draft(file, str(found["text"]), str(found.get("tests") or ""), str(found["version"]))


def begun(listed: Sequence[Mapping[str, Any]], name: str) -> Draft:
    """
    A new file beside the first of those in force. It comes to be when it is saved, and not before.

    Raises:
        DraftError: the name is none that a rule file can have, or is taken.
    """
    if not NAME.fullmatch(name):
        raise DraftError(f"a rule file is named with up to 60 small letters, digits, - and _, got {name[:80]!r}")
    stem = name.removesuffix(".yml")
    file = PurePosixPath(str(listed[0]["file"])).with_name(f"{stem}.yml")
    if str(file) in {str(each["file"]) for each in listed}:
        raise DraftError(f"{file} is there already")
    alert = "".join(part.capitalize() for part in re.split(r"[-_]", stem))
    return Draft(str(file), TEMPLATE.format(name=stem, alert=alert), "", "")
