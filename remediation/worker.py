"""One worker: store, clients and durable workflows, put together and started."""

from __future__ import annotations

import fcntl
import logging
import sqlite3
import uuid
from contextlib import closing
from functools import partial
from pathlib import Path

from dbos import DBOS, DBOSConfig, SetWorkflowID

from remediation.annotations import Annotator
from remediation.departure import LEASE_LOST, end_at_once
from remediation.errors import SettingsError
from remediation.explain import Explainer
from remediation.intake import AlertIntake
from remediation.levers.flags import FlagLever, FlagStore
from remediation.levers.lever import Controls, Lever
from remediation.levers.replica import ReplaceLever
from remediation.levers.rollback import RollbackLever
from remediation.levers.traffic import ShedLever, TrafficLever
from remediation.membership import Membership
from remediation.metrics import Metrics
from remediation.policy.book import PolicyBook, load_policies
from remediation.policy.limits import Limits
from remediation.prometheus import Prometheus
from remediation.scalers.connection import NAMES, connect, unsupported
from remediation.scalers.scaler import Replicas, Scaler
from remediation.scaling.loop import ScalingLoop
from remediation.settings import Settings
from remediation.starter import Starter
from remediation.store.leases import Lease
from remediation.store.record import State
from remediation.store.scalings import Scalings
from remediation.store.store import Store
from remediation.workflow.acting import Acting
from remediation.workflow.deeds import Deeds
from remediation.workflow.ending import Ending
from remediation.workflow.gate import Gate
from remediation.workflow.homecoming import Homecoming
from remediation.workflow.journal import Journal, now_unix_ms
from remediation.workflow.moves import Moves
from remediation.workflow.patience import patiently
from remediation.workflow.planning import Planning
from remediation.workflow.remediator import Remediator, Steps
from remediation.workflow.scale import Scaling
from remediation.workflow.verification import Verification

log = logging.getLogger("remediation")

# Fixed, so that a new version of the code takes up the runs of the old one. Raise it, with a way to finish the old
# runs, when the order of the steps in the workflow changes.
WORKFLOW_VERSION = "1"
# We neither send nor receive DBOS messages, set no schedules: its listeners need not look every second.
_RARELY_S = 3600.0
# Workflow statuses that DBOS will not take up again.
_GIVEN_UP = frozenset({"ERROR", "CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"})


