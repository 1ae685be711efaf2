"""One transaction for our tables and Optuna's: what a thread does inside is committed at once."""

import copy
import hashlib
import json
import threading
from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa
import sqlalchemy.dialects.postgresql
import sqlalchemy.dialects.sqlite
from optuna.distributions import (
    BaseDistribution,
    check_distribution_compatibility,
    distribution_to_json,
    json_to_distribution,
)
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import (
    StudyModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

from nas_service.errors import StoreError
from nas_service.store.tables import studies
from nas_service.store.trial_reader import read_trials, trial_of

Attributes = type[TrialUserAttributeModel] | type[TrialSystemAttributeModel]
TRIALS: sa.Table = TrialModel.__table__
FROZEN_s = 20.0  # a process that says nothing for so long inside a transaction keeps no locks


class _Shared(Session):
    """A session inside a transaction that its owner ends: what Optuna commits waits until then."""

    failed = False

    def __init__(self, db: Connection) -> None:
        super().__init__(db, autoflush=False, join_transaction_mode="rollback_only")
        self.attributes: dict[Attributes, dict[tuple[int, str], str]] = {}
        self.params: list[dict[str, Any]] = []
        self.values: list[dict[str, Any]] = []
        self._trials: dict[int, TrialModel] = {}
        self._known: dict[str, BaseDistribution] | None = None

    def trial(self, trial_id: int) -> TrialModel:
        """That a call of this transaction writes to; locked once, as Optuna does at each."""
        if trial_id not in self._trials:
            found = TrialModel.find_or_raise_by_id(trial_id, self, for_update=True)
            self._trials[trial_id] = found
        return self._trials[trial_id]

    def known(self, study_id: int) -> dict[str, BaseDistribution]:
        """Distributions in a study by parameter; asked by who has read none of its trials."""
        if self._known is None:
            param = TrialParamModel.__table__.c
            text = sa.func.min(param.distribution_json)
            query = sa.select(param.param_name, text).join(TRIALS).group_by(param.param_name)
            rows = self.execute(query.where(TRIALS.c.study_id == study_id))
            self._known = {name: json_to_distribution(text) for name, text in rows}
        return self._known

    def commit(self) -> None:
        """Nothing yet: what was added goes out together."""

    def rollback(self) -> None:
        self.failed = True

    def close(self) -> None:
        """Nothing yet: what was read serves the calls that follow."""

    def end(self) -> None:
        """Writes what waits; raises where a call has failed, so that nothing is kept."""
        if self.failed:
            raise StoreError("a write to Optuna's tables failed: the transaction is undone")
        self.flush()
        if self.params:
            self.execute(sa.insert(TrialParamModel.__table__), self.params)
        for model, texts in self.attributes.items():
            rows = [{"trial_id": t, "key": k, "value_json": v} for (t, k), v in texts.items()]
            self._upsert(model, "key", rows)
        self._upsert(TrialValueModel, "objective", self.values)

    def _upsert(self, model: Any, key: str, rows: list[dict[str, Any]]) -> None:
        """Writes a trial's rows, in place of those of the same key."""
        if not rows:
            return
        sqlite = self.get_bind().dialect.name == "sqlite"
        insert = sa.dialects.sqlite.insert if sqlite else sa.dialects.postgresql.insert
        statement: Any = insert(model.__table__)
        new = {name: statement.excluded[name] for name in rows[0].keys() - {"trial_id", key}}
        index = ["trial_id", key]
        self.execute(statement.on_conflict_do_update(index_elements=index, set_=new), rows)


def _nothing() -> None:
    pass


class Transactions:
    """The transactions of one database. A thread has one at a time; whoever asks inside joins."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.done: Callable[[], None] = _nothing  # called behind each commit,
        self.undone: Callable[[], None] = _nothing  # and behind each roll-back
        self._open = threading.local()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """The thread's transaction: the one it is in, or a new one."""
        if (joined := self._connection) is not None:
            yield joined
            return
        try:
            with self.engine.begin() as db:
                yield from self._shared(db)
        except BaseException:
            self.undone()
            raise
        self.done()

    def _shared(self, db: Connection) -> Iterator[Connection]:
        session = _Shared(db)
        self._open.connection, self._open.session, self._open.rows = db, session, {}
        self._open.writing = False
        try:
            yield db
            session.end()
        finally:
            Session.close(session)
            self._open.connection, self._open.session, self._open.rows = None, None, {}

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that will write. SQLite has one such at a time."""
        with self.begin() as db:
            if self.engine.dialect.name == "sqlite" and not self._open.writing:
                db.exec_driver_sql("BEGIN IMMEDIATE")
            self._open.writing = True
            yield db

    @contextmanager
    def exclusive(self, study_id: int) -> Iterator[Connection]:
        """A transaction that no other exclusive one on the same study runs beside."""
        with self.writing() as db:
            if study_id not in self._open.rows:
                query = sa.select(studies).where(studies.c.study_id == study_id)
                found = db.execute(query.with_for_update()).mappings().first()
                self._open.rows[study_id] = found
            yield db

    @contextmanager
    def alone(self, study_id: int, word: str) -> Iterator[Connection]:
        """A transaction that no other one on the same word of a study runs beside."""
        with self.writing() as db:
            if self.engine.dialect.name == "postgresql":
                key = int.from_bytes(hashlib.sha256(word.encode()).digest()[:4], signed=True)
                db.execute(sa.select(sa.func.pg_advisory_xact_lock(study_id, key)))
            yield db

    def row(self, study_id: int) -> sa.RowMapping | None:
        """The study's row as it was when this thread locked it; None where it has not."""
        rows: dict[int, sa.RowMapping | None] = getattr(self._open, "rows", {})
        return rows.get(study_id)

    @property
    def _connection(self) -> Connection | None:
        return getattr(self._open, "connection", None)

    def session(self) -> Session:
        """For Optuna: the thread's shared session, or one of its own outside a transaction."""
        shared: Session | None = getattr(self._open, "session", None)
        return Session(self.engine) if shared is None else shared


class JoiningStorage(RDBStorage):
    """Optuna's storage, whose calls join the transaction that their thread has open."""

    def __init__(self, url: str, **settings: Any) -> None:
        super().__init__(url, **settings)
        self.made: FrozenTrial | None = None  # the last new trial
        self._join()

    def _join(self) -> None:
        if self.engine.dialect.name == "postgresql":
            self.engine.dispose()  # its connections so far do not know the next line
            sa.event.listen(self.engine, "connect", _let_go_when_frozen)
            # several rows go out as one statement, not one by one
            self.engine.dialect.use_insertmanyvalues_wo_returning = True
        self.transactions = Transactions(self.engine)
        self.scoped_session = _Sessions(self.transactions)  # type: ignore[assignment]

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        del state["transactions"]
        return state

    def __setstate__(self, state: dict[Any, Any]) -> None:
        super().__setstate__(state)
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
            found = read_trials(db, study_id, states, included, trial_id_greater_than)
            if not found:
                StudyModel.find_or_raise_by_id(study_id, session)
            return found

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        session = self.transactions.session()
        if template_trial is None and isinstance(session, _Shared):
            self.made = self._new_trial(session, study_id)
        else:
            self.made = super()._create_new_trial(study_id, template_trial)
            session.flush()  # of a shared one: who reads it in this transaction sees it whole
        return copy.deepcopy(self.made)

    def _new_trial(self, session: _Shared, study_id: int) -> FrozenTrial:
        """With the next number, by one statement behind the study's lock."""
        StudyModel.find_or_raise_by_id(study_id, session, for_update=True)
        number = sa.select(sa.func.count()).where(TRIALS.c.study_id == study_id)
        begun = {"state": TrialState.RUNNING, "datetime_start": datetime.now()}
        row = {"study_id": study_id, "number": number.scalar_subquery(), **begun}
        new = session.execute(sa.insert(TRIALS).values(row).returning(TRIALS)).one()
        return trial_of(new)

    def _check(self, session: _Shared, trial_id: int) -> TrialModel:
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
        """In a shared transaction all parameters are written by one statement."""
        if not isinstance(session, _Shared):
            super()._set_trial_param_without_commit(
                session, trial_id, param_name, param_value_internal, distribution,
                previous_distribution,
            )  # fmt: skip
            return
        trial: Any = self._check(session, trial_id)
        previous = previous_distribution or session.known(trial.study_id).get(param_name)
        if previous is not None:
            check_distribution_compatibility(previous, distribution)
        row = {"trial_id": trial_id, "param_name": param_name}
        row |= {"param_value": param_value_internal}
        row |= {"distribution_json": distribution_to_json(distribution)}
        session.params.append(row)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        session = self.transactions.session()
        if not isinstance(session, _Shared):
            return super().set_trial_state_values(trial_id, state, values)
        trial: Any = self._check(session, trial_id)
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
        """In a shared transaction all attributes are written by one statement."""
        if not isinstance(session, _Shared):
            super()._set_trial_attr_without_commit(session, model_cls, trial_id, key, value)
            return
        self._check(session, trial_id)
        session.attributes.setdefault(model_cls, {})[trial_id, key] = json.dumps(value)


def _let_go_when_frozen(connection: Any, _: object) -> None:
    """A stopped process that was given a study's row would hold up all others."""
    connection.autocommit = True
    connection.execute(f"SET idle_in_transaction_session_timeout = {int(1000 * FROZEN_s)}")
    connection.autocommit = False


class _Sessions:
    """What Optuna takes its sessions from."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def __call__(self) -> Session:
        return self._transactions.session()

    def remove(self) -> None:
        """Every session of ours ends with the call that took it."""
