"""What can be wrong with a store: one line, its exit code, and nothing changed."""

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
import tiny
import torch
from click.testing import CliRunner
from optuna.storages import RDBStorage
from servers import postgres
from servers.dump import connect, rows

from nas_service.cli.main import main
from nas_service.evaluation.evaluator import Evaluator
from nas_service.searches.creation import check, create
from nas_service.searches.session import open_search
from nas_service.store.database import ANSWER_s, checked_url, engine_settings
from nas_service.store.store import Store
from nas_service.study.loading import load_spec
from nas_service.worker.worker import Worker

ROOT = Path(__file__).parents[3]
WORD = "canary-81e5"  # the server's password
READING = ("studies", "status tiny", "front tiny", "show tiny 0", "report tiny -o {folder}/r.html")
WRITING = (
    *("migrate", "create {folder}/tiny.toml", "run {folder}/tiny.toml --workers 1"),
    *("worker --study tiny", "resume tiny --workers 1", "retrain tiny --workers 1"),
)


def study_file(folder, trainings=1):
    (folder / "tiny.toml").write_text(tiny.QUICK.format(trainings=trainings))
    return folder / "tiny.toml"


def close(store):
    store.optuna.remove_session()
    for engine in {store.engine, getattr(store.optuna, "engine", store.engine)}:
        engine.dispose()


def with_a_study(url, folder):
    """The store there, with a study of one trained candidate."""
    torch.set_num_threads(1)
    spec = load_spec(study_file(folder))
    evaluator = Evaluator.open(spec, folder)
    store = Store(url, create=True)
    Worker(create(store, check(spec), evaluator.data_digest), evaluator, lambda text: None).run()
    close(store)
    return url


@pytest.fixture
def nas(tmp_path, monkeypatch):
    """Runs a command in this process; returns its exit code and output."""
    monkeypatch.delenv("NAS_STORAGE_FILE", raising=False)

    def command(words, url):
        monkeypatch.setenv("NAS_STORAGE", url)
        with monkeypatch.context() as patch:
            patch.chdir(tmp_path)
            done = CliRunner().invoke(main, words.format(folder=tmp_path).split())
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done.exit_code, done.stdout, done.stderr

    return command


def refusal(answer):
    """The one line of a command that was refused."""
    code, out, err = answer
    assert (code, out) == (4, "")
    (line,) = err.splitlines()
    assert re.match(r"nas: \S", line)
    assert WORD not in line
    return line


# --- addresses

ADDRESSES = [
    ("what", "no database URL, such as sqlite:///nas.db"),
    ("postgresql://nas:canary-81e5/db", "no database URL"),  # taken for a port
    ("postgresql://nas:a@canary-81e5@h/db", "second @: write %40"),
    ("postgresql://nas:a@can/ary-81e5@h/db", "second @"),
    ("mysql://nas:canary-81e5@h/d", "mysql cannot be the store: SQLite or PostgreSQL can"),
    ("postgres://nas:canary-81e5@h/d", "postgres cannot be the store"),
    ("sqlite://", "in memory would be lost"),
    ("sqlite:///:memory:", "in memory would be lost"),
    ("sqlite:////nowhere/nas.db", "/nowhere/nas.db: its folder does not exist"),
    ("sqlite:///tests.db", "tests.db: no such file"),
    ("sqlite+aiosqlite:///tests.db", "tests.db: no such file"),
    ("sqlite:////tmp", "unable to open database file"),
    ("postgresql://nas:canary-81e5@127.0.0.1:1/d", r"port 1 failed: Connection refused"),
    ("postgresql://nas:canary-81e5@localhost:1/d", r"port 1 failed: Connection refused"),
    ("postgresql://nas:canary-81e5@127.0.0.1:99999/d", 'invalid port number: "99999"'),
    ("postgresql://nas:canary-81e5@127.0.0.1/d?colour=1", 'invalid connection option "colour"'),
    ("postgresql://nas:canary-81e5@no.such.host.invalid/d", "no.such.host.invalid"),
]


