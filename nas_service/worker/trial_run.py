"""The evaluation of one claimed trial: drawn, screened, trained, archived, or failed."""

import logging
import socket
from typing import NoReturn

from optuna.trial import FixedTrial, Trial, TrialState

from nas_service.errors import Interrupted, LeaseLost, MachineFault, SickWorker, StoreError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.training_run import checkpoint_path
from nas_service.metrics import Evaluation
from nas_service.samplers import SAMPLERS, derived_seed
from nas_service.searches.enqueued import ENQUEUED, ImpossibleTrial, check_enqueued
from nas_service.searches.session import CONTINUES, DIGEST, UNTIL
from nas_service.searches.weights import BEGUN, explain_missing
from nas_service.spaces.architecture import Architecture
from nas_service.store import attempts
from nas_service.store.database import first_line
from nas_service.store.machine_faults import give_back
from nas_service.store.process_id import host_of
from nas_service.store.records import Lease
from nas_service.study.rejection import Rejection
from nas_service.worker.assignment import Assignment
from nas_service.worker.claiming import TrialClaims
from nas_service.worker.heartbeat import Heartbeat
from nas_service.worker.reporting import ResultReporter
from nas_service.worker.retry import is_of_store
from nas_service.worker.sick_machine import check_failures
from nas_service.worker.spool import Spool
from nas_service.worker.training import Train
from nas_service.worker.training_process import ChildFailure
from nas_service.worker.training_process.failures import FAULTS, kind_of

MOST_CRASHES = 5  # trainings in a row that ended their process

log = logging.getLogger(__name__)


