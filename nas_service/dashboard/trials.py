"""Trials as optuna-dashboard reads them: constraints in one list, times of a known zone only."""

import copy
from collections.abc import Container, Sequence
from typing import Protocol

import numpy as np
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas_service.samplers.greybox.pareto import on_front
from nas_service.searches.shown_trials import LIST, listed, missed_references, results
from nas_service.store.read_only import ReadOnlyStorage
from nas_service.store.trial_times import utc_time, zone_is_known
from nas_service.study.spec import StudySpec

BELOW = "below_reference"  # user attribute that the page shows: objectives
NO_TRIAL = create_trial(state=TrialState.FAIL)  # the best trial of a study without a result


class Known(Protocol):
    """What this service knows of the studies in a storage."""

    def spec(self, study_id: int) -> StudySpec | None:
        """The specification of a study; None where another program made it."""

    def front(self, study_id: int) -> frozenset[int] | None:
        """Numbers of the trials on a study's front; None where another program made it."""


class NothingKnown:
    """Every study is taken as another program's."""

    def spec(self, study_id: int) -> None:
        """None."""

    def front(self, study_id: int) -> None:
        """None."""


def with_constraints(trial: FrozenTrial, spec: StudySpec | None = None) -> FrozenTrial:
    """A copy of the trial with the list of its constraints. The trial itself is not changed.

    One that is below a reference of its study gets a positive one, as the page would draw it as
    part of the front, and a user attribute that says so.
    """
    constraints = listed(trial)
    missed = missed_references(spec, trial) if spec is not None else ()
    is_below = bool(missed) and all(c <= 0 for c in constraints)
    if not constraints and not is_below:
        return trial
    view = copy.copy(trial)
    view._system_attrs = {**trial.system_attrs, LIST: constraints + [1.0] * is_below}
    if is_below:
        view._user_attrs = {**trial.user_attrs, BELOW: ", ".join(missed)}
    return view


def with_known_times(trial: FrozenTrial) -> FrozenTrial:
    """The trial, or a copy whose times of an unknown zone are texts in the attribute `times`.

    The page shows no duration of a trial without times.
    """
    if zone_is_known(trial):
        return trial
    times = [utc_time(t) for t in (trial.datetime_start, trial.datetime_complete)]
    stored = [f"{t:%Y-%m-%d %H:%M:%S}" if t else "-" for t in times]
    view = copy.copy(trial)
    view.datetime_start = view.datetime_complete = None
    view._user_attrs = {**trial.user_attrs, "times": f"{' to '.join(stored)}, zone unknown"}
    return view


def with_utc(trial: FrozenTrial) -> FrozenTrial:
    """A copy of the trial whose times name their zone, UTC, as browsers of any zone need it."""
    view = copy.copy(trial)
    view.datetime_start = utc_time(trial.datetime_start)
    view.datetime_complete = utc_time(trial.datetime_complete)
    return view


def front(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """The results that no other result dominates, in the given order.

    Args:
        trials: Of the study; those that `results` leaves out cannot be on the front.
        directions: Of the study's objectives.

    Returns:
        The trials of the front; none where a study has no results.
    """
    trials = results(trials)
    if not trials:
        return []
    losses = np.array([_losses(trial, directions) for trial in trials])  # [trials, objectives]
    return [trial for trial, best in zip(trials, on_front(losses), strict=True) if best]


def _losses(trial: FrozenTrial, directions: Sequence[StudyDirection]) -> list[float]:
    return [
        -value if direction == StudyDirection.MAXIMIZE else value
        for value, direction in zip(trial.values, directions, strict=True)
    ]


class DashboardStorage(ReadOnlyStorage):
    """A store as optuna-dashboard reads it: read-only, its trials with their constraints listed.

    Args:
        storage: The storage to show.
        known: What this service knows of its studies.
    """

    def __init__(self, storage: BaseStorage, known: Known | None = None) -> None:
        super().__init__(storage)
        self._known = known or NothingKnown()
        self._specs: dict[int | None, StudySpec | None] = {}

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The views of a study's trials, or of those in the given states."""
        self._specs[study_id] = self._known.spec(study_id)
        return super().get_all_trials(study_id, deepcopy, states)

    def _view(self, trial: FrozenTrial, study_id: int | None) -> FrozenTrial:
        return with_known_times(with_constraints(trial, self._specs.get(study_id)))

    def best_trials(self, study_id: int, trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
        """Those of a study's trials that are on its front."""
        numbers = self._known.front(study_id)
        if numbers is None:
            return front(trials, self.get_study_directions(study_id))
        return [trial for trial in trials if trial.number in numbers]

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """A best result of a single-objective study, or NO_TRIAL, which the caller drops."""
        best = self.best_trials(study_id, self.get_all_trials(study_id, deepcopy=False))
        return best[0] if best else NO_TRIAL