@pytest.mark.parametrize(("url", "message"), ADDRESSES, ids=[url[:40] for url, _ in ADDRESSES])
def test_wrong_addresses(nas, url, message, tmp_path):
    assert re.search(message, refusal(nas("studies", url)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("words", READING + WRITING)
def test_every_command_names_the_missing_store(nas, words, tmp_path):
    study_file(tmp_path)
    line = refusal(nas(words, "postgresql://nas@127.0.0.1:1/d"))
    assert "postgresql+psycopg://nas@127.0.0.1:1/d: cannot be used" in line
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.toml"]


def test_a_password_among_the_words_is_refused(nas):
    for url in (
        "postgresql://u:secret@h/d",
        "postgresql://h/d?password=secret",
        "postgresql://u:secret@h/d?sslpassword=x",
    ):
        code, out, err = nas(f"studies --storage {url}", "sqlite:///nas.db")
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert "NAS_STORAGE_FILE" in err
        assert "secret" not in err


def test_an_unresponsive_server_times_out(nas):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://nas@127.0.0.1:{silent.getsockname()[1]}/d"
        assert "timeout expired" in refusal(nas("studies", f"{url}?connect_timeout=2"))
        waits = engine_settings(checked_url(url))["connect_args"]
        assert waits == {"connect_timeout": ANSWER_s}


def test_the_url_can_disable_prepared_statements(nas, postgres_url):
    """For a PgBouncer that does not follow prepared statements."""
    for query, threshold in (("", 5), ("?prepare_threshold=none", None)):
        store = Store(f"{postgres_url}{query}", create=True)
        with store.transactions.begin() as db:
            assert db.connection.driver_connection.prepare_threshold == threshold
        store.close()
    assert "prepare_threshold" in refusal(nas("studies", f"{postgres_url}?prepare_threshold=0"))


@pytest.mark.parametrize("words", ["studies", "migrate", "worker --study tiny"])
def test_a_file_that_is_no_database(nas, words, tmp_path):
    text = "It was a dark and stormy night; the rain fell in torrents. " * 20
    (tmp_path / "nas.db").write_text(text)
    assert "file is not a database" in refusal(nas(words, f"sqlite:///{tmp_path}/nas.db"))
    assert (tmp_path / "nas.db").read_text() == text


def test_a_damaged_file(nas, tmp_path):
    url = with_a_study(f"sqlite:///{tmp_path}/nas.db", tmp_path)
    file = tmp_path / "nas.db"
    file.write_bytes(file.read_bytes()[:4096] + b"\xff" * 20000)
    assert "malformed" in refusal(nas("status tiny", url))


def test_a_file_of_another_program_is_not_changed(nas, tmp_path):
    with sqlite3.connect(tmp_path / "theirs.db") as db:
        db.execute("CREATE TABLE studies (title TEXT)")
    db.close()
    before = (tmp_path / "theirs.db").read_bytes()
    study_file(tmp_path)
    for words in ("studies", "migrate", "create {folder}/tiny.toml"):
        line = refusal(nas(words, f"sqlite:///{tmp_path}/theirs.db"))
        assert line.endswith("the store needs a database of its own")
    assert (tmp_path / "theirs.db").read_bytes() == before


AS_NOBODY = """
import os, sys
from optuna.storages import RDBStorage
from nas_service.cli.main import VERBS, main
from nas_service.store import migration
from nas_service.store.store import Store
RDBStorage("sqlite://"), VERBS["migrate"].load()  # load what root alone may read
if os.getuid() == 0:
    os.setuid(65534)
print(Store(os.environ["NAS_STORAGE"]).studies.names(), flush=True)
main(["migrate"])
"""


@pytest.mark.process
def test_a_file_that_may_only_be_read():
    """By the rights of a user who is not root."""
    folder = Path(tempfile.mkdtemp(prefix="nas-read-only-"))
    try:
        folder.chmod(0o777)
        url = f"sqlite:///{folder}/nas.db"
        close(Store(url, create=True))
        (folder / "nas.db").chmod(0o444)
        before = (folder / "nas.db").read_bytes()
        command = [sys.executable, "-W", "ignore", "-c", AS_NOBODY]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "NAS_STORAGE": url}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)
        assert (done.returncode, done.stdout) == (4, "[]\n"), done.stderr
        (line,) = done.stderr.splitlines()
        assert "may only be read" in line
        assert (folder / "nas.db").read_bytes() == before
    finally:
        shutil.rmtree(folder)


# --- servers and roles


@pytest.fixture(scope="module")
def server(postgres_programs):
    with postgres.running(WORD) as running:
        yield running


@pytest.fixture(scope="module")
def shared(server, tmp_path_factory):
    """A store with a study, and roles with fewer rights than its owner."""
    with postgres.database(server.url) as url:
        with_a_study(url, tmp_path_factory.mktemp("study"))
        with connect(url).begin() as db:
            for role in ("reader", "guest", "resting"):
                db.execute(sa.text(f"CREATE ROLE {role} LOGIN PASSWORD '{role}-{WORD}'"))
            db.execute(sa.text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader, resting"))
            db.execute(
                sa.text("GRANT INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO resting")
            )
            db.execute(sa.text("ALTER ROLE resting SET default_transaction_read_only = on"))
        yield url
    with connect(server.url).begin() as db:
        for role in ("reader", "guest", "resting"):
            db.execute(sa.text(f"DROP ROLE IF EXISTS {role}"))


def by(role, url):
    login = sa.make_url(url).set(username=role, password=f"{role}-{WORD}")
    return login.render_as_string(hide_password=False)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"password": "canary-81e5x"}, 'password authentication failed for user "nas"'),
        ({"password": None}, "no password supplied"),
        ({"username": "nobody_here"}, 'password authentication failed for user "nobody_here"'),
        ({"database": "nowhere"}, 'database "nowhere" does not exist'),
    ],
)
@pytest.mark.parametrize("words", ["studies", "migrate"])
def test_wrong_logins(nas, shared, words, change, message, monkeypatch):
    monkeypatch.setenv("PGPASSFILE", "nowhere")
    before = rows(shared)
    url = sa.make_url(shared)._replace(**change).render_as_string(hide_password=False)
    assert message in refusal(nas(words, url))
    assert rows(shared) == before


