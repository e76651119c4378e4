"""
Two traces, side by side: their spans added up by the path of calls that leads to them, and what differs.

A path is (service, name) of a span and of all above it; spans of the same path are one row, as a loop over ten items is
one thing that is done ten times.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from dashboards.viewer.traces.tree import Node, Tree

Step = tuple[str, str]  # service and name
Path = tuple[Step, ...]


@dataclass(slots=True)
class Sum:
    """Of the spans of one path in one trace."""

    count: int = 0
    total_us: int = 0
    self_us: int = 0
    errors: int = 0


@dataclass(slots=True)
class Row:
    step: Step
    depth: int
    first: Sum = field(default_factory=Sum)
    second: Sum = field(default_factory=Sum)

    @property
    def only(self) -> str:
        """`first` or `second` if only that trace has it, else an empty text."""
        return "first" if not self.second.count else "second" if not self.first.count else ""

    @property
    def longer_us(self) -> int:
        """By how much the second trace spent more in this path itself, children left out."""
        return self.second.self_us - self.first.self_us


def compared(first: Tree, second: Tree) -> list[Row]:
    """Rows in the order of a call tree: the first trace's order, with what only the second has after its siblings."""
    rows: dict[Path, Row] = {}
    children: dict[Path, dict[Path, None]] = {}
    for tree, side in ((first, "first"), (second, "second")):
        for node, path in _paths(tree):
            row = rows.setdefault(path, Row(path[-1], len(path) - 1))
            children.setdefault(path[:-1], {})[path] = None
            _add(getattr(row, side), node)
    ordered: list[Row] = []
    waiting = list(reversed(children.get((), {})))
    while waiting:
        path = waiting.pop()
        ordered.append(rows[path])
        waiting += reversed(children.get(path, {}))
    return ordered


def _add(total: Sum, node: Node) -> None:
    total.count += 1
    total.total_us += node.duration_us
    total.self_us += node.self_us
    total.errors += node.failed


def _paths(tree: Tree) -> list[tuple[Node, Path]]:
    found: list[tuple[Node, Path]] = []
    above: list[Path] = []  # by depth: nodes come in the order of a waterfall
    for node in tree.nodes:
        del above[node.depth :]
        path = (*(above[-1] if above else ()), (node.service, node.name))
        above.append(path)
        found.append((node, path))
    return found
