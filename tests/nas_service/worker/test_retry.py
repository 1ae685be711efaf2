"""Which errors are transient, with real servers and files."""

import sqlite3
import threading

import pytest
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError

from nas_service.errors import Interrupted, StoreError
from nas_service.store.store import Store
from nas_service.worker import retry
from nas_service.worker.retry import Retry, is_permanent, is_transient
from nas_service.worker.telemetry import Telemetry

ID = 1


def retrying(store, lines=None, ended=None):
    shown = [] if lines is None else lines
    return Retry(store, ended or threading.Event(), shown.append, Telemetry())


def store_of(url):
    made = Store(url, create=True)
    made.studies.add(ID, "{}", "data", trainings=4)
    return made


def test_a_crashed_server_is_unreachable_until_it_restarts(own_postgres, own_postgres_url):
    store, lines = store_of(own_postgres_url), []
    assert store.studies.budget(ID) == 4
    own_postgres.stop("immediate")
    with pytest.raises(sa.exc.OperationalError) as error:
        store.studies.budget(ID)
    assert is_transient(error.value)
    tries = []

    def act(again):
        tries.append(again)
        if len(tries) == 2:
            own_postgres.start()
        return store.studies.budget(ID)

    assert retrying(store, lines).call(act) == 4
    store.close()
    assert tries[:2] == [False, True]
    assert "unreachable" in lines[0]
    assert lines[-1].endswith("reachable again")


def test_a_locked_file_is_unreachable(tmp_path, monkeypatch):
    monkeypatch.setattr("nas_service.store.database.BUSY_s", 0.05)
    store = store_of(f"sqlite:///{tmp_path}/nas.db")
    other = sqlite3.connect(tmp_path / "nas.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    tries = []

    def act(again):
        tries.append(again)
        if len(tries) == 2:
            other.execute("ROLLBACK")
        store.studies.set_budget(ID, 5)
        return store.studies.budget(ID)

    assert retrying(store).call(act) == 5
    assert len(tries) >= 2
    store.close()
    other.close()


def test_a_permanent_error_ends_the_worker_in_one_line(tmp_path):
    store = store_of(f"sqlite:///{tmp_path}/nas.db")
    with store.engine.begin() as db:
        db.execute(sa.text("DROP TABLE nas_studies"))
    with pytest.raises(StoreError, match=r"nas\.db: no such table: nas_studies"):
        retrying(store).call(lambda again: store.studies.budget(ID))
    store.close()


def test_waiting_is_limited(tmp_path, monkeypatch):
    store = store_of(f"sqlite:///{tmp_path}/nas.db")
    gone = sa.exc.OperationalError("SELECT 1", {}, Exception("no route to host"))

    def act(again):
        raise gone

    monkeypatch.setattr(retry, "LIMIT_s", 0.0)
    with pytest.raises(StoreError, match="unreachable for 0 s"):
        retrying(store).call(act)
    ended = threading.Event()
    ended.set()
    monkeypatch.undo()
    with pytest.raises(Interrupted, match="nothing is lost"):
        retrying(store, ended=ended).call(act)
    retrying(store).once(lambda: act(False))
    store.close()


def test_errors_of_this_package_are_not_retried(tmp_path):
    store = store_of(f"sqlite:///{tmp_path}/nas.db")

    def act(again):
        raise KeyError("seven")

    for call in (retrying(store).call, lambda a: retrying(store).once(lambda: a(False))):
        with pytest.raises(KeyError, match="seven"):
            call(act)
    store.close()


@pytest.mark.parametrize(
    ("text", "kind", "transient", "permanent"),
    [
        ("server closed the connection", sa.exc.OperationalError, True, False),
        ("database is locked", sa.exc.OperationalError, True, False),
        ("database or disk is full", sa.exc.OperationalError, False, True),
        ("attempt to write a readonly database", sa.exc.OperationalError, False, True),
        ("no such column: x", sa.exc.OperationalError, False, True),
        ("duplicate key", sa.exc.IntegrityError, False, False),
    ],
)
def test_kinds_of_errors(text, kind, transient, permanent):
    error = kind("SELECT 1", {}, Exception(text))
    wrapped = StorageInternalError("in Optuna")
    wrapped.__cause__ = error
    for e in (error, wrapped):
        assert (is_transient(e), is_permanent(e)) == (transient, permanent)
    assert not is_transient(ValueError(text))
    assert is_transient(sa.exc.PendingRollbackError("lost in the same transaction"))
