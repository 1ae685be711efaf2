"""The store's tables created, or migrated to this release's revision.

Optuna creates and upgrades its own tables; ours follow `migrations/`, in one transaction that also
records the revision. A lock excludes other processes meanwhile, and ends with its process.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.environment import EnvironmentContext
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from optuna.storages import RDBStorage
from sqlalchemy.engine import Connection, Engine

from nas_service.errors import StoreError
from nas_service.store.database import BUSY_s, engine_settings, network_disk, store_errors
from nas_service.store.schema import (
    HEAD,
    MIGRATIONS,
    VERSION_TABLE,
    Revisions,
    open_engine,
    read_revisions,
    refuse_foreign,
    refuse_later,
    require_current,
)
from nas_service.store.tables import tables

SCRIPT = ScriptDirectory(str(MIGRATIONS), version_locations=[str(MIGRATIONS)])
LOCK = int.from_bytes(b"nas make", "big")  # PostgreSQL's advisory lock while tables are created


def create(url: sa.URL) -> None:
    """Creates all tables where there are none of ours, then does as `check`."""
    with open_engine(url) as engine, store_errors(url), _exclusive(engine):
        _create_file(url)
        if not (revisions := read_revisions(engine)).ours:
            _create(engine, revisions, upgrade=False)
        require_current(engine, read_revisions(engine), write=True)


def migrate(url: sa.URL) -> str:
    """Creates all tables, or migrates those of an earlier release to this one.

    Returns:
        What was done, for people.

    Raises:
        StoreError: the database cannot be used, or is of a later release or another program.
    """
    with open_engine(url) as engine, store_errors(url), _exclusive(engine):
        new = _create_file(url)
        revisions = read_revisions(engine)
        refuse_later(revisions)
        _create(engine, revisions, upgrade=True)
        require_current(engine, read_revisions(engine), write=True)
    if new or not revisions.ours:
        return f"created, revision {HEAD}"
    if revisions.ours != HEAD:
        return f"migrated from revision {revisions.ours} to {HEAD}"
    return f"up to date, revision {HEAD}"


def differences(db: Connection) -> list[Any]:
    """How our tables in a database differ from `tables`, in Alembic's terms."""
    options = {"version_table": VERSION_TABLE, "include_name": _ours}
    return list(compare_metadata(MigrationContext.configure(db, opts=options), tables))


def _ours(name: str | None, kind: str, _: object) -> bool:
    return kind != "table" or str(name).startswith("nas_")


@contextmanager
def _exclusive(engine: Engine) -> Iterator[None]:
    """Excludes other processes that create tables there.

    The lock is the system's or the server's, so that it ends with its process.
    """
    if engine.dialect.name == "sqlite":
        with _folder_lock(Path(str(engine.url.database)).absolute()):
            yield
        return
    with engine.begin() as db:
        db.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_s}s'")
        db.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
        yield


@contextmanager
def _folder_lock(path: Path) -> Iterator[None]:
    """Locks the folder of an SQLite file, which needs no lock file of its own.

    Network disks lock nothing but files that are open for writing, so that one is needed there.
    """
    if network_disk(path.parent):
        handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    else:
        handle = os.open(path.parent, os.O_RDONLY)
    try:
        end = time.monotonic() + BUSY_s
        while not _try_lock(handle):
            if time.monotonic() > end:
                raise StoreError(
                    f"another process has been creating tables for {BUSY_s} s: is it alive?"
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _create_file(url: sa.URL) -> bool:
    """Creates a missing SQLite file, complete or not at all; False where there is one.

    Optuna creates its tables on SQLite one by one, and would not complete those that a killed
    process has left.
    """
    if url.get_backend_name() != "sqlite":
        return False
    path = Path(str(url.database))
    if path.exists() and path.stat().st_size:
        return False
    new = path.with_name(f"{path.name}.new")
    for name in (new, path):  # remains of a file that is gone, which SQLite deletes, too
        for end in ("", "-wal", "-shm", "-journal"):
            name.with_name(name.name + end).unlink(missing_ok=True)
    with open_engine(url.set(database=str(new))) as engine:
        _create(engine, read_revisions(engine), upgrade=False)
    new.replace(path)
    return True


def _create(engine: Engine, revisions: Revisions, *, upgrade: bool) -> None:
    """Creates Optuna's tables first: where ours have a revision, Optuna's are complete."""
    refuse_foreign(revisions)
    _create_optuna(engine, upgrade)
    with engine.connect() as db:
        if engine.dialect.name == "sqlite":  # readers run beside a writer; the file keeps it
            db.exec_driver_sql("PRAGMA journal_mode=WAL")
            db.exec_driver_sql("BEGIN IMMEDIATE")
        _upgrade(db)
        if wrong := differences(db):
            raise StoreError(f"its tables are of no release of ours ({wrong[0]})"[:300])
        db.commit()


def _create_optuna(engine: Engine, upgrade: bool) -> None:
    storage = _optuna(engine, skip_compatibility_check=upgrade)
    if upgrade and (there := storage.get_current_version()) != storage.get_head_version():
        if there not in storage.get_all_versions():
            raise StoreError(f"its tables of Optuna ({there}) are of a later release of Optuna")
        storage.upgrade()


def _optuna(engine: Engine, **settings: Any) -> RDBStorage:
    """Optuna's storage, which checks its tables, without a pool of connections."""
    text = engine.url.render_as_string(hide_password=False)
    pool = {"poolclass": sa.NullPool, **engine_settings(engine.url)}
    return RDBStorage(text, pool, **settings)


def _upgrade(db: Connection) -> None:
    """Migrates our tables to the last revision, in the transaction that is open."""

    def steps(revision: Any, _: object) -> Any:
        return SCRIPT._upgrade_revs("head", revision)

    with EnvironmentContext(Config(), SCRIPT, fn=steps) as environment:
        environment.configure(connection=db, version_table=VERSION_TABLE, render_as_batch=True)
        environment.run_migrations()
