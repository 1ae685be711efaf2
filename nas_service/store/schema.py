"""The store's tables by revision: made, checked, and brought to this release's revision.

Optuna makes and upgrades its own tables; ours follow `migrations/`, in one transaction that also
writes down the revision. Nobody else makes tables meanwhile, and whoever dies at it lets go.
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
from nas_service.store.tables import leases, studies, tables

VERSION_TABLE = "nas_alembic_version"  # Optuna's is alembic_version
UNKEPT = "0"  # of a store that did not keep its revision
MIGRATIONS = Path(__file__).with_name("migrations")
SCRIPT = ScriptDirectory(str(MIGRATIONS), version_locations=[str(MIGRATIONS)])
HEAD = str(SCRIPT.get_current_head())
_OPTUNAS = Path(optuna.storages._rdb.__file__).with_name("alembic")
OPTUNA_HEAD = str(ScriptDirectory(str(_OPTUNAS)).get_current_head())
LOCK = int.from_bytes(b"nas make", "big")  # PostgreSQL's advisory lock of whoever makes tables
RIGHTS = ("SELECT", "INSERT", "UPDATE", "DELETE")
WRITTEN = (*tables.tables, "studies", "trials")
COUNTED = ("nas_leases_lease_id_seq", "trials_trial_id_seq")
LAST_FOREIGN = 4  # major version of Optuna whose databases are not ours to go on with


@dataclass(frozen=True)
class Found:
    """Which tables a database has; a revision is empty where there are none."""

    ours: str
    optuna: str  # revision of Optuna's tables
    optuna_release: str  # that made them
    strange: bool  # tables of Optuna's names, but not Optuna's


def check(url: sa.URL, *, write: bool = False) -> None:
    """StoreError unless all tables are this release's; with `write`, unless they can be written."""
    with _engine(url) as engine, store_errors(url):
        _check(engine, _look(engine), write)


def create(url: sa.URL) -> None:
    """Makes all tables where there are none of ours, then as `check`."""
    with _engine(url) as engine, store_errors(url), _alone(engine):
        _make_file(url)
        if not (found := _look(engine)).ours:
            _make(engine, found, upgrade=False)
        _check(engine, _look(engine), write=True)


def migrate(url: sa.URL) -> str:
    """Makes all tables, or brings those of an earlier release to this one; says what it did."""
    with _engine(url) as engine, store_errors(url), _alone(engine):
        new = _make_file(url)
        found = _look(engine)
        _refuse_later(found)
        _make(engine, found, upgrade=True)
        _check(engine, _look(engine), write=True)
    if new or not found.ours:
        return f"made, revision {HEAD}"
    if found.ours != HEAD:
        return f"brought from revision {found.ours} to {HEAD}"
    return f"up to date, revision {HEAD}"


def differences(db: Connection) -> list[Any]:
    """How our tables there differ from `tables`, as Alembic names it."""
    options = {"version_table": VERSION_TABLE, "include_name": _ours}
    return list(compare_metadata(MigrationContext.configure(db, opts=options), tables))


def _ours(name: str | None, kind: str, _: object) -> bool:
    return kind != "table" or str(name).startswith("nas_")


# --- connections


@contextmanager
def _engine(url: sa.URL) -> Iterator[Engine]:
    """An engine whose connections end with their use, and in which SQLite's transactions are begun
    by us alone."""
    engine = sa.create_engine(url, poolclass=sa.NullPool, **engine_settings(url))
    if url.get_backend_name() == "sqlite":
        sa.event.listen(engine, "connect", _begin_nothing)
    yield engine


