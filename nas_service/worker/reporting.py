"""How results get into the archive and into Optuna's trials, each of them once."""

import contextlib
from dataclasses import replace

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FixedTrial, Trial, TrialState

from nas_service.metrics import Evaluation
from nas_service.searches.optuna_trial import Measured, line, report_trial
from nas_service.searches.session import DIGEST
from nas_service.store.records import Lease, Unreported
from nas_service.worker.assignment import Assignment
from nas_service.worker.claiming import REPAIRS
from nas_service.worker.spool import Spool


class ResultReporter:
    """Archives and reports the results of one study: the worker's own, and what others left."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment

    def archive(
        self, lease: Lease, trial: Trial, evaluation: Evaluation, again: bool = False
    ) -> bool:
        """Archives and reports a result in one transaction; False where it came too late.

        Args:
            lease: Of the trial.
            trial: The trial.
            evaluation: The result.
            again: An earlier try may have succeeded although its reply was lost.

        Returns:
            True where the result counts.
        """
        a = self._assignment
        with a.search.store.transactions.writing():
            if again and self.is_reported(trial):
                return True
            receipt = a.queue.archive_result(lease, evaluation, at_rung=a.at_rung, reported=True)
            if receipt is None:
                a.telemetry.count("late_results")
                a.on_line(f"trial {lease.trial}: result came late, another worker has the trial")
                return False
            self.report(trial, evaluation, receipt.outcome)
        if receipt.followed:
            a.retry.call(self.report_unreported)
        return True

    def is_reported(self, trial: Trial) -> bool:
        """True where an earlier try succeeded and only its reply was lost."""
        return self._assignment.storage.reconcile(trial._trial_id).state.is_finished()

    def report(self, trial: Trial, evaluation: Evaluation, outcome: str) -> None:
        """Reports a result to Optuna, to the worker's output and to its telemetry.

        Args:
            trial: A running trial; a finished one is left as it is.
            evaluation: The trial's candidate.
            outcome: Of the trial; that of the evaluation, "cached" or "continued".
        """
        a = self._assignment
        if outcome == "rejected" and a.spec.search.repair and evaluation.repair:
            self.enqueue_repair(evaluation.repair, trial.number)
        measured = Measured.of(a.spec, evaluation)
        report_trial(trial, a.spec, evaluation, outcome, measured)
        a.telemetry.count("trials", outcome=outcome)
        a.on_line(line(a.spec, trial.number, evaluation, outcome, measured))

    def enqueue_repair(self, parameters: dict[str, int | str], rejected: int) -> None:
        """Enqueues a repair before its rejected trial is reported.

        No repair is enqueued twice: not by the next worker after a crash, and not by two workers at
        once.

        Args:
            parameters: Of the repaired candidate, by name.
            rejected: Number of the rejected trial.
        """
        search, storage = self._assignment.search, self._assignment.storage
        digest = search.spec.build_space().draw(FixedTrial(parameters)).digest
        with search.store.transactions.candidate_lock(search.id, digest):
            if digest in search.store.leases(search.id).unfinished():
                return
            if search.store.archive(search.id).evaluation(digest) is not None:
                return
            storage.take_snapshot(search.id)  # another worker may have enqueued it meanwhile
            search.study.enqueue_trial(parameters, {REPAIRS: rejected}, skip_if_exists=True)

    # --- what other workers left

    def recover(self, again: bool = False) -> None:
        """Enqueues running trials without a lease, and reports what is unreported."""
        a = self._assignment
        if a.search.store.leases(a.search.id).are_missing():
            running = a.search.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
            a.queue.recover_orphans({t.number: t.user_attrs.get(DIGEST) for t in running})
        self.report_unreported()

    def report_unreported(self, again: bool = False) -> None:
        """Reports every result and failure that Optuna does not know, of any worker.

        Another worker may report the same at the same time: the first one counts.
        """
        a = self._assignment
        for trial in a.queue.unreported():
            failed = trial.reason is not None
            with (
                contextlib.suppress(UpdateFinishedTrialError),
                a.search.store.transactions.writing(),
            ):
                if failed:
                    a.search.study.tell(trial.trial, state=TrialState.FAIL, skip_if_finished=True)
                else:
                    self._report_archived(trial)
            if failed:
                a.queue.failure_reported(trial.lease_id)
            else:
                a.queue.result_reported(trial.lease_id, trial.outcome)

    def _report_archived(self, unreported: Unreported) -> None:
        search = self._assignment.search
        backend = self._assignment.storage.backend
        trial = backend.get_all_trials(search.id, deepcopy=False)[unreported.trial]
        evaluation = search.store.archive(search.id).evaluation(unreported.digest)
        assert evaluation is not None, unreported.digest  # noqa: S101  archived before
        self.report(Trial(search.study, trial._trial_id), evaluation, unreported.outcome)

    def archive_spooled(self, spool: Spool) -> None:
        """Archives results of this machine's workers that ended before the store had them."""
        a = self._assignment
        for spooled in spool.results(a.search.id):
            queue = replace(a.queue, worker=spooled.worker)
            receipt = queue.archive_result(spooled.lease, spooled.evaluation, at_rung=a.at_rung)
            if receipt:
                self._delete_checkpoint(spooled.evaluation)
            fate = "archived" if receipt else "too late"
            a.on_line(f"trial {spooled.lease.trial}: a result from this machine's spool, {fate}")
            spool.drop(spooled.file)

    def _delete_checkpoint(self, e: Evaluation) -> None:
        """Deletes the checkpoint of a finished training, as the worker would that trained it."""
        evaluator = self._assignment.evaluator
        if e.trained:
            evaluator = evaluator.with_last_epoch(e.fidelity)
        if e.outcome in ("trained", "diverged"):
            weights = self._assignment.search.weights(e.architecture.digest)
            evaluator.delete_checkpoint(e, weights)
