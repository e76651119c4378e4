"""Which dashboards there are, and their JSON as it is committed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards import events, fleet, hosts, objectives, remediations, service, stack
from dashboards.folder import JSON_DIR

DASHBOARDS: dict[str, Callable[[], Dashboard]] = {
    "fleet": fleet.dashboard,
    "service": service.dashboard,
    "events": events.dashboard,
    "remediations": remediations.dashboard,
    "objectives": objectives.dashboard,
    "hosts": hosts.dashboard,
    "stack": stack.dashboard,
}


def rendered(name: str) -> str:
    """The JSON of one dashboard, as a file holds it: two spaces, sorted keys, a newline at the end."""
    return JSONEncoder(sort_keys=True, indent=2).encode(DASHBOARDS[name]().build()) + "\n"


def path_of(name: str) -> Path:
    return JSON_DIR / f"{name}.json"


def main() -> int:
    """Write every dashboard's JSON anew: `python -m dashboards.catalogue`."""
    for name in DASHBOARDS:
        path_of(name).write_text(rendered(name))
        sys.stdout.write(f"wrote {path_of(name)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
