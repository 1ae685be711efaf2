"""Trials as optuna-dashboard reads them: constraints in one list, times of a known zone only.

optuna-dashboard knows only the constraints of Optuna 4: one list in the system attribute
`constraints` of a trial. Optuna 5 stores one attribute for each constraint, so that without this
list every trial would look feasible.
"""

import copy
import sys
from collections.abc import Sequence

import numpy as np
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas_service.metrics import MEASURED
from nas_service.samplers.greybox.pareto import on_front
from nas_service.store.read_only import ReadOnlyStorage
from nas_service.store.trial_times import utc_time, zone_is_known

LIST = "constraints"  # the system attribute that the dashboard reads
NAMED = "constraints:"  # prefix of the attributes that Optuna 5 writes
EPOCHS = "epochs"  # user attribute of trials that trained
OUTCOME = "outcome"  # user attribute of our trials: one of OUTCOMES
UNTRAINED = ("rejected", "diverged")
TRAINED = (*MEASURED, "continued")  # outcomes of trials that measured their own values
OUTCOMES = (*TRAINED, "cached", *UNTRAINED)
NO_TRIAL = create_trial(state=TrialState.FAIL)  # the best trial of a study without a result


def listed(trial: FrozenTrial) -> list[float]:
    """The constraints of a trial as the page needs them: finite, in the order of their names.

    The page draws a trial without a positive entry as feasible. An untrained trial without a
    positive entry gets one, because it is no result.
    """
    attrs = trial.system_attrs
    old = attrs.get(LIST) or []
    values = [*old] if isinstance(old, list) else [old]
    values += [attrs[key] for key in sorted(attrs) if key.startswith(NAMED)]
    constraints = [_finite(value) for value in values]
    if trial.user_attrs.get(OUTCOME) in UNTRAINED and all(c <= 0 for c in constraints):
        constraints.append(1.0)
    return constraints


def _finite(value: object) -> float:
    """The nearest number that JSON can hold; anything but a number is the worst violation."""
    if not isinstance(value, int | float) or value != value:  # NaN differs from itself
        return sys.float_info.max
    return float(max(-sys.float_info.max, min(value, sys.float_info.max)))


def with_constraints(trial: FrozenTrial) -> FrozenTrial:
    """A copy of the trial with the list of its constraints. The trial itself is not changed."""
    constraints = listed(trial)
    if not constraints:
        return trial
    view = copy.copy(trial)
    view._system_attrs = {**trial.system_attrs, LIST: constraints}
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


def shown(trial: FrozenTrial) -> FrozenTrial:
    """The trial as the dashboard reads it. The trial itself is not changed."""
    return with_known_times(with_constraints(trial))


def results(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that can be on a front.

    They are complete and feasible, measured their own values, and are trained for as many epochs
    as any such trial. In another program's study no trial has one of our outcomes, and every
    complete and feasible trial counts.
    """
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    feasible = [t for t in complete if all(c <= 0 for c in t.system_attrs.get(LIST, []))]
    if not any(t.user_attrs.get(OUTCOME) in OUTCOMES for t in complete):
        return feasible
    measured = [t for t in feasible if t.user_attrs.get(OUTCOME) in TRAINED]
    most_epochs = max((t.user_attrs.get(EPOCHS, 0) for t in measured), default=0)
    return [t for t in measured if t.user_attrs.get(EPOCHS, 0) == most_epochs]


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
    """A store as optuna-dashboard reads it: read-only, its trials with their constraints listed."""

    def __init__(self, storage: BaseStorage) -> None:
        super().__init__(storage, shown)

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """The best result of a single-objective study, or NO_TRIAL, which the caller drops."""
        trials = self.get_all_trials(study_id, deepcopy=False)
        best = front(trials, self.get_study_directions(study_id))
        return best[0] if best else NO_TRIAL
