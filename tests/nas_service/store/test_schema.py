"""The store's tables are made once, by the first of any number of processes."""

import json
import logging
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory
from optuna.storages import RDBStorage
from servers import postgres
from servers.dump import connect, rows
from store_schema import execute, migrated

from nas_service.errors import StoreError
from nas_service.store import migration, schema
from nas_service.store.database import checked_url
from nas_service.store.store import Store
from nas_service.store.tables import tables

ROOT = Path(__file__).parents[3]


def structure(url):
    """Our tables as the database describes them."""
    with connect(url).connect() as db:
        inspector = sa.inspect(db)
        names = [n for n in inspector.get_table_names() if n in tables.tables]
        return {name: described(inspector, name) for name in names}


def described(inspector, name):
    columns = inspector.get_columns(name)
    return (
        {c["name"]: (str(c["type"]), c["nullable"], c["default"]) for c in columns},
        inspector.get_pk_constraint(name)["constrained_columns"],
        [u["column_names"] for u in inspector.get_unique_constraints(name)],
        {(i["name"], *i["column_names"]) for i in inspector.get_indexes(name)},
    )


# --- what is made


def test_revisions_are_known_without_alembic():
    """`schema` reads them from the files' text, because Alembic loads slowly."""
    ours = ScriptDirectory(str(schema.MIGRATIONS), version_locations=[str(schema.MIGRATIONS)])
    optunas = ScriptDirectory(str(schema.OPTUNA_MIGRATIONS))
    assert ours.get_current_head() == schema.HEAD
    assert {r.revision for r in ours.walk_revisions()} == schema.KNOWN
    assert optunas.get_current_head() == schema.OPTUNA_HEAD


def test_revisions_lead_to_the_tables(store_url, request, tmp_path):
    assert migrated(store_url) == f"created, revision {schema.HEAD}"
    with connect(store_url).connect() as db:
        assert migration.differences(db) == []
    if store_url.startswith("sqlite"):
        tables.create_all(connect(plain := f"sqlite:///{tmp_path}/plain.db"))
        assert structure(store_url) == structure(plain)
        return
    with postgres.database(request.getfixturevalue("postgres_server")) as plain:
        tables.create_all(connect(plain))
        assert structure(store_url) == structure(plain)


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE nas_leases DROP COLUMN reason",
        "ALTER TABLE nas_leases ADD COLUMN more INTEGER",
        "DROP INDEX ix_nas_leases_study_id",
        "DROP TABLE nas_clocks",
        "CREATE TABLE nas_more (n INTEGER)",
    ],
)
def test_differences_are_seen(store_url, change):
    migrated(store_url)
    execute(store_url, change)
    with connect(store_url).connect() as db:
        assert len(migration.differences(db)) == 1


def test_foreign_tables_are_ignored(store_url):
    execute(store_url, "CREATE TABLE others (n INTEGER)", "INSERT INTO others VALUES (7)")
    migrated(store_url)
    assert rows(store_url)["others"] == ["(7,)"]
    with connect(store_url).connect() as db:
        assert migration.differences(db) == []


def test_a_store_is_made_once(store_url, opened):
    opened(store_url, create=True)
    before = rows(store_url)
    opened(store_url, create=True)
    opened(store_url, write=True)
    assert migrated(store_url) == f"up to date, revision {schema.HEAD}"
    assert rows(store_url) == before
    assert before["nas_alembic_version"] == [repr((schema.HEAD,))]


def test_workers_make_nothing(store_url):
    if store_url.startswith("sqlite"):
        sqlite3.connect(store_url.removeprefix("sqlite:///")).close()
        Path(store_url.removeprefix("sqlite:///")).touch()
    with pytest.raises(StoreError, match=r"holds no studies of ours yet: `nas run STUDY.toml`"):
        Store(store_url)
    assert rows(store_url) == {}


def test_studies_of_optuna_stay_as_they_are(store_url, opened):
    text = checked_url(store_url).render_as_string(False)
    storage = RDBStorage(text)
    study = optuna.create_study(storage=storage, study_name="theirs")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=2)
    storage.engine.dispose()
    before = rows(store_url)
    store = opened(store_url, create=True)
    assert rows(store_url).items() >= before.items()
    assert store.studies.names() == ["theirs"]