@pytest.mark.parametrize("role", ["reader", "resting"])
def test_a_read_only_user_can_read_everything(nas, shared, role):
    before = rows(shared)
    for words in READING:
        code, out, err = nas(words, by(role, shared))
        assert (code, err) == (0, ""), words
        assert "tiny" in out or words.split()[0] in ("front", "report")
    assert rows(shared) == before


@pytest.mark.parametrize(
    ("role", "message"),
    [
        ("reader", "role 'reader' may only read it: a worker's role needs SELECT, INSERT, UPDATE"),
        ("resting", "may only be read: it is read-only for this role"),
        ("guest", "permission denied for table"),
    ],
)
@pytest.mark.parametrize("words", WRITING)
def test_a_missing_right_to_write_is_reported(nas, shared, tmp_path, words, role, message):
    before = rows(shared)
    study_file(tmp_path)
    assert message in refusal(nas(words, by(role, shared)))
    assert rows(shared) == before


def test_a_worker_needs_only_the_documented_rights(nas, server, tmp_path):
    text = " ".join((ROOT / "docs" / "workers.md").read_text().split())
    assert "`SELECT, INSERT, UPDATE, DELETE` on the tables and `USAGE` on the sequences" in text
    with postgres.database(server.url) as url:
        with_a_study(url, tmp_path)
        grants = ["SELECT, INSERT, UPDATE, DELETE ON ALL TABLES", "USAGE ON ALL SEQUENCES"]
        with connect(url).begin() as db:
            db.execute(sa.text(f"CREATE ROLE hand LOGIN PASSWORD 'hand-{WORD}'"))
            db.execute(sa.text(f"GRANT {grants[0]} IN SCHEMA public TO hand"))
        assert "USAGE on its sequences" in refusal(nas("worker --study tiny", by("hand", url)))
        with connect(url).begin() as db:
            db.execute(sa.text(f"GRANT {grants[1]} IN SCHEMA public TO hand"))
        store = Store(by("hand", url), write=True)
        search = open_search(store, "tiny")
        store.studies.set_budget(search.id, 2)
        evaluator = Evaluator.open(search.spec, tmp_path)
        assert "2 trainings" in Worker(search, evaluator, lambda text: None).run()
        close(store)
    with connect(server.url).begin() as db:
        db.execute(sa.text("DROP ROLE hand"))


def test_a_missing_right_to_create_tables_is_reported(nas, shared, server, tmp_path):
    study_file(tmp_path)
    with postgres.database(server.url) as empty:
        for words in ("migrate", "create {folder}/tiny.toml"):
            assert "permission denied for schema public" in refusal(nas(words, by("guest", empty)))
        assert rows(empty) == {}


def test_the_owner_has_all_rights(nas, shared):
    """The same command succeeds for the owner, so that the refusals above are due to rights."""
    assert nas("migrate", shared)[0] == 0
    login = sa.make_url(shared)
    spelled = login._replace(password=None).update_query_dict({"password": WORD})
    assert nas("studies", spelled.render_as_string(hide_password=False))[0] == 0


# --- studies


@pytest.fixture
def made(store_url, tmp_path):
    return with_a_study(store_url, tmp_path)


def test_a_study_of_another_search_is_not_continued(nas, made, tmp_path):
    before = rows(made)
    text = (tmp_path / "tiny.toml").read_text()
    (tmp_path / "tiny.toml").write_text(text.replace("hidden = 16", "hidden = 32"))
    for words in ("create {folder}/tiny.toml", "run {folder}/tiny.toml --workers 1"):
        code, out, err = nas(words, made)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert "'tiny' is in the store with other values: space.hidden = [16], not [32]; " in err
    assert rows(made) == before


@pytest.mark.parametrize("trials", [1, 2])
def test_a_study_of_another_program_is_not_continued(nas, store_url, tmp_path, trials):
    close(Store(store_url, create=True))
    storage = RDBStorage(checked_url(store_url).render_as_string(hide_password=False))
    study = optuna.create_study(storage=storage, study_name="tiny", direction="maximize")
    study.optimize(lambda trial: trial.suggest_float("x", 0, 1), n_trials=trials)
    storage.remove_session()
    storage.engine.dispose()
    before = rows(store_url)
    study_file(tmp_path)
    for words in (*WRITING[1:], *READING[1:]):
        code, out, err = nas(words, store_url)
        assert (code, out, len(err.splitlines())) == (2, "", 1), words
        assert "was not made by this service" in err
    assert rows(store_url) == before
    assert nas("create {folder}/tiny.toml --name mine", store_url)[0] == 0


def test_an_unknown_study_is_named(nas, made):
    for words in ("status tinny", "worker --study tinny", "resume tinny", "retrain tinny"):
        code, _, err = nas(words, made)
        assert (code, len(err.splitlines())) == (2, 1)
        assert "no study 'tinny'" in err
