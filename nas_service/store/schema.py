"""The store's tables by revision: created, checked, and migrated to this release's revision.

Optuna creates and upgrades its own tables; ours follow `migrations/`, in one transaction that also
records the revision. A lock excludes other processes meanwhile, and ends with its process.
"""

import fcntl
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna.storages._rdb
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
from nas_service.store.tables import tables

VERSION_TABLE = "nas_alembic_version"  # Optuna's is alembic_version
MIGRATIONS = Path(__file__).with_name("migrations")
SCRIPT = ScriptDirectory(str(MIGRATIONS), version_locations=[str(MIGRATIONS)])
HEAD = str(SCRIPT.get_current_head())
_OPTUNAS = Path(optuna.storages._rdb.__file__).with_name("alembic")
OPTUNA_HEAD = str(ScriptDirectory(str(_OPTUNAS)).get_current_head())
LOCK = int.from_bytes(b"nas make", "big")  # PostgreSQL's advisory lock while tables are created
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
WRITTEN = (*tables.tables, "studies", "trials")
COUNTED = ("nas_leases_lease_id_seq", "trials_trial_id_seq")
LAST_FOREIGN = 4  # major version of Optuna whose databases this release cannot continue


@dataclass(frozen=True)
class Revisions:
    """Which tables a database has; a revision is empty where there are none."""

    ours: str
    optuna: str  # of Optuna's tables
    optuna_release: str  # that created them
    foreign: bool  # another program's tables have names of Optuna's


def check(url: sa.URL, *, write: bool = False) -> None:
    """Checks that all tables are this release's.

    Args:
        url: of the database.
        write: check that they can be written, too.

    Raises:
        StoreError: they are not, or the database cannot be reached.
    """
    with _engine(url) as engine, store_errors(url):
        _check(engine, _revisions(engine), write)


def create(url: sa.URL) -> None:
    """Creates all tables where there are none of ours, then does as `check`."""
    with _engine(url) as engine, store_errors(url), _exclusive(engine):
        _create_file(url)
        if not (revisions := _revisions(engine)).ours:
            _create(engine, revisions, upgrade=False)
        _check(engine, _revisions(engine), write=True)


def migrate(url: sa.URL) -> str:
    """Creates all tables, or migrates those of an earlier release to this one.

    Returns:
        What was done, for people.

    Raises:
        StoreError: the database cannot be used, or is of a later release or another program.
    """
    with _engine(url) as engine, store_errors(url), _exclusive(engine):
        new = _create_file(url)
        revisions = _revisions(engine)
        _refuse_later(revisions)
        _create(engine, revisions, upgrade=True)
        _check(engine, _revisions(engine), write=True)
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


# --- connections


@contextmanager
def _engine(url: sa.URL) -> Iterator[Engine]:
    """An engine without a pool, in which SQLite begins no transaction of its own."""
    engine = sa.create_engine(url, poolclass=sa.NullPool, **engine_settings(url))
    if url.get_backend_name() == "sqlite":
        sa.event.listen(engine, "connect", _no_own_transactions)
    yield engine


def _no_own_transactions(connection: Any, _: object) -> None:
    connection.isolation_level = None


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


# --- what a database has


def _revisions(engine: Engine) -> Revisions:
    with engine.connect() as db:
        inspector = sa.inspect(db)
        names = set(inspector.get_table_names())
        release = _cell(db, "version_info", "library_version", names)
        optuna_revision = _cell(db, "alembic_version", "version_num", names)
        ours = _cell(db, VERSION_TABLE, "version_num", names)
        columns = {
            c["name"] for c in (inspector.get_columns("studies") if "studies" in names else ())
        }
    foreign = bool(columns) and "study_name" not in columns
    foreign |= bool(optuna_revision) and not release  # Optuna writes its revision last
    return Revisions(ours, optuna_revision, release, foreign)


def _cell(db: Connection, table: str, column: str, names: set[str]) -> str:
    if table not in names:
        return ""
    return str(db.execute(sa.select(sa.column(column)).select_from(sa.table(table))).scalar() or "")


def _check(engine: Engine, revisions: Revisions, write: bool) -> None:
    _refuse_foreign(revisions)
    if not revisions.ours:
        raise StoreError("holds no studies of ours yet: `nas migrate` creates its tables")
    _refuse_later(revisions)
    if revisions.ours != HEAD:
        raise StoreError(
            f"its tables are of an earlier release (revision {revisions.ours}, this one's is "
            f"{HEAD}): end its workers, then run `nas migrate`"
        )
    if not revisions.optuna:
        raise StoreError("its tables of Optuna are missing: `nas migrate` creates them")
    if revisions.optuna != OPTUNA_HEAD:
        raise StoreError(
            f"its tables of Optuna are of another release of it ({revisions.optuna}): end its "
            "workers, then run `nas migrate`"
        )
    if write:
        _check_rights(engine)


def _refuse_later(revisions: Revisions) -> None:
    known = {"", *(r.revision for r in SCRIPT.walk_revisions())}
    if revisions.ours not in known:
        raise StoreError(
            f"its tables are of a later release (revision {revisions.ours}, this one's is {HEAD}): "
            "install that release, as `nas migrate` only leads forward"
        )


def _refuse_foreign(revisions: Revisions) -> None:
    if revisions.foreign:
        raise StoreError(
            "another program's tables have names of Optuna's: the store needs a database of its own"
        )
    major = re.match(r"\d+", revisions.optuna_release)
    if not revisions.ours and major and int(major[0]) <= LAST_FOREIGN:
        raise StoreError(
            f"its studies are of Optuna {revisions.optuna_release}, whose times and constraints "
            f"Optuna {optuna.__version__} reads differently: the store needs a database of its own"
        )


def _check_rights(engine: Engine) -> None:
    if engine.dialect.name == "sqlite":
        path = Path(str(engine.url.database))
        if not (os.access(path, os.W_OK) and os.access(path.absolute().parent, os.W_OK)):
            raise StoreError("may only be read: a worker needs to write to it and its folder")
        return
    needed = [f"has_table_privilege('{t}', '{p}')" for t in WRITTEN for p in RIGHTS]
    needed += [f"has_sequence_privilege('{name}', 'USAGE')" for name in COUNTED]
    with engine.connect() as db:
        if db.exec_driver_sql("SHOW transaction_read_only").scalar() == "on":
            raise StoreError("may only be read: it is read-only for this role, or a standby")
        if not db.exec_driver_sql(f"SELECT {' AND '.join(needed)}").scalar():
            raise StoreError(
                f"role {engine.url.username!r} may only read it: a worker's role needs "
                f"{', '.join(RIGHTS)} on its tables and USAGE on its sequences"
            )


# --- what is created


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
    with _engine(url.set(database=str(new))) as engine:
        _create(engine, _revisions(engine), upgrade=False)
    new.replace(path)
    return True


def _create(engine: Engine, revisions: Revisions, *, upgrade: bool) -> None:
    """Creates Optuna's tables first: where ours have a revision, Optuna's are complete."""
    _refuse_foreign(revisions)
    _create_optuna(engine, upgrade)
    with engine.connect() as db:
        if engine.dialect.name == "sqlite":  # readers beside one writer; the file keeps it
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