def test_neither_logging_nor_streams_are_touched(store_url, capfd):
    logger = logging.getLogger("mine")
    before = (list(logging.root.handlers), logging.root.level, logger.level, logger.disabled)
    migrated(store_url)
    assert (
        list(logging.root.handlers),
        logging.root.level,
        logger.level,
        logger.disabled,
    ) == before
    assert capfd.readouterr() == ("", "")


# --- by many processes at once, and by processes that are killed meanwhile

TOGETHER = """
import os, sys
import psycopg
from optuna.storages import RDBStorage
from nas_service.store.store import Store
url, read, write = sys.argv[1], *os.pipe()
assert "torch" not in sys.modules
RDBStorage("sqlite://")  # loads what each process would load
for _ in range(16):
    if os.fork() == 0:
        os.close(write)
        os.read(read, 1)
        try:
            Store(url, create=True)
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
os.close(write)
print([os.wait()[1] for _ in range(16)])
"""


def script(text, *words):
    command = [sys.executable, "-W", "ignore", "-c", text, *words]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.process
def test_sixteen_processes_make_one_store(store_url):
    assert script(TOGETHER, store_url).strip() == str([0] * 16)
    result = rows(store_url)
    assert result["nas_alembic_version"] == [repr((schema.HEAD,))]
    assert len(result["alembic_version"]) == len(result["version_info"]) == 1
    with connect(store_url).connect() as db:
        assert migration.differences(db) == []


KILLED = """
import json, os, signal, sys
import psycopg
import sqlalchemy as sa
from optuna.storages import RDBStorage
from nas_service.store import migration
from nas_service.store.database import checked_url
from nas_service.store.store import Store
text, points = sys.argv[1], json.loads(sys.argv[2])
RDBStorage("sqlite://")  # loads what each process would load
url, said = checked_url(text), []

def reset():
    if url.get_backend_name() == "sqlite":
        for end in ("", "-wal", "-shm", "-journal"):
            if os.path.exists(url.database + end):
                os.unlink(url.database + end)
        return
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as db:
        db.execute(sa.text("DROP SCHEMA public CASCADE"))
        db.execute(sa.text("CREATE SCHEMA public"))

def make(point):
    count = iter(range(point))
    def count_down(*_):
        if next(count, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)
    sa.event.listen(sa.engine.Engine, "before_cursor_execute", count_down)
    Store(text, create=True)

def check():
    Store(text, create=True)
    with sa.create_engine(url).connect() as db:
        inspector = sa.inspect(db)
        for name in sorted(inspector.get_table_names()):
            print(name, inspector.get_columns(name), inspector.get_indexes(name))
            if "version" in name:
                print(db.execute(sa.text(f"SELECT * FROM {name}")).all())

def child(work, *words):
    read, write = os.pipe()
    if (pid := os.fork()) == 0:
        os.dup2(write, 1)
        work(*words)
        sys.stdout.flush()
        os._exit(0)
    os.close(write)
    with open(read) as said:
        text = said.read()
    return os.waitpid(pid, 0)[1], text

for point in points:
    reset()
    said.append((*child(make, point), *child(check)))
print(json.dumps(said))
"""


@pytest.mark.process
def test_an_interrupted_creation_is_completed_by_the_next_process(store_url):
    """Killed before its first statement, before others on the way, and not at all."""
    points = [0, 26, 41, 56, 75, 10**6]
    result = json.loads(script(KILLED, store_url, json.dumps(points)))
    killed = [ended == signal.SIGKILL for ended, *_ in result]
    assert sum(killed) >= len(points) // 2, "so few were killed that nothing is shown"
    assert not killed[-1]
    assert {after for *_, after, _ in result} == {0}
    assert {text for *_, text in result} == {result[-1][-1]}
    assert f"[('{schema.HEAD}',)]" in result[-1][-1]


HOLDING = """
import sys, time
from nas_service.store import migration, schema
from nas_service.store.database import checked_url
with schema.open_engine(checked_url(sys.argv[1])) as engine, migration._exclusive(engine):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.process
def test_a_lock_ends_with_its_process(store_url, opened):
    command = [sys.executable, "-W", "ignore", "-c", HOLDING, store_url]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as holder:
        assert holder.stdout.readline() == "held\n"
        maker = threading.Thread(target=opened, args=(store_url,), kwargs={"create": True})
        maker.start()
        time.sleep(0.5)
        assert maker.is_alive(), "it did not wait for the holder"
        holder.kill()
        maker.join(90)
        assert not maker.is_alive()
    with connect(store_url).connect() as db:
        assert migration.differences(db) == []