def _begin_nothing(connection: Any, _: object) -> None:
    connection.isolation_level = None


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """Nobody else makes tables there meanwhile. The lock is the system's or the server's, so that
    it ends with its process, however that ends."""
    if engine.dialect.name == "sqlite":
        with _locked(Path(str(engine.url.database)).absolute()):
            yield
        return
    with engine.begin() as db:
        db.exec_driver_sql(f"SET LOCAL lock_timeout = '{BUSY_s}s'")
        db.exec_driver_sql("SET LOCAL idle_in_transaction_session_timeout = 0")
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
        yield


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Locks the folder, as a lock file would stay and the database's own locks are SQLite's.
    Network disks lock files that are open for writing, and nothing else."""
    if network_disk(path.parent):
        handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    else:
        handle = os.open(path.parent, os.O_RDONLY)
    try:
        end = time.monotonic() + BUSY_s
        while not _lock(handle):
            if time.monotonic() > end:
                raise StoreError(f"another process makes tables since {BUSY_s} s: is it alive?")
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def _lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- what is there


def _look(engine: Engine) -> Found:
    with engine.connect() as db:
        inspector = sa.inspect(db)
        names = set(inspector.get_table_names())
        release = _cell(db, "version_info", "library_version", names)
        optuna_revision = _cell(db, "alembic_version", "version_num", names)
        ours = _cell(db, VERSION_TABLE, "version_num", names)
        if not ours and {studies.name, leases.name} & names:
            ours = UNKEPT
        columns = {
            c["name"] for c in (inspector.get_columns("studies") if "studies" in names else ())
        }
    strange = bool(columns) and "study_name" not in columns
    strange |= bool(optuna_revision) and not release  # Optuna writes its revision last
    return Found(ours, optuna_revision, release, strange)


def _cell(db: Connection, table: str, column: str, names: set[str]) -> str:
    if table not in names:
        return ""
    return str(db.execute(sa.select(sa.column(column)).select_from(sa.table(table))).scalar() or "")


def _check(engine: Engine, found: Found, write: bool) -> None:
    _refuse_foreign(found)
    if not found.ours:
        raise StoreError("holds no studies of ours yet: `nas migrate` makes its tables")
    _refuse_later(found)
    if found.ours != HEAD:
        raise StoreError(
            f"its tables are of an earlier release (revision {found.ours}, this one's is {HEAD}): "
            "end its workers, then run `nas migrate`"
        )
    if not found.optuna:
        raise StoreError("its tables of Optuna are missing: `nas migrate` makes them")
    if found.optuna != OPTUNA_HEAD:
        raise StoreError(
            f"its tables of Optuna are of another release of it ({found.optuna}): end its workers, "
            "then run `nas migrate`"
        )
    if write:
        _check_rights(engine)


def _refuse_later(found: Found) -> None:
    known = {"", UNKEPT, *(r.revision for r in SCRIPT.walk_revisions())}
    if found.ours not in known:
        raise StoreError(
            f"its tables are of a later release (revision {found.ours}, this one's is {HEAD}): "
            "install that release, as `nas migrate` does not lead back"
        )


def _refuse_foreign(found: Found) -> None:
    if found.strange:
        raise StoreError(
            "another program's tables have names of Optuna's: the store needs a database of its own"
        )
    major = re.match(r"\d+", found.optuna_release)
    if not found.ours and major and int(major[0]) <= LAST_FOREIGN:
        raise StoreError(
            f"its studies are of Optuna {found.optuna_release}, whose times and constraints Optuna "
            f"{optuna.__version__} reads differently: the store needs a database of its own"
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


# --- what is made


def _make_file(url: sa.URL) -> bool:
    """Makes an SQLite file that is not there, whole or not at all; False where there is one.

    Optuna makes its tables on SQLite one by one, and would not complete what a kill left.
    """
    if url.get_backend_name() != "sqlite":
        return False
    path = Path(str(url.database))
    if path.exists() and path.stat().st_size:
        return False
    new = path.with_name(f"{path.name}.new")
    for name in (new, path):  # what is left of a file that is gone, as SQLite itself would
        for end in ("", "-wal", "-shm", "-journal"):
            name.with_name(name.name + end).unlink(missing_ok=True)
    with _engine(url.set(database=str(new))) as engine:
        _make(engine, _look(engine), upgrade=False)
    new.replace(path)
    return True


def _make(engine: Engine, found: Found, *, upgrade: bool) -> None:
    """Optuna's tables first: where ours have a revision, Optuna's are complete."""
    _refuse_foreign(found)
    _make_optuna(engine, upgrade)
    with engine.connect() as db:
        if engine.dialect.name == "sqlite":  # readers beside one writer; the file keeps it
            db.exec_driver_sql("PRAGMA journal_mode=WAL")
            db.exec_driver_sql("BEGIN IMMEDIATE")
        _upgrade(db)
        if wrong := differences(db):
            raise StoreError(f"its tables are of no release of ours ({wrong[0]})"[:300])
        db.commit()


def _make_optuna(engine: Engine, upgrade: bool) -> None:
    storage = _optuna(engine, skip_compatibility_check=upgrade)
    if upgrade and (there := storage.get_current_version()) != storage.get_head_version():
        if there not in storage.get_all_versions():
            raise StoreError(f"Optuna's tables there ({there}) are of a later release of it")
        storage.upgrade()


def _optuna(engine: Engine, **settings: Any) -> RDBStorage:
    """Optuna's storage, which checks its tables; no connection outlives its use."""
    text = engine.url.render_as_string(hide_password=False)
    pool = {"poolclass": sa.NullPool, **engine_settings(engine.url)}
    return RDBStorage(text, pool, **settings)


def _upgrade(db: Connection) -> None:
    """Our tables to the last revision, in the transaction that is open."""

    def steps(revision: Any, _: object) -> Any:
        return SCRIPT._upgrade_revs("head", revision)

    with EnvironmentContext(Config(), SCRIPT, fn=steps) as environment:
        environment.configure(connection=db, version_table=VERSION_TABLE, render_as_batch=True)
        environment.run_migrations()
