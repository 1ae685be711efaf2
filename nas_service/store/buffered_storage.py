"""Optuna's storage as a worker uses it: read once for a trial, written to twice.

A *buffered* trial is drawn in memory: writes of samplers and of `suggest` wait until the trial is
flushed, in the order in which they were made. While a *snapshot* of a study is kept, its other
trials are those of that moment, so that a proposal needs no query of the database.
"""

import copy
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas_service.store.forwarding_storage import ForwardingStorage
from nas_service.store.joining_storage import JoiningStorage

Write = tuple[str, str, tuple[Any, ...]]  # param, user or system; name; values


@dataclass
class _BufferedTrial:
    """A trial as it will be in the storage, and its writes that are not there for certain."""

    trial: FrozenTrial
    pending: list[Write] = field(default_factory=list)
    uncommitted: list[Write] = field(default_factory=list)  # in the open transaction

    def set(self, write: Write) -> None:
        """Adds a write, in place of an earlier one of the same name."""
        self.pending = [w for w in self.pending if w[:2] != write[:2]] + [write]

    def commit(self) -> None:
        """What was written stays written."""
        self.uncommitted = []

    def roll_back(self) -> None:
        """What was written must be written again."""
        self.pending, self.uncommitted = self.uncommitted + self.pending, []
        self.trial.state, self.trial.values = TrialState.RUNNING, None


