"""Optuna's storage as a worker uses it: looked at once for a trial, written to twice.

A trial that is *held* is drawn in memory: what samplers and `suggest` write waits until the trial
is written out, in the order it was made. While a study is *looked at*, its other trials are those
of that moment, so that a proposal asks the database nothing.
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
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy
from optuna.trial import FrozenTrial, TrialState

Write = tuple[str, str, tuple[Any, ...]]  # param, user or system; name; values


@dataclass
class _Held:
    """A trial as it will stand in the storage, and what of it does not stand there yet."""

    trial: FrozenTrial
    waiting: list[Write] = field(default_factory=list)
    sent: list[Write] = field(default_factory=list)  # in a transaction that may be undone

    def set(self, write: Write) -> None:
        """In place of an earlier one of the same name."""
        self.waiting = [w for w in self.waiting if w[:2] != write[:2]] + [write]


class BufferedStorage(BaseStorage):
    """Another storage, with trials held in memory. One thread proposes; any may read and write."""

    def __init__(self, storage: BaseStorage) -> None:
        self._storage = storage
        self.behind = optuna.storages.get_storage(storage)
        self._held: dict[int, _Held] = {}
        self._seen: dict[int, list[FrozenTrial]] = {}
        self._unread: set[int] = set()  # studies that the cache behind has forgotten
        self._holding = False
        self._thread = threading.get_ident()  # that proposes

    # --- held trials

    def look(self, study_id: int) -> list[FrozenTrial]:
        """Its trials now, which also readers after this see, until `drop_snapshot`."""
        self._thread = threading.get_ident()
        self._seen[study_id] = self.behind.get_all_trials(study_id, deepcopy=False)
        return self._seen[study_id]

    def drop_snapshot(self) -> None:
        """Lets readers see studies as they are, and lets go of every trial with what waits."""
        self._seen.clear()
        self._held.clear()

    @contextmanager
    def holding(self) -> Iterator[None]:
        """Holds each trial that is made or popped inside."""
        self._holding = True
        try:
            yield
        finally:
            self._holding = False

    def hold(self, trial_id: int) -> None:
        """From now on writes to this running trial wait."""
        if trial_id not in self._held:
            self._held[trial_id] = _Held(self._made(trial_id))

    def _made(self, trial_id: int) -> FrozenTrial:
        """The trial as it is; one that was made this moment is known without a question."""
        made: FrozenTrial | None = getattr(self._storage, "made", None)
        if made is not None and made._trial_id == trial_id and made.state == TrialState.RUNNING:
            return made
        return copy.deepcopy(self.behind.get_trial(trial_id))

    def write(self, trial_id: int) -> None:
        """Writes what waits of a trial that is held; it stays held."""
        held = self._held[trial_id]
        if self._unread:
            self._read()
        while held.waiting:
            kind, name, values = held.waiting[0]
            try:
                self._setter(kind)(trial_id, name, *values)
            except KeyError:
                self._read()
                self._setter(kind)(trial_id, name, *values)
            held.sent.append(held.waiting.pop(0))

    def _setter(self, kind: str) -> Callable[..., None]:
        setters: dict[str, Callable[..., None]] = {
            "param": self.behind.set_trial_param,
            "user": self.behind.set_trial_user_attr,
            "system": self.behind.set_trial_system_attr,
        }
        return setters[kind]

    def _read(self) -> None:
        """Whoever writes to a trial must have read it: the cache here, and that of a proxy, which
        may have been restarted since this one looked."""
        for study_id in self._unread or self._seen:
            self.behind.get_all_trials(study_id, deepcopy=False)
        self._unread.clear()

    def compare(self, trial_id: int) -> FrozenTrial:
        """The trial as it stands in the storage; of what waits, what stands there is forgotten."""
        stored, held = self.behind.get_trial(trial_id), self._held[trial_id]
        held.waiting = [w for w in held.waiting if w[0] != "param" or w[1] not in stored.params]
        return stored

    def done(self) -> None:
        """What was sent stands in the storage for good."""
        if threading.get_ident() == self._thread:
            for held in self._held.values():
                held.sent = []

    def undone(self) -> None:
        """What was sent waits again, and what was read may never have been."""
        if threading.get_ident() != self._thread:
            return
        for held in self._held.values():
            held.waiting, held.sent = held.sent + held.waiting, []
            held.trial.state, held.trial.values = TrialState.RUNNING, None
        self.behind, self._unread = optuna.storages.get_storage(self._storage), set(self._seen)

    def _running(self, trial_id: int) -> _Held | None:
        held = self._held.get(trial_id)
        if held is not None and held.trial.state.is_finished():
            raise UpdateFinishedTrialError(f"trial {held.trial.number} is finished")
        return held

    # --- trials

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        made = self.behind.create_new_trial(study_id, template_trial)
        if self._holding:
            self.hold(made)
        return made

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        held = self._running(trial_id)
        if held is None:
            self.behind.set_trial_param(trial_id, param_name, param_value_internal, distribution)
            return
        held.set(("param", param_name, (param_value_internal, distribution)))
        held.trial.params[param_name] = distribution.to_external_repr(param_value_internal)
        held.trial.distributions[param_name] = distribution

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        held = self._running(trial_id)
        if held is None:
            self.behind.set_trial_user_attr(trial_id, key, value)
            return
        held.set(("user", key, (value,)))
        held.trial.user_attrs[key] = value

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        held = self._running(trial_id)
        if held is None:
            self.behind.set_trial_system_attr(trial_id, key, value)
            return
        held.set(("system", key, (value,)))
        held.trial.system_attrs[key] = value

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        self.behind.set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        held = self._running(trial_id)
        if held is not None:
            self.write(trial_id)
        done = self.behind.set_trial_state_values(trial_id, state, values)
        if held is None:
            if done and self._holding:
                self.hold(trial_id)
            return done
        held.trial.values = None if values is None else list(values)
        held.trial.state = state
        if state.is_finished():
            held.trial.datetime_complete = datetime.now()
        return done

    def get_trial(self, trial_id: int) -> FrozenTrial:
        held = self._held.get(trial_id)
        return self.behind.get_trial(trial_id) if held is None else held.trial

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        if study_id not in self._seen:
            return self.behind.get_all_trials(study_id, deepcopy, states)
        seen = self._seen[study_id]
        found = [t for t in seen if states is None or t.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        return self.behind.get_trial_id_from_study_id_trial_number(study_id, trial_number)

    # --- studies, which stand behind

    def create_new_study(
        self, directions: Sequence[StudyDirection], study_name: str | None = None
    ) -> int:
        return self.behind.create_new_study(directions, study_name)

    def delete_study(self, study_id: int) -> None:
        self.behind.delete_study(study_id)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        self.behind.set_study_user_attr(study_id, key, value)

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        self.behind.set_study_system_attr(study_id, key, value)

    def get_study_id_from_name(self, study_name: str) -> int:
        return self.behind.get_study_id_from_name(study_name)

    def get_study_name_from_id(self, study_id: int) -> str:
        return self.behind.get_study_name_from_id(study_id)

    def get_study_directions(self, study_id: int) -> list[StudyDirection]:
        return self.behind.get_study_directions(study_id)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        return self.behind.get_study_user_attrs(study_id)

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        return self.behind.get_study_system_attrs(study_id)

    def get_all_studies(self) -> list[FrozenStudy]:
        return self.behind.get_all_studies()

    def get_best_trial(self, study_id: int) -> FrozenTrial:
        return self.behind.get_best_trial(study_id)

    def remove_session(self) -> None:
        self.behind.remove_session()
