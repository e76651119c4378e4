"""A copy of what makes up Steersman, in which something may be changed without touching the checkout."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
# What a running stack is made of; `shipped` finds rules, drills and policies beside the packages.
PARTS = ("collector", "remediation", "demo_services", "dashboards", "steersman", "rules", "drills", "policies")


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of one file: `old` stands in it exactly once."""

    path: str  # from the top of the checkout
    old: str
    new: str

    def applied(self, text: str) -> str:
        """
        Raises:
            ValueError: the file has moved on, so that nobody knows what the change would mean.
        """
        found = text.count(self.old)
        if found != 1:
            raise ValueError(f"{self.path}: {self.old!r} stands in it {found} times, not once")
        return text.replace(self.old, self.new)


def copy_into(folder: Path, edits: tuple[Edit, ...] = ()) -> Path:
    """
    Copy what runs, changed by `edits`, into `folder`, which must not exist yet.

    Raises:
        ValueError: an edit does not fit.
    """
    for part in PARTS:
        shutil.copytree(CHECKOUT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for edit in edits:
        file = folder / edit.path
        file.write_text(edit.applied(file.read_text()))
    return folder