class TrialRunner:
    """Evaluates claimed trials, one after the other."""

    def __init__(
        self,
        assignment: Assignment,
        claims: TrialClaims,
        reporter: ResultReporter,
        heartbeat: Heartbeat,
        train: Train,
        spool: Spool,
    ) -> None:
        self._assignment, self._claims, self._reporter = assignment, claims, reporter
        self._heartbeat, self._train, self._spool = heartbeat, train, spool
        self._crashes = 0  # in a row

    def run(self, lease: Lease) -> None:
        """Evaluates one trial to its end.

        Raises:
            Interrupted: The worker was asked to end; the trial is released.
            MachineFault: This machine cannot do the work, or too many trainings in a row have
                ended their process; the trial is given back.
            StoreError: The store stays unreachable.
        """
        a = self._assignment
        self._heartbeat.hold(lease)
        try:
            self._run(lease, self._claims.open(lease))
        except Interrupted:
            a.retry.once(lambda: a.queue.release(lease))
            raise
        except LeaseLost as error:
            a.telemetry.count("leases_lost")
            a.on_line(f"{error}; another worker may have it")
            a.retry.call(lambda again: self._give_up(lease))
        finally:
            self._heartbeat.drop()
            self._claims.close()

    def _give_up(self, lease: Lease) -> None:
        """Charges nothing to a trial whose lease was not renewed: this worker lives."""
        a = self._assignment
        a.queue.release(lease)
        with a.search.store.transactions.begin() as db:
            attempts.give_up(db, lease, a.queue.worker)

    def _run(self, lease: Lease, trial: Trial) -> None:
        retry = self._assignment.retry
        try:
            self._evaluate(lease, trial)
            self._crashes = 0
        except ChildFailure as error:
            failure = error
            retry.call(lambda again: self._child_failed(lease, trial, failure))
            retry.call(lambda again: check_failures(self._assignment))
        except (LeaseLost, StoreError, MachineFault):
            raise
        except ImpossibleTrial as error:
            self._failed(lease, trial, str(error))
        except Exception as error:
            self._failed_here(lease, trial, error)

    def _failed_here(self, lease: Lease, trial: Trial, error: Exception) -> None:
        """An error in this process: of the store, of the machine, or else of the candidate."""
        reason = f"{type(error).__name__}: {error}"
        if is_of_store(error):
            shown = self._assignment.search.store.shown
            raise StoreError(f"{shown}: {first_line(error)}") from error
        if kind_of(error) in FAULTS:
            self._give_back(lease, trial, reason)
        log.exception("trial %d failed", trial.number)
        self._failed(lease, trial, reason)

    def _give_back(self, lease: Lease, trial: Trial, reason: str) -> NoReturn:
        """Leaves a trial that this machine cannot train to others, and ends this worker."""
        a = self._assignment
        limit = a.spec.search.max_attempts
        a.retry.call(lambda again: give_back(a.queue, lease, reason, limit))
        host = host_of(a.queue.worker)
        raise MachineFault(f"trial {trial.number} was given back: {reason[:300]} (on {host})")

    def _failed(self, lease: Lease, trial: Trial, reason: str) -> None:
        a = self._assignment
        a.retry.call(lambda again: a.queue.fail(lease, reason))
        a.on_line(f"trial {trial.number} failed: {reason[:200]}")
        a.retry.call(self._reporter.report_unreported)
        a.retry.call(lambda again: check_failures(a))

    def _child_failed(self, lease: Lease, trial: Trial, failure: ChildFailure) -> None:
        """A training ended its process: another worker tries again, up to the study's limit.

        A candidate for which memory ran out twice is rejected as too large. Nothing is charged to
        one whose training a signal from outside has asked to end.
        """
        a = self._assignment
        a.telemetry.count("child_failures", kind=failure.kind)
        a.on_line(f"trial {trial.number}: its training ended by {failure}"[:300])
        if failure.kind in FAULTS:
            self._give_back(lease, trial, str(failure))
        if failure.kind == "error":
            a.queue.fail(lease, str(failure))
        elif failure.kind == "stopped":
            a.queue.release(lease, to_others=True)
        elif failure.kind == "oom" and a.queue.out_of_memory(lease):
            self._reporter.archive(lease, trial, self._too_large(trial, failure))
        else:
            oom, limit = failure.kind == "oom", a.spec.search.max_attempts
            a.queue.crashed(lease, str(failure), limit, out_of_memory=oom)
        self._reporter.report_unreported()
        self._crashes += failure.kind != "error"
        if self._crashes >= MOST_CRASHES:
            raise SickWorker(
                f"{self._crashes} trainings in a row ended their process, the last by {failure}: "
                "this worker ends before it harms more trials"
            )

    def _too_large(self, trial: Trial, failure: ChildFailure) -> Evaluation:
        a = self._assignment
        architecture = a.spec.build_space().draw(FixedTrial(trial.params))
        screened = a.evaluator.screen(architecture, derived_seed(a.spec.seed, trial.number))
        rejection = Rejection.out_of_memory(failure)
        return screened.reject(rejection.reason, rejection.checks)

    def _evaluate(self, lease: Lease, trial: Trial) -> None:
        a, evaluator = self._assignment, self._evaluator_for(trial)
        with a.telemetry.timed("ask_seconds"):
            space = a.spec.build_space()
            enqueued = a.storage.get_trial(trial._trial_id).system_attrs.get(ENQUEUED, {})
            check_enqueued(space, enqueued)
            architecture = space.draw(trial)
        if lease.attempt > 2 and a.retry.call(lambda again: a.queue.out_of_memory(lease)) > 1:
            lost = ChildFailure("oom", "its worker was killed for memory")
            result = self._too_large(trial, lost)
            a.retry.call(lambda again: self._reporter.archive(lease, trial, result, again))
            return
        screened = None
        if architecture.digest not in self._finished_digests():
            screened = evaluator.screen(architecture, derived_seed(a.spec.seed, trial.number))
        candidate = a.retry.call(
            lambda again: self._begin(lease, trial, evaluator, architecture, screened, again)
        )
        if candidate is not None:
            self._train_and_archive(lease, trial, evaluator, candidate)

    def _evaluator_for(self, trial: Trial) -> Evaluator:
        """The evaluator whose trainings end at the epoch at which this trial's does."""
        attributes, steps = trial.user_attrs, self._assignment.spec.steps
        until = attributes.get(UNTIL, steps[-1]) if CONTINUES in attributes else steps[0]
        return self._assignment.evaluator.with_last_epoch(until)

    def _finished_digests(self) -> set[str | None]:
        """Digests of the candidates of finished trials, as of the last snapshot."""
        a = self._assignment
        trials = a.storage.get_all_trials(a.search.id, deepcopy=False)
        finished = (t.user_attrs for t in trials if t.state == TrialState.COMPLETE)
        return {attributes.get(DIGEST) for attributes in finished}

    def _begin(
        self,
        lease: Lease,
        trial: Trial,
        evaluator: Evaluator,
        architecture: Architecture,
        screened: Evaluation | None,
        again: bool,
    ) -> Evaluation | None:
        """In one transaction: reports a candidate that is rejected or known, or begins another.

        Returns:
            The candidate to train; None where its trial is reported, or another trial trains it.
        """
        a = self._assignment
        with a.search.store.transactions.writing():
            if again and self._reporter.is_reported(trial):
                return None
            if screened is not None and self._is_rejected(lease, trial, screened):
                return None
            is_first, known = a.queue.begin_training(lease, architecture.digest)
            continues = known is not None and evaluator.ended_early(known)
            if known is not None and not (is_first and continues):
                a.queue.complete_from_archive(lease)
                self._reporter.report(trial, known, "cached")
                return None
            if continues and SAMPLERS[a.spec.search.sampler].generations:
                _ = trial.relative_params  # gives a trial that drew nothing its generation
            a.storage.flush(trial._trial_id)
            return (known or screened) if is_first else None

    def _is_rejected(self, lease: Lease, trial: Trial, screened: Evaluation) -> bool:
        """True for a candidate over a budget, which is archived; False where it is known."""
        archive = self._assignment.search.store.archive(self._assignment.search.id)
        digest = screened.architecture.digest
        if not screened.rejected or archive.evaluation(digest) is not None:
            return False
        self._reporter.archive(lease, trial, screened)
        return True

    def _note_checkpoint(self, lease: Lease, candidate: Evaluation) -> None:
        """Prints that a training begins again whose checkpoint is on another machine."""
        search, digest = self._assignment.search, candidate.architecture.digest
        last = search.store.leases(search.id).last_worker(digest, *BEGUN)
        if host_of(last) not in ("", socket.gethostname()):
            why = explain_missing(search, digest, BEGUN, "checkpoint")
            self._assignment.on_line(f"trial {lease.trial}: its training begins again: {why}")

    def _train_and_archive(
        self, lease: Lease, trial: Trial, evaluator: Evaluator, candidate: Evaluation
    ) -> None:
        a = self._assignment
        weights = a.search.weights(candidate.architecture.digest)
        is_begun = candidate.trained or lease.attempt > 1
        if is_begun and not checkpoint_path(weights).is_file():
            a.retry.call(lambda again: self._note_checkpoint(lease, candidate))
        with a.telemetry.timed("training_seconds"), self._heartbeat.training():
            result = self._train(evaluator, candidate, weights, self._heartbeat.check_interrupt)
        with self._spool.keeping(a.search.id, lease, a.queue.worker, result):
            archived = a.retry.call(
                lambda again: self._reporter.archive(lease, trial, result, again)
            )
        if archived and result.outcome in ("trained", "diverged"):
            evaluator.delete_checkpoint(result, weights)
