"""A run waits for its database, be it away for a while, or be it that it chose this transaction to end a deadlock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from sqlalchemy.exc import OperationalError

from remediation.workflow.journal import log

FIRST_WAIT_S = 0.1
LONGEST_WAIT_S = 5.0  # and so the log has no more than a line in so long

P = ParamSpec("P")
R = TypeVar("R")


def patiently(call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Call it, from its beginning again as often as the database does not answer. It must bear repetition."""
    wait_s = FIRST_WAIT_S
    while True:
        try:
            return call(*args, **kwargs)
        except OperationalError as error:
            log.warning("%s waits for the database: %s", getattr(call, "__name__", "a step"), error.orig)
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, LONGEST_WAIT_S)
