"""One worker process: claims trials of one study and evaluates them until the study ends.

A trial takes three transactions: one that claims and makes it, with a snapshot of all others; one
in which its candidate is known, rejected, or begins to be trained; and one that archives and
reports the result. Between them no connection is held, and each of them may be repeated.
"""

import time
from collections.abc import Callable

from nas_service.errors import StudyError, TooManyFailures
from nas_service.evaluation.evaluator import Evaluator
from nas_service.searches.session import Search
from nas_service.searches.stopping import sentence
from nas_service.searches.weights import record_folder
from nas_service.store.process_id import worker_name
from nas_service.store.records import Claimed, Ended
from nas_service.store.trial_queue import TrialQueue
from nas_service.worker.assignment import Assignment
from nas_service.worker.claiming import TrialClaims
from nas_service.worker.heartbeat import Heartbeat, RELEASE_AFTER_s
from nas_service.worker.reporting import ResultReporter
from nas_service.worker.sick_machine import check_failures
from nas_service.worker.spool import Spool
from nas_service.worker.telemetry import Telemetry
from nas_service.worker.training import Train, train_in_process
from nas_service.worker.trial_run import TrialRunner

RECOVERY_CLAIMS = 20  # claims after which a worker recovers what other workers left
RECOVERY_WAITS = 4  # the same while it waits
WAIT_s, LONGEST_WAIT_s = 0.3, 15.0  # before the next claim while there is nothing to do
WAIT_GROWTH = 1.3  # from one wait to the next, so that a worker is late by a share of its waiting
PER_TRIAL_s = 0.005  # of the shortest wait, for each trial under way: as many workers may wait


class Worker:
    """One process that works on one study until the study ends, or it is asked to end."""

    def __init__(
        self,
        search: Search,
        evaluator: Evaluator,
        on_line: Callable[[str], None],
        spool: Spool | None = None,
        train: Train = train_in_process,
        telemetry: Telemetry | None = None,
        name: str | None = None,
    ) -> None:
        """Prepares the work; nothing is claimed yet.

        Args:
            search: The study.
            evaluator: Measures its candidates.
            on_line: Called with each line about the work.
            spool: Keeps results until the store has them.
            train: Trains a candidate.
            telemetry: The worker's figures.
            name: The worker's name in the store, by default that of this process.
        """
        queue = TrialQueue(search.store, search.id, name or worker_name())
        self.assignment = Assignment(search, evaluator, queue, on_line, telemetry or Telemetry())
        self.asked_to_end = self.assignment.asked_to_end
        self.spool = spool or Spool.of(search.store)
        self.heartbeat = Heartbeat(self.assignment)
        self.claims = TrialClaims(self.assignment)
        self.reporter = ResultReporter(self.assignment)
        self._runner = TrialRunner(
            self.assignment, self.claims, self.reporter, self.heartbeat, train, self.spool
        )

    @property
    def search(self) -> Search:
        """The study, with its newest specification."""
        return self.assignment.search

    @property
    def evaluator(self) -> Evaluator:
        """The evaluator of the newest specification."""
        return self.assignment.evaluator

    def run(self, max_trials: int | None = None, max_seconds: float | None = None) -> str:
        """Works until the study ends.

        Args:
            max_trials: Trials after which the worker ends.
            max_seconds: Seconds after which it claims no trial any more.

        Returns:
            Why it ended.

        Raises:
            Interrupted: It was asked to end.
            TooManyFailures: The study's limit of failed trials is reached.
            StudyError: The study was deleted or renamed meanwhile.
            MachineFault: This machine cannot do the work.
        """
        try:
            return self._work(max_trials, max_seconds)
        except KeyError:  # of Optuna, for a study that it does not have
            studies, name = self.search.store.studies, self.search.name
            if studies.has(name):
                raise
            raise StudyError(f"study {name!r} is not in the store any more") from None

    def _work(self, max_trials: int | None, max_seconds: float | None) -> str:
        retry, start = self.assignment.retry, time.monotonic()
        self.assignment.telemetry.gauge("lease_age_seconds", self.heartbeat.age_s)
        self.heartbeat.start()
        retry.call(lambda again: record_folder(self.search))
        retry.call(lambda again: self.reporter.archive_spooled(self.spool))
        retry.call(lambda again: check_failures(self.assignment))
        done, wait_s, until_recovery = 0, WAIT_s, 0
        while max_trials is None or done < max_trials:
            if max_seconds and time.monotonic() - start > max_seconds:
                return f"{max_seconds:g} seconds over"
            self.heartbeat.check_interrupt()
            if until_recovery <= 0:
                retry.call(self.reporter.recover)
                until_recovery = RECOVERY_CLAIMS
            until_recovery -= 1
            claim = retry.call(self.claims.claim)
            if isinstance(claim, Ended):
                return self._end(claim)
            if isinstance(claim, Claimed):
                self._runner.run(claim.lease)
                done, wait_s = done + 1, WAIT_s
            else:
                until_recovery = min(until_recovery, RECOVERY_WAITS)
                wait_s = self._wait(wait_s, claim.under_way)
        return f"{max_trials} trials done"

    def _wait(self, wait_s: float, under_way: int = 0) -> float:
        """Waits, without a connection if for long; returns for how long to wait next time."""
        wait_s = max(wait_s, min(PER_TRIAL_s * under_way, LONGEST_WAIT_s))
        self.assignment.storage.drop_snapshot()
        if wait_s > RELEASE_AFTER_s:
            self.search.store.release_connections()
        self.asked_to_end.wait(wait_s)
        return min(WAIT_GROWTH * wait_s, LONGEST_WAIT_s)

    def _end(self, ended: Ended) -> str:
        self.assignment.retry.call(self.reporter.report_unreported)  # also of the last claim
        if ended.kind == "failures":
            raise TooManyFailures(f"study {self.search.name!r}: {sentence(self.search, ended)}")
        return str(ended)