class Worker:
    """Only one in a process: DBOS is one."""

    def __init__(self, settings: Settings) -> None:
        """
        Raises:
            PolicyError: a policy is wrong.
            SettingsError: another worker holds the data directory, or the database cannot be used.
        """
        book = load_policies(settings.policies)
        self.data_dir = settings.data_dir
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        if settings.database_url is None:
            self._lock = _only_one(settings.data_dir)
            self.store = patiently(Store.in_file, settings.data_dir / "remediation.sqlite")
            system_database = _prepared(settings.data_dir / "workflows.sqlite")
        else:
            self.store = patiently(Store.at_url, settings.database_url)
            system_database = settings.database_url
        self.metrics = Metrics()
        self._prometheus = Prometheus(settings.prometheus_url)
        self._scaler = connect(settings.scaler)
        DBOS(config=_dbos_config(system_database, settings.executor_id))
        self._membership = self._shared(settings)
        self._annotator = Annotator(settings.grafana_url, settings.grafana_token)
        self._starter = Starter()
        levers = _levers(self._scaler, settings, self.store, book.limits)
        journal = Journal(self.store, self._prometheus)
        self._remediator = Remediator(self._steps(book, settings, levers, journal), journal, self.metrics.running.inc)
        # No two processes have the same holder, be their workers' names the same.
        holder = f"{settings.executor_id}:{uuid.uuid4().hex}"
        self.scaling = ScalingLoop(
            book.autoscalers,
            book.limits,
            scalings=Scalings(self.store.database, holder),
            scaler=self._scaler,
            prometheus=self._prometheus,
            metrics=self.metrics,
            annotator=self._annotator,
            lease_s=settings.lease_s,
        )
        self.intake = AlertIntake(book, self.store, self.metrics, self._begin_soon)
        self.explainer = Explainer(book, self.store, self._scaler, self._prometheus, levers)
        self._looked_after: set[str] = set()  # unfinished runs that are known to have a workflow
        for told in unsupported(book.policies, NAMES[type(settings.scaler)]):
            log.warning("%s", told)  # not an error: the steps after it may answer
        log.info("%d policies, %d autoscalers from %s", len(book.policies), len(book.autoscalers), settings.policies)

    def replicas(self) -> list[Replicas]:
        """
        Of all that it may scale, by name.

        Raises:
            ScalerError: the scaler does not answer.
        """
        return [self._scaler.get(service) for service in self._scaler.services()]

    def _steps(self, book: PolicyBook, settings: Settings, levers: dict[str, Lever], journal: Journal) -> Steps:
        store, scaler, metrics = self.store, self._scaler, self.metrics
        gate = Gate(store, scaler, book.limits, metrics)
        acting = Acting(store, metrics, journal=journal, gate=gate, annotator=self._annotator)
        autoscaled = [service for one in book.autoscalers for service in one.services]
        return Steps(
            planning=Planning(store, scaler, metrics, journal=journal, gate=gate),
            scaling=Scaling(scaler, metrics, journal=journal, acting=acting),
            deeds=Deeds(
                store,
                scaler,
                journal=journal,
                acting=acting,
                commands=book.commands,
                notifiers=book.notifiers,
            ),
            moves=Moves(levers, metrics, journal=journal, acting=acting),
            verification=Verification(store, scaler, journal=journal),
            homecoming=Homecoming(store, journal=journal, autoscaled=autoscaled),
            ending=Ending(
                store,
                metrics,
                journal=journal,
                annotator=self._annotator,
                jaeger_url=settings.jaeger_url,
                ended=lambda: self._starter.put("what has waited", self._take_up_waiting),
            ),
        )

    def _shared(self, settings: Settings) -> Membership | None:
        if not self.store.database.shared:
            return None
        lease = Lease(self.store.database, settings.executor_id, seconds=settings.lease_s, lost=_lost)
        return Membership(lease, look_after=self._take_up)

    def start(self) -> None:
        """Take up what is unfinished, and whatever was accepted but not begun when the last worker died."""
        if self._membership is not None:
            self._membership.join()
        DBOS.launch()
        self._take_up()
        self._starter.start()
        self.scaling.start()
        if self._membership is not None:
            self._membership.look_after_others()

    def _take_up(self) -> None:
        unfinished = self.store.unfinished()
        self._looked_after &= {run.id for run in unfinished}
        for run in unfinished:
            if run.id in self._looked_after:
                continue
            status = DBOS.get_workflow_status(run.id)
            if status is None:
                self.begin(run.id)
            elif status.status in _GIVEN_UP:
                outcome = f"its workflow ended as {status.status}"
                self.store.finish(run.id, State.FAILED, outcome, now_unix_ms())
                log.error("%s: %s for %s failed: %s", run.id, run.alertname, run.service, outcome)
                continue
            self._looked_after.add(run.id)
        self._take_up_waiting()

    def _take_up_waiting(self) -> None:
        self.intake.take_up_waiting(now_unix_ms())

    def _begin_soon(self, run_id: str) -> None:
        self._starter.put(run_id, partial(self.begin, run_id))

    def begin(self, run_id: str) -> None:
        """Start the run's workflow at once; a workflow that exists is left alone."""
        with SetWorkflowID(run_id):
            DBOS.start_workflow(self._remediator.remediate, run_id)

    def leave(self) -> None:
        """Before the process ends: other workers need not wait until they miss it."""
        self.scaling.leave()
        if self._membership is not None:
            self._membership.leave()

    def stop(self) -> None:
        """Let go. Runs at work are not waited for: the next worker takes them up, as after a crash."""
        self._starter.stop()
        self.scaling.stop()
        DBOS.destroy(workflow_completion_timeout_sec=0)
        self.leave()
        self.store.close()
        self._annotator.close()
        self._prometheus.close()
        self._scaler.close()


def _lost(why: str) -> None:
    """Others have this worker's runs: whatever it did now could be done twice."""
    end_at_once(why, LEASE_LOST)


def _levers(scaler: Scaler, settings: Settings, store: Store, limits: Limits) -> dict[str, Lever]:
    """By the kind of step, as far as there is something that could do it."""
    levers: dict[str, Lever] = {"replace": ReplaceLever(scaler, limits.blast_radius, store.replaced)}
    if isinstance(scaler, Controls):
        levers |= {
            "rollback": RollbackLever(scaler),
            "shift_traffic": TrafficLever(scaler),
            "shed_load": ShedLever(scaler),
        }
    if settings.nats_url:
        flags = FlagStore(url=settings.nats_url, token_file=settings.nats_token_file)
        levers["set_flag"] = FlagLever(flags)
    return levers


def _dbos_config(system_database_url: str, executor_id: str) -> DBOSConfig:
    return DBOSConfig(
        name="steersman-remediation",
        system_database_url=system_database_url,
        application_version=WORKFLOW_VERSION,
        executor_id=executor_id,
        log_level="WARNING",
        enable_otlp=False,
        max_executor_threads=64,  # one for each run at work; further ones wait for their turn
        sys_db_pool_size=8,  # each SQLite connection may cache 2 MB; a step that finds none waits for some milliseconds
        notification_listener_polling_interval_sec=_RARELY_S,
        scheduler_polling_interval_sec=_RARELY_S,
        use_listen_notify=False,
    )


def _prepared(path: Path) -> str:
    """A write-ahead log: readers do not wait for the writer, and a step costs one sync instead of three."""
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
    except sqlite3.Error as error:
        raise SettingsError(f"{path} cannot be used: {error}") from error
    return f"sqlite:///{path}"


def _only_one(data_dir: Path) -> object:
    """Two workers on one SQLite file would each take up the runs of the other."""
    file = (data_dir / "worker.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise SettingsError(f"{data_dir} is in use by another worker") from error
    return file
