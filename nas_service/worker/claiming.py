"""How a worker gets a trial: claimed in the store, made by the sampler, ready to draw from."""

import contextlib
from collections.abc import Container, Mapping
from typing import Any

from optuna.trial import FrozenTrial, Trial

from nas_service.evaluation.remaining import Enumerated, enumerated
from nas_service.samplers import SAMPLERS, sampler_of
from nas_service.samplers.greybox_cells import score_by
from nas_service.searches.enqueued import ENQUEUED
from nas_service.searches.session import CONTINUES, DIGEST, UNTIL, continuation
from nas_service.searches.stopping import (
    at_first_rung,
    exhausted,
    limits_of,
    stalled,
)
from nas_service.searches.successive_halving import promote_by
from nas_service.store.claims import without_lock
from nas_service.store.records import Claim, Ended, Lease, Promotion, Wait
from nas_service.worker.assignment import Assignment

REPAIRS = "repairs"  # attribute of a trial: the number of the rejected trial that it repairs


class TrialClaims:
    """Claims the trials of one study, one at a time."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        search = assignment.search
        search.study.sampler = sampler_of(search.spec, assignment.evaluator.density)
        if SAMPLERS[search.spec.search.sampler].uses_scores:
            score_by(search.study.sampler, assignment.evaluator)
        self._initial = search.store.studies.initial_trials(search.id)
        self._candidates = enumerated(search.spec, assignment.evaluator.density)
        self._made: Trial | None = None  # by the last claim
        self._waits = False  # since the last claim

    def claim(self, again: bool) -> Claim:
        """Claims a trial in one transaction, with a snapshot of all others.

        Args:
            again: The reply to an earlier claim was lost.

        Returns:
            A lease, the reason why the study has ended, or that the worker has to wait.
        """
        a, self._made = self._assignment, None
        a.storage.drop_snapshot()
        known = self._without_lock() if self._waits and not again else None
        claim = known or self._claim(again)
        self._waits = isinstance(claim, Wait)
        return claim

    def _without_lock(self) -> Ended | Wait | None:
        """The answer to a worker that waits, of which many would lock the study in vain."""
        a = self._assignment
        if a.at_rung:  # a promotion depends on all results
            return None
        with a.search.store.transactions.begin() as db:
            budget = a.search.store.studies.budget(a.search.id)
            limits = limits_of(a.search, budget)
            return without_lock(db, a.search.id, a.queue.worker, budget, limits)

    def _claim(self, again: bool) -> Claim:
        a = self._assignment
        with a.search.store.transactions.begin(), contextlib.ExitStack() as stack:
            a.storage.take_snapshot(a.search.id)  # before the lock, for which others wait
            stack.enter_context(a.search.store.exclusive(a.search.id))
            a.refresh_spec()
            return a.queue.claim(
                limits_of(a.search),
                self._ask,
                promote=promote_by(a.spec),
                ended=self._stalled() or self._exhausted(),
                again=again,
            )

    def open(self, lease: Lease) -> Trial:
        """The claimed trial, buffered; what it drew at an earlier attempt stays drawn.

        The first trials of the study draw its initial candidates.
        """
        trial = self._made
        if trial is None or trial.number != lease.trial:
            trial = self._assignment.retry.call(lambda again: self._buffered(lease))
        if REPAIRS in trial.user_attrs:
            _ = trial.relative_params  # gives the trial its number in a generation
        position = self._initial_position(trial)
        return trial if position is None else self._fixed(trial, self._initial[position])

    def close(self) -> None:
        """Ends the work on the claimed trial."""
        self._made = None
        self._assignment.storage.drop_snapshot()

    def _ask(self, promotion: Promotion | None) -> int:
        """Makes a trial, inside the transaction of the claim; returns its number."""
        with self._assignment.storage.buffering():
            study = self._assignment.search.study
            self._made = study.ask() if promotion is None else self._promoted(promotion)
        return self._made.number

    def _promoted(self, promotion: Promotion) -> Trial:
        """A new trial that continues the training of a promoted candidate."""
        a, origin = self._assignment, promotion.result.trial
        finished = any(t.number == origin and t.state.is_finished() for t in self._trials())
        if not finished:
            a.storage.take_snapshot(a.search.id)  # the candidate was measured after the last one
        attributes: dict[str, str | int] = {DIGEST: promotion.digest, UNTIL: promotion.until}
        _, trial_id = continuation(a.search, origin, attributes)
        return Trial(a.search.study, trial_id)

    def _stalled(self) -> Ended | None:
        search = self._assignment.search
        if search.spec.search.early_stop is None:
            return None
        return stalled(search.spec, at_first_rung(search))

    def _exhausted(self) -> Ended | None:
        if self._candidates == Enumerated():
            return None
        search = self._assignment.search
        return exhausted(self._candidates, search.store.archive(search.id).digests())

    def _trials(self) -> list[FrozenTrial]:
        """The study's trials as of the last snapshot."""
        a = self._assignment
        return a.storage.get_all_trials(a.search.id, deepcopy=False)

    def _buffered(self, lease: Lease) -> Trial:
        a = self._assignment
        trial = next((t for t in self._trials() if t.number == lease.trial), None)
        if trial is None:  # made after the last snapshot
            trials = a.storage.take_snapshot(a.search.id)
            trial = next(t for t in trials if t.number == lease.trial)
        a.storage.buffer(trial._trial_id)
        return Trial(a.search.study, trial._trial_id)

    def _initial_position(self, trial: Trial) -> int | None:
        """Which initial candidate the trial draws, by its number among the new proposals.

        So each initial candidate is one trial, whichever worker proposes it or is lost.
        """
        if not self._initial or not _is_proposal(trial.user_attrs):
            return None
        earlier = self._trials()
        if sum(t.number < trial.number for t in earlier) < trial.number:  # others were made since
            earlier = self._assignment.storage.take_snapshot(self._assignment.search.id)
        earlier = [t for t in earlier if t.number < trial.number]
        position = sum(_is_proposal(t.user_attrs) for t in earlier)
        return position if position < len(self._initial) else None

    def _fixed(self, trial: Trial, parameters: Mapping[str, Any]) -> Trial:
        """The trial, which will draw these parameters."""
        storage = self._assignment.storage
        storage.set_trial_system_attr(trial._trial_id, ENQUEUED, parameters)
        fixed = Trial(self._assignment.search.study, trial._trial_id)
        _ = fixed.relative_params  # gives the trial its number in a generation
        return fixed


def _is_proposal(attributes: Container[str]) -> bool:
    """True for a trial that a sampler drew, which continues or repairs no other one."""
    return CONTINUES not in attributes and REPAIRS not in attributes
