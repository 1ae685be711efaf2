"""Transactions that our tables and Optuna's share: all that a thread does inside is one commit."""

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.storages._rdb.models import (
    StudyModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

from nas_service.errors import StoreError
from nas_service.store.tables import studies
from nas_service.store.trial_writer import write_rows

Attributes = type[TrialUserAttributeModel] | type[TrialSystemAttributeModel]
TRIALS: sa.Table = TrialModel.__table__
STUDIES: sa.Table = StudyModel.__table__


class SharedSession(Session):
    """Optuna's session inside a shared transaction: it writes at the transaction's end.

    Attributes:
        failed: True after a call of Optuna's that failed.
        attributes: new attributes of trials, by model, trial id and key.
        params: new rows of parameters.
        values: new rows of objective values.
    """

    failed = False

    def __init__(self, db: Connection) -> None:
        """Joins the transaction of this connection."""
        super().__init__(db, autoflush=False, join_transaction_mode="rollback_only")
        self.attributes: dict[Attributes, dict[tuple[int, str], str]] = {}
        self.params: list[dict[str, Any]] = []
        self.values: list[dict[str, Any]] = []
        self._trials: dict[int, TrialModel] = {}
        self._distributions: dict[str, BaseDistribution] | None = None

    def trial(self, trial_id: int) -> TrialModel:
        """A trial to write to, locked at the first call; Optuna locks it at each."""
        if trial_id not in self._trials:
            trial = TrialModel.find_or_raise_by_id(trial_id, self, for_update=True)
            self._trials[trial_id] = trial
        return self._trials[trial_id]

    def distributions(self, study_id: int) -> dict[str, BaseDistribution]:
        """A study's distributions by parameter, for a caller that has read none of its trials."""
        if self._distributions is None:
            param = TrialParamModel.__table__.c
            text = sa.func.min(param.distribution_json)
            query = sa.select(param.param_name, text).join(TRIALS).group_by(param.param_name)
            rows = self.execute(query.where(TRIALS.c.study_id == study_id))
            self._distributions = {name: json_to_distribution(text) for name, text in rows}
        return self._distributions

    def commit(self) -> None:
        """Nothing yet: `end` writes all rows together."""

    def rollback(self) -> None:
        """Marks the transaction as failed."""
        self.failed = True

    def close(self) -> None:
        """Nothing yet: later calls use what was read."""

    def end(self) -> None:
        """Writes all rows.

        Raises:
            StoreError: an earlier call has failed, so that nothing may be committed.
        """
        if self.failed:
            raise StoreError("a write to Optuna's tables failed: the transaction is rolled back")
        self.flush()
        write_rows(
            self.connection(),
            {TrialParamModel: self.params, TrialValueModel: self.values}
            | {model: self._rows(model) for model in self.attributes},
        )

    def _rows(self, model: Attributes) -> list[dict[str, Any]]:
        texts = self.attributes[model].items()
        return [{"trial_id": t, "key": k, "value_json": v} for (t, k), v in texts]


def _do_nothing() -> None:
    pass


class Transactions:
    """The transactions of one database. A thread has one at a time; calls inside it join it.

    Attributes:
        engine: of the database.
        on_commit: called after each commit.
        on_rollback: called after each rollback.
    """

    def __init__(self, engine: Engine) -> None:
        """Transactions through this engine."""
        self.engine = engine
        self.on_commit: Callable[[], None] = _do_nothing
        self.on_rollback: Callable[[], None] = _do_nothing
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
            self.on_rollback()
            raise
        self.on_commit()

    def _shared(self, db: Connection) -> Iterator[Connection]:
        session = SharedSession(db)
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
        """A transaction that will write; SQLite has one such at a time."""
        with self.begin() as db:
            if self.engine.dialect.name == "sqlite" and not self._open.writing:
                db.exec_driver_sql("BEGIN IMMEDIATE")
            self._open.writing = True
            yield db

    @contextmanager
    def exclusive(self, study_id: int) -> Iterator[Connection]:
        """A transaction that excludes all other exclusive ones on the same study.

        It locks Optuna's row of the study as well, as whatever makes a trial has to.
        """
        with self.writing() as db:
            if study_id not in self._open.rows:
                both = studies.join(STUDIES, studies.c.study_id == STUDIES.c.study_id)
                query = sa.select(studies).select_from(both).where(studies.c.study_id == study_id)
                row = db.execute(query.with_for_update()).mappings().first()
                self._open.rows[study_id] = row
            yield db

    @contextmanager
    def candidate_lock(self, study_id: int, digest: str) -> Iterator[Connection]:
        """Serialises transactions on one (study, candidate).

        Args:
            study_id: the study.
            digest: of the candidate.

        Yields:
            The transaction, with which the lock ends; on SQLite it excludes all other writers.
        """
        with self.writing() as db:
            if self.engine.dialect.name == "postgresql":
                key = int.from_bytes(hashlib.sha256(digest.encode()).digest()[:4], signed=True)
                db.execute(sa.select(sa.func.pg_advisory_xact_lock(study_id, key)))
            yield db

    def row(self, study_id: int) -> sa.RowMapping | None:
        """The study's row, where this thread's transaction has locked it; else None."""
        rows: dict[int, sa.RowMapping | None] = getattr(self._open, "rows", {})
        return rows.get(study_id)

    @property
    def _connection(self) -> Connection | None:
        return getattr(self._open, "connection", None)

    def session(self) -> Session:
        """A session for Optuna: the thread's shared one, or a new one outside a transaction."""
        shared: Session | None = getattr(self._open, "session", None)
        return Session(self.engine) if shared is None else shared
