"""One transaction for our tables and Optuna's: what a thread does inside is committed at once."""

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session

from nas_service.errors import StoreError
from nas_service.tables import studies


class _Shared(Session):
    """A session inside a transaction that its owner ends: what Optuna commits waits until then."""

    failed = False

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
        session = _Shared(db, autoflush=False, join_transaction_mode="rollback_only")
        self._open.connection, self._open.session, self._open.rows = db, session, {}
        try:
            yield db
            session.end()
        finally:
            Session.close(session)
            self._open.connection, self._open.session, self._open.rows = None, None, {}

    @contextmanager
    def exclusive(self, study_id: int) -> Iterator[Connection]:
        """A transaction that no other one on the same study runs beside."""
        with self.begin() as db:
            if study_id not in self._open.rows:
                self._open.rows[study_id] = self._lock(db, study_id)
            yield db

    def _lock(self, db: Connection, study_id: int) -> sa.RowMapping | None:
        if self.engine.dialect.name == "sqlite" and not self._locked:
            db.exec_driver_sql("BEGIN IMMEDIATE")
        query = sa.select(studies).where(studies.c.study_id == study_id).with_for_update()
        return db.execute(query).mappings().first()

    def row(self, study_id: int) -> sa.RowMapping | None:
        """The study's row as it was when this thread locked it; None where it has not."""
        rows: dict[int, sa.RowMapping | None] = getattr(self._open, "rows", {})
        return rows.get(study_id)

    @property
    def _connection(self) -> Connection | None:
        return getattr(self._open, "connection", None)

    @property
    def _locked(self) -> bool:
        """SQLite's lock is on the whole file."""
        return bool(self._open.rows)

    def session(self) -> Session:
        """For Optuna: the thread's shared session, or one of its own outside a transaction."""
        shared: Session | None = getattr(self._open, "session", None)
        return Session(self.engine) if shared is None else shared


class JoiningStorage(RDBStorage):
    """Optuna's storage, whose calls join the transaction that their thread has open."""

    def __init__(self, url: str, **settings: Any) -> None:
        super().__init__(url, **settings)
        self.transactions = Transactions(self.engine)
        self.scoped_session = _Sessions(self.transactions)  # type: ignore[assignment]
        self.made: FrozenTrial | None = None  # the last new trial

    def _create_new_trial(
        self, study_id: int, template_trial: FrozenTrial | None = None
    ) -> FrozenTrial:
        self.made = copy.deepcopy(super()._create_new_trial(study_id, template_trial))
        return copy.deepcopy(self.made)


class _Sessions:
    """What Optuna takes its sessions from."""

    def __init__(self, transactions: Transactions) -> None:
        self._transactions = transactions

    def __call__(self) -> Session:
        return self._transactions.session()

    def remove(self) -> None:
        """Every session of ours ends with the call that took it."""
