"""One worker's life: claim, ask, screen, train, archive, tell.

A trial takes three transactions: one that claims and makes it, with a look at all others; one in
which its candidate is known, rejected, or begins to be trained; and one that keeps and tells what
was found. In between no connection is held, and all of them may be made again.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Container, Iterator
from dataclasses import replace
from pathlib import Path

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FixedTrial, Trial, TrialState

from nas_service.errors import Interrupted, LeaseLost, SickWorker, StoreError, TooManyFailures
from nas_service.evaluation.evaluator import Evaluator
from nas_service.metrics import Evaluation
from nas_service.rejection import Rejection
from nas_service.samplers import SAMPLERS, derived_seed, sampler_of
from nas_service.samplers.greybox_cells import score_by
from nas_service.searches.optuna_trial import Measured, line, report_trial
from nas_service.searches.session import CONTINUES, DIGEST, UNTIL, Search, continuation
from nas_service.searches.stopping import ENUMERABLE, at_first_rung, exhausted, limits_of, stalled
from nas_service.searches.successive_halving import promote_by
from nas_service.spaces.architecture import Architecture
from nas_service.store.process_id import worker_name
from nas_service.store.records import Claim, Claimed, Ended, Lease, Promotion, Unreported, Wait
from nas_service.store.trial_queue import TrialQueue
from nas_service.study.loading import parse_spec
from nas_service.worker.retry import Retry
from nas_service.worker.spool import Spool
from nas_service.worker.telemetry import Telemetry
from nas_service.worker.training_process import ChildFailure, Job, TrainingClient

REPAIRS = "repairs"  # attribute of a trial: the number of the one that was rejected
HOUSE_KEEPING = 20  # claims after which a worker looks for what others left behind
SICK = 5  # trainings in a row that ended their process
WAIT_s, LONGEST_WAIT_s = 0.3, 2.0  # where nothing is to be done now
REST_s = 2.0  # behind which a training is worth a new connection

log = logging.getLogger(__name__)


# Trains a candidate with a bench, keeps its weights there, and calls what may end it.
Train = Callable[[Evaluator, Evaluation, Path, Callable[[], None]], Evaluation]


def here(
    bench: Evaluator, begun: Evaluation, weights: Path, check_interrupt: Callable[[], None]
) -> Evaluation:
    """In this process, which ends as its training may end it."""
    train = bench.resume_training if begun.trained else bench.train
    return train(begun, weights, check_interrupt)


def in_children(trainer: TrainingClient, seconds: float | None = None) -> Train:
    """Each in a process of its own, for at most so long."""

    def train(
        bench: Evaluator, begun: Evaluation, weights: Path, check_interrupt: Callable[[], None]
    ) -> Evaluation:
        job = Job(bench.spec, bench.folder, begun, weights, resume=begun.trained)
        return trainer.run(job, check_interrupt, seconds)

    return train


class Worker:
    """One process that works on one study until it ends, or is asked to."""

    def __init__(
        self,
        search: Search,
        bench: Evaluator,
        report: Callable[[str], None],
        spool: Spool | None = None,
        train: Train = here,
        telemetry: Telemetry | None = None,
    ) -> None:
        self.search, self.bench, self.report = search, bench, report
        self._train, self.telemetry = train, telemetry or Telemetry()
        self.queue = TrialQueue(search.store, search.id, worker_name())
        self.asked_to_end = threading.Event()
        self.spool = spool or Spool.of(search.store)
        self._storage = search.store.optuna
        self._patience = Retry(search.store, self.asked_to_end, report, self.telemetry)
        self._lease: Lease | None = None
        self._renewed = 0.0  # on this machine's own clock, when the lease last was
        self._lost = False
        self._trial: Trial | None = None
        self._spec = ""  # as the store had it last
        self._crashes = 0
        self._training = False
        space = search.spec.build_space()
        search.study.sampler = sampler_of(search.spec)
        if SAMPLERS[search.spec.search.sampler].uses_scores:
            score_by(search.study.sampler, bench)
        self._starts = search.store.studies.initial_trials(search.id)
        self._all = {a.digest for a in space} if space.size <= ENUMERABLE else None

    def run(self, max_trials: int | None = None, max_seconds: float | None = None) -> str:
        """Works until the study ends; returns why. Raises Interrupted when asked to end."""
        end = time.monotonic() + max_seconds if max_seconds else None
        self.telemetry.gauge("lease_age_seconds", self._silent_s)
        threading.Thread(target=self._heartbeat, daemon=True).start()
        self._patience.call(self._take_up_spool)
        done = turns = 0
        wait_s = WAIT_s
        while max_trials is None or done < max_trials:
            if end and time.monotonic() > end:
                return f"{max_seconds:g} seconds over"
            self._pause()
            if turns % HOUSE_KEEPING == 0:
                self._patience.call(self._keep_house)
            turns += 1
            claimed = self._patience.call(self._claim)
            if isinstance(claimed, Ended):
                self._patience.call(self._settle)  # also what this claim has given up
                if claimed.kind == "failures":
                    raise TooManyFailures(f"study {self.search.name!r}: {claimed}")
                return str(claimed)
            if isinstance(claimed, Wait):
                turns = 0
                self._storage.drop_snapshot()
                self.search.store.release_connections()
                self.asked_to_end.wait(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_s)
                continue
            self._work(claimed.lease)
            done, wait_s = done + 1, WAIT_s
        return f"{max_trials} trials done"

    def _pause(self) -> None:
        """What a training calls: raises where it must not go on."""
        if self.asked_to_end.is_set():
            raise Interrupted("interrupted: the trial in hand was released; run again to continue")
        lease = self._lease
        if lease is not None and (self._lost or self._silent_s() > self.search.store.lease_s):
            raise LeaseLost(f"trial {lease.trial}: its lease is lost")

    def _silent_s(self) -> float:
        """Since the lease in hand was last renewed; 0 without one."""
        return 0.0 if self._lease is None else time.monotonic() - self._renewed

    # --- a trial is claimed

    def _claim(self, again: bool) -> Claim:
        s, self._trial = self.search, None
        self._storage.drop_snapshot()
        with s.store.transactions.begin(), contextlib.ExitStack() as locked:
            self._storage.take_snapshot(s.id)  # before the lock, which others wait for
            locked.enter_context(s.store.exclusive(s.id))
            self._take_up_changes()
            claimed = self.queue.claim(
                limits_of(self.search),
                self._ask,
                promote=promote_by(self.search.spec),
                ended=self._stalled() or self._exhausted(),
                again=again,
            )
        if isinstance(claimed, Claimed):
            self._lease, self._lost, self._renewed = claimed.lease, False, time.monotonic()
            self.telemetry.set_fields(trial=claimed.lease.trial)
        return claimed

    def _ask(self, promotion: Promotion | None) -> int:
        """Makes a trial, inside the claim."""
        with self._storage.buffering():
            study = self.search.study
            trial = study.ask() if promotion is None else self._promoted(promotion)
        self._trial = trial
        return trial.number

    def _promoted(self, p: Promotion) -> Trial:
        """A new trial of a candidate that goes on."""
        facts: dict[str, str | int] = {DIGEST: p.digest, UNTIL: p.until}
        seen = {t.number: t for t in self._storage.get_all_trials(self.search.id, deepcopy=False)}
        if p.result.trial not in seen or not seen[p.result.trial].state.is_finished():
            self._storage.take_snapshot(self.search.id)  # it came to its step since
        _, made = continuation(self.search, p.result.trial, facts)
        return Trial(self.search.study, made)

    def _stalled(self) -> Ended | None:
        s = self.search
        return stalled(s.spec, at_first_rung(s)) if s.spec.search.early_stop else None

    def _take_up_changes(self) -> None:
        """Trainings of a study that has grown end later from now on."""
        s, text = self.search, self.search.store.studies.spec(self.search.id)
        if text == self._spec:
            return
        spec, self._spec = parse_spec(text, f"study {s.name!r}"), text
        if spec != s.spec:
            self.search, self.bench = replace(s, spec=spec), replace(self.bench, spec=spec)

    def _exhausted(self) -> Ended | None:
        if not self._all:
            return None
        return exhausted(self._all, self.search.store.archive(self.search.id).digests())

    # --- and worked on

    def _work(self, lease: Lease) -> None:
        trial = self._drawable(lease)
        try:
            self._evaluate(lease, trial)
            self._crashes = 0
        except Interrupted:
            self._patience.once(lambda: self.queue.release(lease))
            raise
        except LeaseLost as error:
            self.telemetry.count("leases_lost")
            self.report(f"{error}; another worker may have it")
        except ChildFailure as failure:
            ended = failure
            self._patience.call(lambda again: self._failed(lease, trial, ended))
        except (StoreError, SickWorker):
            raise
        except Exception as error:
            log.exception("trial %d failed", trial.number)
            reason = f"{type(error).__name__}: {error}"
            self._patience.call(lambda again: self.queue.fail(lease, reason))
            self.report(f"trial {trial.number} failed: {reason[:200]}")
            self._patience.call(self._settle)
        finally:
            self._lease = self._trial = None
            self.telemetry.set_fields(trial=None)
            self._storage.drop_snapshot()

    def _failed(self, lease: Lease, trial: Trial, failure: ChildFailure) -> None:
        """A training ended its process: another worker shall try, a few times in all.

        A candidate for which memory ran out twice is told as one that is too large.
        """
        limit = self.search.spec.search.max_attempts
        self.telemetry.count("child_failures", kind=failure.kind)
        self.report(f"trial {trial.number}: its training ended by {failure}"[:300])
        if failure.kind == "error":
            self.queue.fail(lease, str(failure))
        elif failure.kind == "oom" and self.queue.crashes(lease, "oom") > 0:
            self._archive(lease, trial, self._too_large(trial, failure))
        else:
            self.queue.crashed(lease, str(failure), limit)
        self._settle()
        self._crashes += failure.kind != "error"
        if self._crashes >= SICK:
            raise SickWorker(
                f"{self._crashes} trainings in a row ended their process, the last by {failure}: "
                "this worker ends rather than spoil more"
            )

    def _too_large(self, trial: Trial, failure: ChildFailure) -> Evaluation:
        space = self.search.spec.build_space()
        architecture = space.draw(FixedTrial(trial.params))
        screened = self.bench.screen(
            architecture, derived_seed(self.search.spec.seed, trial.number)
        )
        rejection = Rejection.out_of_memory(failure)
        return replace(screened, reason=rejection.reason, rejected_by=rejection.checks)

    def _drawable(self, lease: Lease) -> Trial:
        """The trial of a lease, held; what it drew already stays drawn.

        The first trials draw what the study begins with, by their numbers, so each of these is
        one trial whoever asks and whoever is lost.
        """
        trial = self._trial
        if trial is None or trial.number != lease.trial:
            trial = self._patience.call(lambda again: self._held(lease))
        if REPAIRS in trial.user_attrs:
            _ = trial.relative_params  # without, it has no generation
        place = self._place(trial)
        return trial if place is None else self._fixed(trial, self._starts[place])

    def _held(self, lease: Lease) -> Trial:
        trials = self._storage.get_all_trials(self.search.id, deepcopy=False)
        found = next((t for t in trials if t.number == lease.trial), None)
        if found is None:  # made since this worker looked
            trials = self._storage.take_snapshot(self.search.id)
            found = next(t for t in trials if t.number == lease.trial)
        self._storage.buffer(found._trial_id)
        return Trial(self.search.study, found._trial_id)

    def _place(self, trial: Trial) -> int | None:
        """Which of the starts a trial is; those that stand for another are not counted."""
        if not self._starts or not _own(trial.user_attrs):
            return None
        earlier = self._storage.get_all_trials(self.search.id, deepcopy=False)
        if sum(t.number < trial.number for t in earlier) < trial.number:
            earlier = self._storage.take_snapshot(self.search.id)  # others were made since
        place = sum(_own(t.user_attrs) for t in earlier if t.number < trial.number)
        return place if place < len(self._starts) else None

    def _fixed(self, trial: Trial, parameters: dict[str, int | str]) -> Trial:
        """The trial, to draw these; its number in a generation comes from what it would draw."""
        self._storage.set_trial_system_attr(trial._trial_id, "fixed_params", parameters)
        fixed = Trial(self.search.study, trial._trial_id)
        _ = fixed.relative_params
        return fixed

    def _evaluate(self, lease: Lease, trial: Trial) -> None:
        s = self.search
        with self.telemetry.timed("ask_seconds"):
            architecture, bench = s.spec.build_space().draw(trial), self._bench_of(trial)
        screened = None
        if architecture.digest not in self._digests():
            screened = bench.screen(architecture, derived_seed(s.spec.seed, trial.number))
        found = self._patience.call(
            lambda again: self._begin(lease, trial, bench, architecture, screened, again)
        )
        if found is not None:
            self._finish(lease, trial, bench, found)

    def _digests(self) -> set[str | None]:
        """Of candidates whose trials were finished when this worker looked."""
        trials = self._storage.get_all_trials(self.search.id, deepcopy=False)
        done = (t.user_attrs for t in trials if t.state == TrialState.COMPLETE)
        return {attributes.get(DIGEST) for attributes in done}

    def _begin(
        self,
        lease: Lease,
        trial: Trial,
        bench: Evaluator,
        architecture: Architecture,
        screened: Evaluation | None,
        again: bool,
    ) -> Evaluation | None:
        """The candidate to train, as it is known; None where its trial is at its end, or follows.

        A candidate that is known is told at once, and so is one that is rejected.
        """
        s, digest = self.search, architecture.digest
        with s.store.transactions.writing():
            if again and self._is_told(trial):
                return None
            if screened is not None and self._rejected(lease, trial, screened):
                return None
            alone, known = self.queue.begin_training(lease, digest)
            goes_on = known is not None and bench.ended_early(known)
            if known is not None and not (alone and goes_on):
                self.queue.complete_from_archive(lease)
                self._tell(trial, known, "cached")
                return None
            if goes_on and SAMPLERS[s.spec.search.sampler].generations:
                _ = trial.relative_params  # without, a trial that drew nothing has none
            self._storage.flush(trial._trial_id)
            return (known or screened) if alone else None

    def _rejected(self, lease: Lease, trial: Trial, screened: Evaluation) -> bool:
        """True for a candidate that is over a budget, told as such unless another trial was."""
        s = self.search
        known = (
            s.store.archive(s.id).evaluation(screened.architecture.digest)
            if screened.reason
            else None
        )
        if not screened.reason or known is not None:
            return False
        self._archive(lease, trial, screened)
        return True

    def _finish(self, lease: Lease, trial: Trial, bench: Evaluator, begun: Evaluation) -> None:
        """Trains a candidate, or goes on with its training, and keeps what was found."""
        s = self.search
        weights = s.weights(begun.architecture.digest)
        with self.telemetry.timed("training_seconds"), self._resting():
            found = self._train(bench, begun, weights, self._pause)
        with self.spool.keeping(s.id, lease, self.queue.worker, found):
            kept = self._patience.call(lambda again: self._archive(lease, trial, found, again))
        if kept and found.outcome in ("trained", "diverged"):
            bench.delete_checkpoint(found, weights)

    @contextlib.contextmanager
    def _resting(self) -> Iterator[None]:
        """Holds no connection inside, but for a moment."""
        timer = threading.Timer(REST_s, self.search.store.release_connections)
        timer.daemon = self._training = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self._training = False

    def _bench_of(self, trial: Trial) -> Evaluator:
        """The bench whose trainings end where this trial's does."""
        attributes, steps = trial.user_attrs, self.search.spec.steps
        if CONTINUES in attributes:
            return self.bench.with_last_epoch(attributes.get(UNTIL, steps[-1]))
        return self.bench.with_last_epoch(steps[0])

    def _archive(
        self, lease: Lease, trial: Trial, evaluation: Evaluation, again: bool = False
    ) -> bool:
        """Keeps a result and tells it; False where it came late."""
        s = self.search
        with s.store.transactions.writing():
            if again and self._is_told(trial):
                return True
            at_rung = s.spec.search.reduction_factor is not None
            kept = self.queue.archive_result(lease, evaluation, at_rung=at_rung, reported=True)
            if kept is None:
                self.telemetry.count("late_results")
                self.report(f"trial {lease.trial}: result came late, another worker has the trial")
                return False
            self._tell(trial, evaluation, kept.outcome)
        if kept.followed:
            self._patience.call(self._settle)
        return True

    def _is_told(self, trial: Trial) -> bool:
        """True where an earlier try went through and only its reply was lost."""
        return self._storage.reconcile(trial._trial_id).state.is_finished()

    def _tell(self, trial: Trial, evaluation: Evaluation, outcome: str) -> None:
        s = self.search
        if outcome == "rejected" and s.spec.search.repair and evaluation.repair:
            self._propose(evaluation.repair, trial.number)
        measured = Measured.of(s.spec, evaluation)
        report_trial(trial, s.spec, evaluation, outcome, measured)
        self.telemetry.count("trials", outcome=outcome)
        self.report(line(s.spec, trial.number, evaluation, outcome, measured))

    def _propose(self, parameters: dict[str, int | str], rejected: int) -> None:
        """Enqueues a repair before its rejected trial is reported. No repair is enqueued twice:
        not by the next worker after a crash, and not by two workers at once."""
        s = self.search
        digest = s.spec.build_space().draw(FixedTrial(parameters)).digest
        with s.store.transactions.candidate_lock(s.id, digest):
            if digest in s.store.leases(s.id).unfinished():
                return
            if s.store.archive(s.id).evaluation(digest) is not None:
                return
            self._storage.take_snapshot(s.id)  # another worker may have enqueued it meanwhile
            s.study.enqueue_trial(parameters, {REPAIRS: rejected}, skip_if_exists=True)

    # --- what others left behind

    def _keep_house(self, again: bool = False) -> None:
        s = self.search
        running = s.study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if running:
            self.queue.recover_orphans({t.number: t.user_attrs.get(DIGEST) for t in running})
        self._settle()

    def _settle(self, again: bool = False) -> None:
        """Tells Optuna every result it does not know yet, whoever's it was.

        A worker that stood still since it took one may find that another has told it.
        """
        s = self.search
        for trial in self.queue.unreported():
            with contextlib.suppress(UpdateFinishedTrialError), s.store.transactions.writing():
                if trial.reason is not None:
                    s.study.tell(trial.trial, state=TrialState.FAIL, skip_if_finished=True)
                else:
                    self._report_result(trial)
            if trial.reason is not None:
                self.queue.failure_reported(trial.lease_id)
            else:
                self.queue.result_reported(trial.lease_id, trial.outcome)

    def _report_result(self, unreported: Unreported) -> None:
        s, digest = self.search, unreported.digest
        trial = self._storage.backend.get_all_trials(s.id, deepcopy=False)[unreported.trial]
        evaluation = s.store.archive(s.id).evaluation(digest)
        assert evaluation is not None, digest  # noqa: S101  archived before it is reported
        self._tell(Trial(s.study, trial._trial_id), evaluation, unreported.outcome)

    def _take_up_spool(self, again: bool = False) -> None:
        """Keeps results that workers of this machine had and could not tell before they ended."""
        s = self.search
        for waiting in self.spool.left(s.id):
            queue = replace(self.queue, worker=waiting.owner)
            at_rung = s.spec.search.reduction_factor is not None
            kept = queue.archive_result(waiting.lease, waiting.evaluation, at_rung=at_rung)
            how = "late" if kept is None else "kept"
            self.report(f"trial {waiting.lease.trial}: a result from this machine's spool, {how}")
            self.spool.drop(waiting.file)

    def _heartbeat(self) -> None:
        """Renews the lease in hand; a store that is away for a while only delays it."""
        while not self.asked_to_end.wait(self.search.store.lease_s / 4):
            lease = self._lease
            try:
                if lease is not None:
                    self._renew(lease)
            except Exception as error:  # the next beat may succeed
                log.warning("lease not renewed: %s", type(error).__name__)

    def _renew(self, lease: Lease) -> None:
        store = self.search.store
        if self.queue.renew(lease):
            self._renewed = time.monotonic()
        elif lease is self._lease:
            self._lost = True
        if self.search.spec.search.seconds is not None:
            store.studies.advance_clock(self.search.id)
        if self._training:
            store.release_connections()


def _own(attributes: Container[str]) -> bool:
    """True for a trial that was drawn, not left by another one."""
    return CONTINUES not in attributes and REPAIRS not in attributes