class BufferedStorage(ForwardingStorage):
    """Optuna's storage with trials buffered in memory.

    One thread proposes trials; any thread may read and write.

    Attributes:
        backend: Optuna's cached storage, without buffers and snapshots.
    """

    def __init__(self, storage: JoiningStorage) -> None:
        """Buffers trials of this storage."""
        super().__init__(optuna.storages.get_storage(storage))
        self._storage = storage
        self._buffered: dict[int, _BufferedTrial] = {}
        self._snapshots: dict[int, list[FrozenTrial]] = {}
        self._uncached: set[int] = set()  # studies to read again before a write
        self._buffering = False
        self._thread = threading.get_ident()  # that proposes

    # --- snapshots and buffered trials

    def take_snapshot(self, study_id: int) -> list[FrozenTrial]:
        """The study's trials now; later readers see the same, until `drop_snapshot`."""
        self._thread = threading.get_ident()
        self._storage.reads_draws_once = True
        self._snapshots[study_id] = self.backend.get_all_trials(study_id, deepcopy=False)
        return self._snapshots[study_id]

    def drop_snapshot(self) -> None:
        """Readers see studies as they are; buffered trials are dropped with their writes."""
        self._snapshots.clear()
        self._buffered.clear()

    @contextmanager
    def buffering(self) -> Iterator[None]:
        """Buffers each trial that is made or popped inside."""
        self._buffering = True
        try:
            yield
        finally:
            self._buffering = False

    def buffer(self, trial_id: int) -> None:
        """From now on writes to this running trial wait until `flush`."""
        if trial_id not in self._buffered:
            self._buffered[trial_id] = _BufferedTrial(self._read(trial_id))

    def _read(self, trial_id: int) -> FrozenTrial:
        """The trial as it is stored, without a query if it was created a moment ago."""
        new = self._storage.new_trial
        if new is not None and new._trial_id == trial_id and new.state == TrialState.RUNNING:
            return new
        return copy.deepcopy(self.backend.get_trial(trial_id))

    def flush(self, trial_id: int) -> None:
        """Makes the writes of a buffered trial; it stays buffered."""
        buffered = self._buffered[trial_id]
        for study_id in self._uncached:  # Optuna's cache must have read what is written to
            self.backend.get_all_trials(study_id, deepcopy=False)
        self._uncached.clear()
        while buffered.pending:
            kind, name, values = buffered.pending[0]
            self._setter(kind)(trial_id, name, *values)
            buffered.uncommitted.append(buffered.pending.pop(0))

    def _setter(self, kind: str) -> Callable[..., None]:
        setters: dict[str, Callable[..., None]] = {
            "param": self.backend.set_trial_param,
            "user": self.backend.set_trial_user_attr,
            "system": self.backend.set_trial_system_attr,
        }
        return setters[kind]

    def reconcile(self, trial_id: int) -> FrozenTrial:
        """The trial as it is stored; parameters that are stored need no write any more."""
        stored, buffered = self.backend.get_trial(trial_id), self._buffered[trial_id]
        buffered.pending = [
            w for w in buffered.pending if w[0] != "param" or w[1] not in stored.params
        ]
        return stored

    def on_commit(self) -> None:
        """The thread's transaction is committed."""
        if threading.get_ident() == self._thread:
            for buffered in self._buffered.values():
                buffered.commit()

    def on_rollback(self) -> None:
        """The thread's transaction is rolled back: what was read in it may never be stored."""
        if threading.get_ident() != self._thread:
            return
        for buffered in self._buffered.values():
            buffered.roll_back()
        self.backend = optuna.storages.get_storage(self._storage)
        self._uncached = set(self._snapshots)

    def _running(self, trial_id: int) -> _BufferedTrial | None:
        buffered = self._buffered.get(trial_id)
        if buffered is not None and buffered.trial.state.is_finished():
            raise UpdateFinishedTrialError(f"trial {buffered.trial.number} is finished")
        return buffered

    # --- trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """As Optuna's storage; a trial created while buffering is on is buffered from now on."""
        trial_id = self.backend.create_new_trial(study_id, template_trial)
        if self._buffering:
            self.buffer(trial_id)
        return trial_id

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """As Optuna's storage; buffered until the trial is flushed."""
        buffered = self._running(trial_id)
        if buffered is None:
            self.backend.set_trial_param(trial_id, param_name, param_value_internal, distribution)
            return
        buffered.set(("param", param_name, (param_value_internal, distribution)))
        buffered.trial.params[param_name] = distribution.to_external_repr(param_value_internal)
        buffered.trial.distributions[param_name] = distribution

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's storage; buffered until the trial is flushed."""
        buffered = self._running(trial_id)
        if buffered is None:
            self.backend.set_trial_user_attr(trial_id, key, value)
            return
        buffered.set(("user", key, (value,)))
        buffered.trial.user_attrs[key] = value

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's storage; buffered until the trial is flushed."""
        buffered = self._running(trial_id)
        if buffered is None:
            self.backend.set_trial_system_attr(trial_id, key, value)
            return
        buffered.set(("system", key, (value,)))
        buffered.trial.system_attrs[key] = value

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """As Optuna's storage; written at once."""
        self.backend.set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """As Optuna's storage; a buffered trial is flushed first."""
        buffered = self._running(trial_id)
        if buffered is not None:
            self.flush(trial_id)
        changed = self.backend.set_trial_state_values(trial_id, state, values)
        if buffered is None:
            if changed and self._buffering:
                self.buffer(trial_id)
            return changed
        buffered.trial.values = None if values is None else list(values)
        buffered.trial.state = state
        if state.is_finished():
            buffered.trial.datetime_complete = datetime.now()
        return changed

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As Optuna's storage; a buffered trial is returned as it will be stored."""
        buffered = self._buffered.get(trial_id)
        return self.backend.get_trial(trial_id) if buffered is None else buffered.trial

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """As Optuna's storage; from the study's snapshot where one is taken."""
        if study_id not in self._snapshots:
            return self.backend.get_all_trials(study_id, deepcopy, states)
        snapshot = self._snapshots[study_id]
        trials = [t for t in snapshot if states is None or t.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        """As Optuna's storage; read from the backend."""
        return self.backend.get_trial_id_from_study_id_trial_number(study_id, trial_number)

    # --- studies, which are not buffered

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        """As Optuna's storage; written at once."""
        return self.backend.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        """As Optuna's storage; written at once."""
        self.backend.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """As Optuna's storage; written at once."""
        self.backend.set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """As Optuna's storage; written at once."""
        self.backend.set_study_system_attr(study_id, key, value)

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        """As Optuna's storage; read from the backend."""
        return self.backend.get_best_trial(study_id)
