"""Databases without tables, and stores of the version before."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from optuna.storages import RDBStorage
from servers import postgres
from servers.dump import connect
from store_schema import execute

from nas_service.store.database import checked_url
from nas_service.store.store import Store

ROOT = Path(__file__).parents[3]
REVISION_2 = ROOT / "tests/fixtures/store_revision_2/store.sql"  # of the version before


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A new, empty database."""
    with postgres.database(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file that does not exist yet."""
    return f"sqlite:///{tmp_path}/nas.db"


def close(store):
    store.optuna.remove_session()
    for engine in {store.engine, getattr(store.optuna, "engine", store.engine)}:
        engine.dispose()


@pytest.fixture
def opened():
    stores = []

    def make(url, **how):
        stores.append(Store(url, **how))
        return stores[-1]

    yield make
    for store in stores:
        close(store)


@pytest.fixture
def old_url(store_url, tmp_path):
    """A store of the version before."""
    file = tmp_path / "nas.db"
    with sqlite3.connect(file) as db:
        db.executescript(REVISION_2.read_text())
    db.close()
    if not store_url.startswith("sqlite"):
        copy(f"sqlite:///{file}", store_url)
    return store_url


def copy(source, target):
    """Tables and rows of one database in another."""
    there = sa.MetaData()
    RDBStorage(checked_url(target).render_as_string(False)).engine.dispose()
    execute(target, "DELETE FROM version_info", "DELETE FROM alembic_version")
    there.reflect(connect(source))
    for table in there.tables.values():
        for column in table.columns:
            column.type = column.type.as_generic()
    with connect(source).connect() as before, connect(target).begin() as db:
        there.create_all(db)
        kinds = sa.MetaData()
        kinds.reflect(db)
        for table in there.sorted_tables:
            if result := before.execute(table.select()).mappings().all():
                db.execute(kinds.tables[table.name].insert(), [dict(r) for r in result])
        for table in kinds.tables.values():
            (key, *more) = table.primary_key.columns.keys()
            name = f"pg_get_serial_sequence('{table}', '{key}')"
            if not more and db.execute(sa.text(f"SELECT {name}")).scalar():
                last = f"SELECT setval({name}, (SELECT coalesce(max({key}), 0) + 1 FROM {table}))"  # noqa: S608
                db.execute(sa.text(last))
