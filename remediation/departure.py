"""How a worker that must not go on ends: at once, as by a crash. The next one goes on from the last finished step."""

from __future__ import annotations

import logging
import os
from typing import NoReturn

log = logging.getLogger("remediation")

# Exit codes of sysexits.h: to be started again, not a mistake of who started it.
LEASE_LOST = 70  # EX_SOFTWARE
STORE_BROKEN = 74  # EX_IOERR


def end_at_once(why: str, code: int) -> NoReturn:
    log.critical("%s; this process ends", why)
    logging.shutdown()
    os._exit(code)
