"""The store's password is in nothing that is printed, logged, written or listed."""

import contextlib
import logging
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

import pytest
import sqlalchemy as sa
import tiny
from click.testing import CliRunner
from servers import postgres
from servers.dump import connect, rows

from nas_service.cli.main import main
from nas_service.errors import StoreError
from nas_service.store import schema
from nas_service.store.database import checked_url
from nas_service.store.store import Store

ROOT = Path(__file__).parents[3]
CANARY = "canary/5d%0e:c1"  # with signs that a URL must spell otherwise
SPELLED = "canary%2F5d%250e%3Ac1"
LOGGERS = ("", "sqlalchemy", "alembic", "optuna", "psycopg", "nas_service")


def leaks(text):
    """Whether the text holds the password or a large part of it."""
    return "canary" in text or "5d%" in text or "0e:c1" in text


@pytest.fixture(scope="module")
def server(postgres_programs):
    with postgres.running(CANARY) as running:
        yield running


@pytest.fixture(params=["login", "query"])
def url(request, server):
    """An empty database, in both ways to write a password."""
    with postgres.database(server.url) as text:
        there = sa.make_url(text)
        place = f"127.0.0.1:{there.port}/{there.database}"
        ways = {
            "login": f"postgresql://nas:{SPELLED}@{place}",
            "query": f"postgresql://nas@{place}?password={SPELLED}",
        }
        yield ways[request.param]


def processes():
    """Words of every process of this machine, which `ps -ef` lists."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            yield file.read_bytes().replace(b"\0", b" ").decode(errors="replace")


def nas(words, folder, url, monkeypatch):
    monkeypatch.setenv("NAS_STORAGE", url)
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        done = CliRunner().invoke(main, words.split())
    return done.exit_code, done.output


@pytest.mark.process
def test_local_workers_keep_the_password(server, tmp_path, monkeypatch):
    """They get it through their environment, which no other user sees."""
    started = []

    class Recorded(subprocess.Popen):
        def __init__(self, words, **options):
            started.append(" ".join(map(str, words)))
            super().__init__(words, **options)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    (tmp_path / "tiny.toml").write_text(tiny.QUICK.format(trainings=1))
    with postgres.database(server.url) as url:
        code, output = nas("run tiny.toml --workers 1", tmp_path, url, monkeypatch)
    assert code == 0, output
    assert "report: reports/tiny.html" in output
    assert any("nas_service worker --study tiny" in words for words in started)
    assert not any(map(leaks, [*started, output]))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"tiny.html", "tiny.toml"} <= {path.name for path in files}
    assert not any(leaks(path.read_bytes().decode("latin-1")) for path in files)


@pytest.mark.nightly
@pytest.mark.usefixtures("cold_start")
def test_no_list_of_processes_shows_the_password(server, tmp_path):
    (tmp_path / "tiny.toml").write_text(tiny.QUICK.format(trainings=1))
    with postgres.database(server.url) as url:
        seen, log = listed_while_it_runs(url, tmp_path)
    assert any("nas_service worker --study tiny" in words for words in seen)
    assert not any(map(leaks, [*seen, log]))


def listed_while_it_runs(url, folder):
    """What the processes were called while `nas run` worked, and what it said."""
    command = [sys.executable, "-m", "nas_service", "run", "tiny.toml", "--workers", "1"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NAS_STORAGE": url}
    seen = set()
    with (folder / "output.log").open("w") as log:
        running = subprocess.Popen(command, cwd=folder, env=environment, stdout=log, stderr=log)
        while running.poll() is None:
            seen |= set(processes())
            time.sleep(0.2)
    text = (folder / "output.log").read_text()
    assert running.returncode == 0, text
    return seen, text


def test_a_session_keeps_its_password(url, tmp_path, monkeypatch, caplog):
    for name in LOGGERS:
        caplog.set_level(logging.DEBUG, logger=name)
    (tmp_path / "tiny.toml").write_text(tiny.QUICK.format(trainings=1))
    answers = []
    for words, code in (
        *(("create tiny.toml", 0), ("status tiny", 0), ("front tiny --json", 3), ("studies", 0)),
        *(("report tiny", 0), ("migrate", 0), ("status tinny", 2), ("worker --study tinny", 2)),
        *(("show tiny 9 --json", 2), ("create tiny.toml --seed 7", 2)),
    ):
        result, text = nas(words, tmp_path, url, monkeypatch)
        assert result == code, text
        answers.append(text)
    assert not any(leaks(text) for text in answers)
    assert not leaks((tmp_path / "reports" / "tiny.html").read_text())
    result = rows(url)
    assert (len(result["nas_studies"]), len(result["study_user_attributes"])) == (1, 2)
    assert not leaks(repr(result))
    assert {"sqlalchemy", "psycopg"} <= {record.name.split(".")[0] for record in caplog.records}
    assert not leaks(caplog.text)


# --- what goes wrong


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda url: url.replace("/nas_", "/no_"), 4),
        (lambda url: url.replace("nas:", "nos:").replace("//nas@", "//nos@"), 4),
        (lambda url: url.replace("127.0.0.1", "no.such.host.invalid"), 4),
        (lambda url: f"{url}{'&' if '?' in url else '?'}colour=1", 4),
        (lambda url: url.replace("postgresql", "mysql"), 4),
        (lambda url: url.replace("%2F", "/").replace("%3A", ":"), 4),
        (lambda url: url.replace("%2F", "@"), 4),
        (lambda url: url.replace("nas:", "").replace("@127", ":127"), 4),
    ],
    ids=["database", "user", "host", "option", "kind", "slash", "at", "port"],
)
def test_refusals_keep_the_password(url, change, code, tmp_path, monkeypatch):
    for words in ("studies", "migrate"):
        result, text = nas(words, tmp_path, change(url), monkeypatch)
        assert result in (code, 0)
        assert not leaks(text)


def test_bugs_keep_the_password(url):
    """Tracebacks of unexpected errors, with their causes."""
    store = Store(url, create=True)
    texts = [repr(store.engine), repr(store.url), repr(store.optuna), store.shown]
    with connect(url).begin() as db:
        db.execute(sa.text("DROP SCHEMA public CASCADE"))
    for bug in (
        lambda: store.studies.get("tiny"),
        lambda: store.studies.set_budget(7, 7),
        lambda: store.studies.change_spec(7, CANARY, CANARY),  # a value, which errors do not show
        lambda: schema.check(checked_url(url)),
    ):
        try:
            bug()
        except Exception as error:
            texts.append("".join(traceback.format_exception(error)))
    assert len(texts) == 8
    assert not any(leaks(text) for text in texts)
    store.optuna.remove_session()
    for engine in {store.engine, getattr(store.optuna, "engine", store.engine)}:
        engine.dispose()


def test_the_search_for_secrets_detects_them(url):
    """The search above must find a password that is present."""
    assert leaks(CANARY)
    assert leaks(SPELLED)
    assert leaks(url)
    with pytest.raises(StoreError) as caught:
        schema.check(checked_url(url))
    assert not leaks(str(caught.value))
