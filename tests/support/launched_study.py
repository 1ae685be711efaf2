"""A study in a store, for tests that launch workers, and names that no engine may accept."""

import sqlite3
import time
from pathlib import Path

import tiny
from click.testing import CliRunner

from nas_service.cli.main import main

TRAINING = "select worker from nas_leases where state = 'training'"
TRAINED = "select count(*), count(distinct digest) from nas_archive where outcome = 'trained'"
HOSTILE = [
    "; rm -rf ~",
    "$(id)",
    "`id`",
    "a b",
    "a\nb",
    "'",
    '"',
    "a'b",
    "\\",
    "--wrap=id",
    "",
    "é",
]


class StudyInStore:
    """A folder with a study in a store, and the file that holds the store's URL."""

    def __init__(self, folder: Path, epochs: int, trainings: int) -> None:
        self.folder, self.db = folder, folder / "nas.db"
        self.url = folder / "url"
        self.url.write_text(f"sqlite:///{self.db}")
        self.url.chmod(0o600)
        (folder / "tiny.toml").write_text(tiny.BUDGETED.format(epochs=epochs, trainings=trainings))
        code, output = self.nas("create", str(folder / "tiny.toml"))
        assert code == 0, output

    def nas(self, *words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, words, env={"NAS_STORAGE_FILE": str(self.url)})
        return done.exit_code, done.output

    def rows(self, query: str) -> list[tuple]:
        with sqlite3.connect(self.db, timeout=90) as db:
            return db.execute(query).fetchall()


def wait_until(true, seconds: float = 180.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
