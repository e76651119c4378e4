"""
The secrets of compose.yaml: `python -m steersman.stack.compose FOLDER` makes the missing ones and keeps the others.

Every file is readable by its owner alone; the containers that need one run under that owner's id.
"""

from __future__ import annotations

import sys
from pathlib import Path

from steersman.runtime.tokens import ensure_token

TOKENS = ("faults", "grafana", "load", "nats", "postgres", "remediation")
ROLES = ("shop", "remediation")  # of PostgreSQL, as deploy/compose/postgres.sh makes them


def write_secrets(folder: Path) -> None:
    tokens = {name: ensure_token(folder / f"{name}.token") for name in TOKENS}
    _replace(folder / "nats_authorization.conf", f'authorization {{ token: "{tokens["nats"]}" }}\n')
    # Source: https://www.postgresql.org/docs/17/libpq-pgpass.html
    _replace(folder / "pgpass", "".join(f"*:*:*:{role}:{tokens['postgres']}\n" for role in ROLES))


def _replace(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.chmod(0o600)  # before the secret is in it
    path.write_text(text)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(f"usage: python -m {__spec__.name} FOLDER")
    write_secrets(Path(sys.argv[1]))
