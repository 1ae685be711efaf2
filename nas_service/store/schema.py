"""The revisions of the store's tables: which a database has, and whether they are this release's.

Optuna's tables have revisions of their own. Alembic, which follows them, loads slowly; it is needed
for `migration` alone.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna.storages._rdb
import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine

from nas_service.errors import StoreError
from nas_service.store.database import engine_settings, store_errors
from nas_service.store.tables import tables

REVISION = re.compile(r'^(down_)?revision = "(.+)"$', re.MULTILINE)  # lines of a migration


def revisions_in(folder: Path) -> tuple[frozenset[str], str]:
    """The names of all migrations in a folder, and that of the last one."""
    lines = [line for path in folder.glob("*.py") for line in REVISION.findall(path.read_text())]
    known = frozenset(name for down, name in lines if not down)
    (last,) = known - {name for down, name in lines if down}
    return known, last


VERSION_TABLE = "nas_alembic_version"  # Optuna's is alembic_version
MIGRATIONS = Path(__file__).with_name("migrations")
KNOWN, HEAD = revisions_in(MIGRATIONS)
OPTUNA_MIGRATIONS = Path(optuna.storages._rdb.__file__).with_name("alembic")
_, OPTUNA_HEAD = revisions_in(OPTUNA_MIGRATIONS / "versions")
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
    with open_engine(url) as engine, store_errors(url):
        require_current(engine, read_revisions(engine), write)


@contextmanager
def open_engine(url: sa.URL) -> Iterator[Engine]:
    """An engine without a pool, in which SQLite begins no transaction of its own."""
    engine = sa.create_engine(url, poolclass=sa.NullPool, **engine_settings(url))
    if url.get_backend_name() == "sqlite":
        sa.event.listen(engine, "connect", _no_own_transactions)
    yield engine


def _no_own_transactions(connection: Any, _: object) -> None:
    connection.isolation_level = None


def read_revisions(engine: Engine) -> Revisions:
    """The revisions of a database's tables."""
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


def require_current(engine: Engine, revisions: Revisions, write: bool) -> None:
    """Checks that all tables are this release's, as `check`.

    Args:
        engine: of the database.
        revisions: of its tables.
        write: check that they can be written, too.

    Raises:
        StoreError: a table is missing or of another release; with `write`, also where the tables
            can only be read.
    """
    refuse_foreign(revisions)
    if not revisions.ours:
        raise StoreError(
            "holds no studies of ours yet: `nas run STUDY.toml` creates its tables and a study, "
            "`nas migrate` its tables alone"
        )
    refuse_later(revisions)
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


def refuse_later(revisions: Revisions) -> None:
    """Raises StoreError for tables of a later release."""
    if revisions.ours and revisions.ours not in KNOWN:
        raise StoreError(
            f"its tables are of a later release (revision {revisions.ours}, this one's is {HEAD}): "
            "install that release, as `nas migrate` only leads forward"
        )


def refuse_foreign(revisions: Revisions) -> None:
    """Raises StoreError for another program's tables, and for those of an Optuna before 5."""
    if revisions.foreign:
        raise StoreError(
            "another program's tables have names of Optuna's: the store needs a database of its own"
        )
    major = re.match(r"[0-9]{1,9}", revisions.optuna_release)
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
