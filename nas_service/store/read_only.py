"""The reading half of an Optuna storage; every write is refused."""

import copy
import threading
from collections.abc import Callable, Container, Sequence
from typing import NoReturn

from optuna.storages import BaseStorage, get_storage
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

from nas_service.errors import StoreError
from nas_service.store.forwarding_storage import ForwardingStorage


def _refused(name: str) -> Callable[..., NoReturn]:
    def refuse(*args: object, **kwargs: object) -> NoReturn:
        raise StoreError(f"this storage is read-only: {name} is refused")

    return refuse


class ReadOnlyStorage(ForwardingStorage):
    """A storage that can only be read, and perhaps shows its trials in another form.

    It is no `RDBStorage`, on which alone optuna-dashboard's schema migration works.

    Args:
        storage: The storage to read. It is never changed, and neither are its trials.
    """

    def __init__(self, storage: BaseStorage) -> None:
        super().__init__(storage)
        self._lock = threading.Lock()
        self._clear_cache()

    def _clear_cache(self) -> None:
        self._cached = get_storage(self.backend)  # reads a finished trial once
        self._finished: dict[int, FrozenTrial] = {}  # views by trial id

    def _view(self, trial: FrozenTrial, study_id: int | None) -> FrozenTrial:
        """The trial as readers see it; called once for each finished trial of a study.

        The study is None where only the trial is asked for.
        """
        return trial

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

    def get_all_studies(self) -> list[FrozenStudy]:
        """All studies, in the order of their ids."""
        return sorted(self.backend.get_all_studies(), key=lambda study: study._study_id)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """The view of one trial."""
        return self._view(self.backend.get_trial(trial_id), None)

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """The views of a study's trials, or of those in the given states."""
        with self._lock:
            stored = self._cached.get_all_trials(study_id, deepcopy=False)
            if self._replaced(stored):
                self._clear_cache()
                stored = self._cached.get_all_trials(study_id, deepcopy=False)
            chosen = (t for t in stored if states is None or t.state in states)
            trials = [self._viewed(t, study_id) for t in chosen]
        return copy.deepcopy(trials) if deepcopy else trials

    def _viewed(self, trial: FrozenTrial, study_id: int) -> FrozenTrial:
        if not trial.state.is_finished():
            return self._view(trial, study_id)
        if trial._trial_id not in self._finished:
            self._finished[trial._trial_id] = self._view(trial, study_id)
        return self._finished[trial._trial_id]

    def _replaced(self, trials: Sequence[FrozenTrial]) -> bool:
        """Whether the study was deleted and created again: SQLite reuses the ids."""
        finished = next((t for t in trials if t.state.is_finished()), None)
        if finished is None:
            return False
        try:
            now = self.backend.get_trial(finished._trial_id)
        except KeyError:
            return True
        return now.datetime_complete != finished.datetime_complete
