"""
The command line. Its commands' declarations are all that `steersman --help` loads: what one needs comes when it runs.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

from steersman.cli.commands import authoring, remediation, stack, telemetry
from steersman.errors import SteersmanError
from steersman.runtime.tokens import EmptyTokenError

app = typer.Typer(
    name="steersman",
    help="Watches a system of services and steers it back on course.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for group in (stack, telemetry, remediation, authoring):
    app.add_typer(group.app)


def main() -> NoReturn:
    """Errors of ours are one line and exit code 1; wrong usage is exit code 2."""
    try:
        app()
    except SteersmanError as error:
        _fail(str(error))
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (OSError, EmptyTokenError) as error:
        _fail(str(error))
    except KeyboardInterrupt:
        sys.exit(130)  # 128 + SIGINT, as shells count
    sys.exit(0)


def _fail(message: str) -> NoReturn:
    print(f"steersman: {message}", file=sys.stderr)
    sys.exit(1)
