"""Optuna's storage, whose calls join the transaction that their thread has open."""

import copy
import json
from collections.abc import Container, Sequence
from datetime import datetime
from functools import cached_property
from typing import Any, cast

import sqlalchemy as sa
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
)
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import StudyModel, TrialModel, TrialValueModel
from optuna.storages._rdb.storage import _create_scoped_session, _VersionManager
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session

from nas_service.store.transactions import (
    TRIALS,
    Attributes,
    SharedSession,
    Transactions,
)
from nas_service.store.trial_reader import frozen_trial, read_trials
from nas_service.store.trial_times import local_time, utc_now

FROZEN_s = 20.0  # after which a process that is silent inside a transaction loses its locks


class JoiningStorage(RDBStorage):
    """Optuna's storage in a transaction that our tables share.

    Optuna would check its tables' revision with Alembic, which loads slowly; `schema` has checked
    it before.

    Attributes:
        transactions: of its database.
        new_trial: the trial that was made last.
        reads_draws_once: a running trial that has parameters is not read again before it ends, as
            our workers draw all parameters in one transaction.
    """

    reads_draws_once = False

    def __init__(self, url: str, engine_kwargs: dict[str, Any]) -> None:
        """Opens the storage of a database whose tables are those of this release.

        Args:
            url: URL of the database.
            engine_kwargs: Settings of SQLAlchemy's engine.
        """
        self.url, self.engine_kwargs = url, engine_kwargs
        self.skip_compatibility_check = True
        self.heartbeat_interval = self.grace_period = None
        self.heartbeat_stale_trial_callback = self.failed_trial_callback = None
        self.new_trial: FrozenTrial | None = None
        self._drawn: set[int] = set()  # running trials that were read with their parameters
        self._join()

    @cached_property
    def _version_manager(self) -> _VersionManager:  # type: ignore[override]
        """Optuna's version manager, created when it is first used."""
        return _VersionManager(self.url, self.engine, self.scoped_session)

    def _join(self) -> None:
        self.engine = sa.create_engine(self.url, **self.engine_kwargs)
        if self.engine.dialect.name == "postgresql":
            sa.event.listen(self.engine, "connect", _prepare_postgres)
            # several rows are written by one statement, not one by one
            self.engine.dialect.use_insertmanyvalues_wo_returning = True
        self.transactions = Transactions(self.engine)
        self.scoped_session = _Sessions(self.transactions)  # type: ignore[assignment]

    def __getstate__(self) -> dict[Any, Any]:
        ours = ("engine", "scoped_session", "transactions", "_version_manager")
        return {key: value for key, value in vars(self).items() if key not in ours}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        vars(self).update(state)
        self._join()

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        """By two statements; RDBStorage takes seven."""
        included = [n for n in included_trial_ids if n <= trial_id_greater_than]
        with _create_scoped_session(self.scoped_session) as session:
            db = session.connection()
            drawn = self._drawn.intersection(included)
            trials = read_trials(db, study_id, states, included, trial_id_greater_than, drawn)
            if not trials and not drawn:
                StudyModel.find_or_raise_by_id(study_id, session)
        if self.reads_draws_once:
            running = (t for t in trials if t.state == TrialState.RUNNING and t.params)
            self._drawn = drawn.union(t._trial_id for t in running)
        return trials

    def _build_frozen_trial_from_trial_model(self, trial: TrialModel) -> FrozenTrial:
        frozen = super()._build_frozen_trial_from_trial_model(trial)
        row: Any = trial
        frozen.datetime_start = local_time(row._datetime_start_utc)
        frozen.datetime_complete = local_time(row._datetime_complete_utc)
        return frozen

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        session = self.transactions.session()
        if template_trial is None and isinstance(session, SharedSession):
            self.new_trial = self._insert_trial(session, study_id)
        else:
            self.new_trial = super()._create_new_trial(study_id, template_trial)
            session.flush()  # so that readers in this transaction see all of it
        return copy.deepcopy(self.new_trial)

    def _insert_trial(self, session: SharedSession, study_id: int) -> FrozenTrial:
        """A trial with the next number, by one statement under the study's lock."""
        if self.transactions.row(study_id) is None:
            StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
        number = sa.select(sa.func.count()).where(TRIALS.c.study_id == study_id)
        state = {"state": TrialState.RUNNING, "datetime_start": utc_now()}
        row = {"study_id": study_id, "number": number.scalar_subquery(), **state}
        new = session.execute(sa.insert(TRIALS).values(row).returning(TRIALS)).one()
        return frozen_trial(new)

    def _updatable(self, session: SharedSession, trial_id: int) -> TrialModel:
        trial = session.trial(trial_id)
        self.check_trial_is_updatable(trial_id, cast(TrialState, trial.state))
        return trial

    def _set_trial_param_without_commit(
        self,
        session: Session,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
        previous_distribution: BaseDistribution | None = None,
    ) -> None:
        """In a shared transaction all parameters are written by one statement, at its end."""
        if not isinstance(session, SharedSession):
            super()._set_trial_param_without_commit(
                session, trial_id, param_name, param_value_internal, distribution,
                previous_distribution,
            )  # fmt: skip
            return
        trial: Any = self._updatable(session, trial_id)
        previous = previous_distribution or session.distributions(trial.study_id).get(param_name)
        if previous is not None:
            check_distribution_compatibility(previous, distribution)
        row = {"trial_id": trial_id, "param_name": param_name}
        row |= {"param_value": param_value_internal}
        row |= {"distribution_json": distribution_to_json(distribution)}
        session.params.append(row)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """In a shared transaction all values are written by one statement, at its end."""
        session = self.transactions.session()
        if not isinstance(session, SharedSession):
            return super().set_trial_state_values(trial_id, state, values)
        trial: Any = self._updatable(session, trial_id)
        if state == TrialState.RUNNING and trial.state != TrialState.WAITING:
            return False
        for objective, value in enumerate(values or ()):
            number, kind = TrialValueModel.value_to_stored_repr(value)
            row = {"trial_id": trial_id, "objective": objective}
            session.values.append(row | {"value": number, "value_type": kind})
        trial.state = state
        if state == TrialState.RUNNING:
            trial.datetime_start = datetime.now()
        if state.is_finished():
            trial.datetime_complete = datetime.now()
        return True

    def _set_trial_attr_without_commit(
        self, session: Session, model_cls: Attributes, trial_id: int, key: str, value: Any
    ) -> None:
        """In a shared transaction all attributes are written by one statement, at its end."""
        if not isinstance(session, SharedSession):
            super()._set_trial_attr_without_commit(session, model_cls, trial_id, key, value)
            return
        self._updatable(session, trial_id)
        session.attributes.setdefault(model_cls, {})[trial_id, key] = json.dumps(value)


def _prepare_postgres(connection: Any, _: object) -> None:
    """A stopped process that holds a study's lock would block all others, so its transaction ends.

    Through a pooler, which gives each transaction another session, a prepared statement would be
    missing or another connection's: there none is prepared.
    """
    connection.autocommit = True
    query = (
        f"SELECT set_config('idle_in_transaction_session_timeout', '{int(1000 * FROZEN_s)}', "
        "false), pg_backend_pid()"
    )
    _, session = connection.execute(query).fetchone()
    if session != connection.info.backend_pid:
        connection.prepare_threshold = None
    connection.autocommit = False


class _Sessions:
    """Where Optuna takes its sessions from."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def __call__(self) -> Session:
        return self._transactions.session()

    def remove(self) -> None:
        """Nothing to do: every session of ours ends with the call that took it."""
