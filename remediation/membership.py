"""Several workers on one store: each is heard of, or loses its runs to those who are."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from dbos import DBOS
from sqlalchemy.exc import SQLAlchemyError

from remediation.errors import LeaseLostError
from remediation.store.leases import Lease

log = logging.getLogger("remediation")

RENEWALS = 5  # in one lease: four may fail before it is lost


class Membership:
    """
    Args:
        lease: Ends the process when it is lost: whatever it did then could be done twice.
        look_after: Called at each renewal, to begin what was accepted by a worker that died before it began it.
    """

    def __init__(self, lease: Lease, *, look_after: Callable[[], None]) -> None:
        self._lease = lease
        self._look_after = look_after
        self._stop = threading.Event()
        self._launched = threading.Event()
        self._thread = threading.Thread(target=self._run, name="membership", daemon=True)

    def join(self) -> None:
        """Before the first workflow starts: a workflow whose worker has no lease is taken over."""
        self._lease.take()
        self._thread.start()

    def look_after_others(self) -> None:
        """From when this worker can run workflows; `DBOS.launch` may take longer than a lease."""
        self._launched.set()

    def leave(self) -> None:
        """The others take up the runs at once."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
        try:
            self._lease.give_back()
        except SQLAlchemyError as error:
            log.warning("the lease could not be given back, and ends by itself: %s", error)

    def _run(self) -> None:
        while not self._stop.wait(self._lease.seconds / RENEWALS):
            try:
                alive = self._lease.renew()
                if self._launched.is_set():
                    self._take_over(alive)
                    self._look_after()
            except LeaseLostError:
                return
            except Exception:  # the database is away, or DBOS could not ask it: the next turn tries again
                log.exception("the lease could not be renewed")

    def _take_over(self, alive: set[str]) -> None:
        at_work = DBOS.list_workflows(status="PENDING", load_input=False, load_output=False)
        orphaned = sorted({str(one.executor_id) for one in at_work} - alive)
        if orphaned:
            log.warning("taking over the runs of %s", ", ".join(orphaned))
            # The public `resume_workflow` would start a workflow anew that another worker has just taken up; this one
            # re-enqueues only what still belongs to the dead, so that exactly one worker gets it.
            DBOS._recover_pending_workflows(orphaned)  # noqa: SLF001
