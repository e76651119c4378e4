"""`audit verify`: recompute the chain of the worker's audit log, entry by entry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from steersman.cli.peers import ask
from steersman.errors import PeerError, StackError
from steersman.runtime.paths import DataDir
from steersman.stack.settings import Urls
from steersman.stack.state import require_state

PAGE = 5000  # entries asked for at once, the worker's limit


def run_verify(data_dir: Path, *, url: str | None, expect: str | None) -> None:
    """
    Args:
        expect: `SEQUENCE:HASH` of an entry, as an earlier verification printed it; it must still be in the chain.

    Raises:
        StackError: the log has been changed; names the first entry that does not fit.
    """
    from remediation.store.audit import Verifier

    worker = url or Urls.of(require_state(DataDir.at(data_dir)).ports).remediation
    anchor = _anchor(expect) if expect is not None else None
    verifier, reached = Verifier(), 0
    while True:
        answer = ask("GET", f"{worker}/api/v1/audit", params={"after": str(reached), "limit": str(PAGE)})
        entries, head = _page(answer)
        verifier.feed(entries)
        if anchor is not None:
            _require(anchor, entries)
        if verifier.fault is not None or not entries or entries[-1]["sequence"] >= head.sequence:
            break
        reached = entries[-1]["sequence"]
    fault = verifier.end(head)
    if fault is None and anchor is not None and anchor[0] > head.sequence:
        fault = f"the chain ends at entry {head.sequence}, before the expected {anchor[0]}"
    if fault is not None:
        raise StackError(f"the audit log has been changed: {fault}")
    print(f"{head.sequence} entries, each follows the one before; head {head.sequence}:{head.hash}")


def _page(answer: Any) -> tuple[list[dict[str, Any]], Any]:
    from remediation.store.audit import Head

    try:
        return answer["entries"], Head(int(answer["head"]["sequence"]), str(answer["head"]["hash"]))
    except (KeyError, TypeError, ValueError) as error:
        raise PeerError("the worker answered something that is no audit log") from error


def _anchor(text: str) -> tuple[int, str]:
    sequence, _, digest = text.partition(":")
    if not sequence.isdecimal() or len(digest) != 64:
        raise StackError(f"--expect wants SEQUENCE:HASH as verify prints it, got {text!r}")
    return int(sequence), digest


def _require(anchor: tuple[int, str], entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        if entry.get("sequence") == anchor[0] and entry.get("hash") != anchor[1]:
            raise StackError(f"the audit log has been changed: entry {anchor[0]} is not the one that was noted before")
