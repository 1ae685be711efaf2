"""What the dashboard is shown of a store: its trials with their constraints as one list, no writes.

optuna-dashboard knows only the constraints of Optuna 4, one list in a trial's system attribute
`constraints`. Optuna 5 stores one attribute for each name, so that every trial looks feasible.
"""

import copy
import sys
import threading
from collections.abc import Callable, Container, Sequence
from typing import Any, NoReturn

import numpy as np
from optuna.storages import BaseStorage, get_storage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas_service.errors import StoreError
from nas_service.metrics import MEASURED

LIST = "constraints"  # the attribute the dashboard reads
NAMED = "constraints:"  # what Optuna 5 puts before the name of each constraint
EPOCHS = "epochs"  # user attribute of trials that trained
OUTCOME = "outcome"  # user attribute of our trials, one of the next words
UNTRAINED = ("rejected", "diverged")
TRAINED = (*MEASURED, "continued")  # outcomes of trials that measured what they told
OUTCOMES = (*TRAINED, "cached", *UNTRAINED)
NO_TRIAL = create_trial(state=TrialState.FAIL)  # the best trial of a study without a result


def listed(trial: FrozenTrial) -> list[float]:
    """The constraints of a trial as the page needs them: finite, in the order of their names.

    The page draws a trial without a positive entry as a result. A trial that was never trained
    is none, so it gets one where it has none of its own.
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
    """The nearest number JSON can say; what is no number counts as the worst violation."""
    if not isinstance(value, int | float) or value != value:  # NaN is not even itself
        return sys.float_info.max
    return float(max(-sys.float_info.max, min(value, sys.float_info.max)))


def shown(trial: FrozenTrial) -> FrozenTrial:
    """A copy of the trial that carries the list. The trial itself stays as the store has it."""
    constraints = listed(trial)
    if not constraints:
        return trial
    view = copy.copy(trial)
    view._system_attrs = {**trial.system_attrs, LIST: constraints}
    return view


def results(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The shown trials that count: complete, feasible, measured for this very trial, and trained
    as far as any such one.

    In a study that is not ours no trial has one of our outcomes, and being feasible is enough.
    """
    complete = [t for t in trials if t.state == TrialState.COMPLETE]
    able = [t for t in complete if all(c <= 0 for c in t.system_attrs.get(LIST, []))]
    if not any(t.user_attrs.get(OUTCOME) in OUTCOMES for t in complete):
        return able
    able = [t for t in able if t.user_attrs.get(OUTCOME) in TRAINED]
    farthest = max((t.user_attrs.get(EPOCHS, 0) for t in able), default=0)
    return [t for t in able if t.user_attrs.get(EPOCHS, 0) == farthest]


def front(trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]) -> list[FrozenTrial]:
    """The results that no other result dominates, in the order given."""
    trials = results(trials)
    losses = np.array([_losses(trial, directions) for trial in trials])  # [trials, objectives]
    on_front = np.ones(len(trials), dtype=bool)
    for i, loss in enumerate(losses):
        if on_front[i]:  # what a dominated trial dominates, its dominator dominates too
            on_front &= (losses < loss).any(axis=1) | (losses == loss).all(axis=1)
    return [trial for trial, on in zip(trials, on_front, strict=True) if on]


def _losses(trial: FrozenTrial, directions: Sequence[StudyDirection]) -> list[float]:
    return [
        -value if direction == StudyDirection.MAXIMIZE else value
        for value, direction in zip(trial.values, directions, strict=True)
    ]


def _refused(name: str) -> Callable[..., NoReturn]:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise StoreError(f"the dashboard only reads the store: {name} is refused")

    return refuse


class ReadOnlyStorage(BaseStorage):
    """The reading half of a storage. It wraps instead of inheriting, so that it can be no
    RDBStorage: the dashboard's schema migration works on those only, and a writing method that
    a new Optuna adds makes this class abstract instead of slipping through.
    """

    def __init__(self, storage: BaseStorage) -> None:
        self._store = storage
        self._lock = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._cached = get_storage(self._store)  # reads a finished trial once
        self._finished: dict[int, FrozenTrial] = {}  # trial id -> shown

    create_new_study = _refused("create_new_study")
    delete_study = _refused("delete_study")
    set_study_user_attr = _refused("set_study_user_attr")
    set_study_system_attr = _refused("set_study_system_attr")
    create_new_trial = _refused("create_new_trial")
    set_trial_param = _refused("set_trial_param")
    set_trial_state_values = _refused("set_trial_state_values")
    set_trial_intermediate_value = _refused("set_trial_intermediate_value")
    set_trial_user_attr = _refused("set_trial_user_attr")
    set_trial_system_attr = _refused("set_trial_system_attr")

    def get_study_id_from_name(self, study_name: str) -> int:
        return self._store.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._store.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self._store.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self._store.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self._store.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        return sorted(self._store.get_all_studies(), key=lambda study: study._study_id)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return shown(self._store.get_trial(trial_id))

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        with self._lock:
            stored = self._cached.get_all_trials(study_id, deepcopy=False)
            if self._replaced(stored):
                self._forget()
                stored = self._cached.get_all_trials(study_id, deepcopy=False)
            trials = [self._shown(t) for t in stored if states is None or t.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """The best result of a single-objective study, or NO_TRIAL, which the caller drops."""
        best = front(
            self.get_all_trials(study_id, deepcopy=False), self.get_study_directions(study_id)
        )
        return best[0] if best else NO_TRIAL

    def remove_session(self) -> None:
        self._store.remove_session()

    def _shown(self, trial: FrozenTrial) -> FrozenTrial:
        if not trial.state.is_finished():
            return shown(trial)
        if trial._trial_id not in self._finished:
            self._finished[trial._trial_id] = shown(trial)
        return self._finished[trial._trial_id]

    def _replaced(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether the study was deleted and made anew: SQLite gives the same ids out again."""
        finished = next((t for t in trials if t.state.is_finished()), None)
        if finished is None:
            return False
        try:
            now = self._store.get_trial(finished._trial_id)
        except KeyError:
            return True
        return now.datetime_complete != finished.datetime_complete
