"""The store's tables: made once by whoever comes first, refused or migrated where of another
release."""

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

from nas_service.errors import StoreError
from nas_service.store import migration, schema
from nas_service.store.database import checked_url
from nas_service.store.store import Store
from nas_service.store.tables import tables

ROOT = Path(__file__).parents[3]
REVISION_2 = ROOT / "tests/fixtures/store_revision_2/store.sql"  # of the version before


def execute(url, *statements):
    with connect(url).begin() as db:
        for words in statements:
            db.execute(sa.text(words))


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


def migrated(url):
    return migration.migrate(checked_url(url))


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
    with pytest.raises(StoreError, match=r"holds no studies of ours yet: `nas migrate`"):
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


# --- by many at once, and by those who die at it

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
        maker.join(20)
        assert not maker.is_alive()
    with connect(store_url).connect() as db:
        assert migration.differences(db) == []


# --- other releases


def test_an_old_store_is_refused_until_it_is_migrated(old_url):
    before = rows(old_url)
    for how in ({}, {"write": True}, {"create": True}):
        with pytest.raises(
            StoreError, match=r"earlier release \(revision 2.*`nas migrate`"
        ) as error:
            Store(old_url, **how)
        assert "\n" not in str(error.value)
    assert rows(old_url) == before
    assert migrated(old_url) == f"migrated from revision 2 to {schema.HEAD}"
    with connect(old_url).connect() as db:
        assert migration.differences(db) == []
    after = rows(old_url)
    renamed = {"nas_starts": "nas_initial_trials"}
    counts = {renamed.get(t, t): len(r) for t, r in before.items()}
    attributes = "trial_user_attributes"
    added = [row for row in after[attributes] if "rejected_by" in row]
    assert added, "rejected trials get one more attribute"
    assert {t: len(r) for t, r in after.items()} == counts | {
        attributes: counts[attributes] + len(added)
    }


def test_an_old_store_keeps_its_facts(old_url, opened):
    """Under the new names of columns and states; nothing else changes."""

    def facts(table, *columns):
        with connect(old_url).connect() as db:
            query = sa.select(*map(sa.column, columns)).select_from(sa.table(table))
            return sorted(db.execute(query).all(), key=repr)

    attempt = ("lease_id", "attempt", "study_id", "result", "reason")
    lease = ("lease_id", "study_id", "trial", "digest", "outcome", "attempt", "deadline", "reason")
    before = [
        facts("nas_attempts", *attempt, "owner", "began", "ended", "ending"),
        facts("nas_leases", *lease, "owner", "state"),
        facts("nas_clocks", "study_id", "spent_s", "beat"),
        facts("nas_starts", "study_id", "place", "parameters"),
    ]
    migrated(old_url)
    after = [
        facts("nas_attempts", *attempt, "worker", "started_at", "finished_at", "result_kind"),
        facts("nas_leases", *lease, "worker", "state"),
        facts("nas_clocks", "study_id", "elapsed_s", "last_beat"),
        facts("nas_initial_trials", "study_id", "position", "parameters"),
    ]
    words = {"told": "reported", "waiting": "pending", "following": "awaiting_duplicate"}
    words |= {"answered": "from_archive"}
    assert after == [
        sorted(((*row[:-1], words.get(row[-1], row[-1])) for row in table), key=repr)
        for table in before
    ]
    assert {row[-1] for row in after[1]} >= {"reported", "pending", "awaiting_duplicate"}
    store = opened(old_url, write=True)
    outcomes = [store.leases(row[0]).outcomes() for row in after[2]]
    assert any("trained" in result.values() for result in outcomes)


def test_leases_without_a_trial_are_not_migrated(old_url):
    """The old version left one where a worker behind a proxy was killed."""
    execute(
        old_url,
        "INSERT INTO nas_leases (lease_id, study_id, state, attempt, owner, deadline) "
        "VALUES (9999, 1, 'proposing', 1, 'a/b/1/1', 0)",
        "INSERT INTO nas_attempts (lease_id, attempt, study_id, owner, began) "
        "VALUES (9999, 1, 1, 'a/b/1/1', 0)",
    )
    migrated(old_url)
    for table in ("nas_leases", "nas_attempts"):
        with connect(old_url).connect() as db:
            query = sa.select(sa.column("lease_id")).select_from(sa.table(table))
            assert 9999 not in db.execute(query).scalars().all()


def test_a_store_that_keeps_no_revision_is_left_as_it_was(old_url):
    """Such were made before the first release."""
    execute(old_url, "DROP TABLE nas_alembic_version")
    before = rows(old_url)
    for open_it in (Store, lambda u: Store(u, create=True), migrated):
        with pytest.raises(StoreError) as refused:
            open_it(old_url)
        assert "\n" not in str(refused.value)
    assert rows(old_url) == before


def test_a_later_release_is_left_alone(store_url):
    migrated(store_url)
    execute(store_url, "UPDATE nas_alembic_version SET version_num = '7'")
    before = rows(store_url)
    for open_it in (Store, lambda u: Store(u, create=True), migrated):
        with pytest.raises(StoreError, match=r"later release \(revision 7.*`nas migrate`"):
            open_it(store_url)
    assert rows(store_url) == before


def test_a_damaged_old_store_is_left_as_it_was(old_url):
    execute(old_url, "ALTER TABLE nas_archive DROP COLUMN test_accuracy")
    before = rows(old_url)
    with pytest.raises(StoreError, match="of no release of ours"):
        migrated(old_url)
    assert rows(old_url) == before


def test_earlier_tables_of_optuna_are_brought_up_to_date(store_url, opened):
    """From a revision on which one index is missing."""
    migrated(store_url)
    execute(store_url, "UPDATE alembic_version SET version_num = 'v3.0.0.d'")
    before = rows(store_url)
    for how in ({}, {"create": True}):
        with pytest.raises(StoreError, match="`nas migrate`"):
            Store(store_url, **how)
    assert rows(store_url) == before
    migrated(store_url)
    assert rows(store_url)["alembic_version"] == ["('v3.2.0.a',)"]
    opened(store_url)


# --- other programs


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (("UPDATE version_info SET library_version = '4.9.0'",), r"Optuna 4\.9\.0"),
        (("UPDATE version_info SET library_version = '3.0.0rc1'",), r"Optuna 3\.0\.0rc1"),
        (("DELETE FROM version_info",), "another program's"),
    ],
)
def test_databases_of_other_optunas_are_refused(store_url, made, message):
    RDBStorage(checked_url(store_url).render_as_string(False)).engine.dispose()
    execute(store_url, *made)
    refused(store_url, f"{message}.*a database of its own")


@pytest.mark.parametrize(
    "made",
    [
        (
            "CREATE TABLE alembic_version (version_num TEXT)",
            "INSERT INTO alembic_version VALUES (1)",
        ),
        ("CREATE TABLE studies (id INTEGER, title TEXT)",),
    ],
    ids=["alembic", "studies"],
)
def test_databases_of_other_programs_are_refused(store_url, made):
    execute(store_url, *made)
    refused(store_url, "another program's.*a database of its own")


def refused(url, message):
    before = rows(url)
    for open_it in (Store, lambda u: Store(u, create=True), migrated):
        with pytest.raises(StoreError, match=message) as caught:
            open_it(url)
        assert "\n" not in str(caught.value)
    assert rows(url) == before


def test_a_store_opens_with_any_supported_optuna_tables(store_url, opened):
    migrated(store_url)
    execute(store_url, "UPDATE version_info SET library_version = '4.9.0'")
    opened(store_url)
