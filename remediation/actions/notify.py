"""Telling people, through apprise. It is imported when somebody is to be told: it costs 20 MB."""

from __future__ import annotations

from pathlib import Path

from remediation.actions.outcome import Outcome


def notify(name: str, url_file: Path, *, title: str, body: str) -> Outcome:
    """Tell one notifier. Its address is a secret, so nothing that is said of a failure holds it."""
    from apprise import Apprise

    try:
        url = url_file.read_text().strip()
    except OSError as error:
        return Outcome("failed", f"notifier {name}: {error}")
    told = Apprise()
    if not told.add(url):
        return Outcome("failed", f"notifier {name}: apprise knows no service for the address in {url_file}")
    if not told.notify(title=title, body=body):
        return Outcome("failed", f"notifier {name} could not be told")
    return Outcome("done", f"told {name}")
