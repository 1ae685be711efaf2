"""The command `nas` in a folder, in the test's process or in a separate one.

In the test's process all is as in production, except that one worker runs in that process, and
trains in it, where `nas run` would start worker processes.
"""

import json
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from nas_service import api
from nas_service.cli.main import main
from nas_service.searches.session import open_search
from nas_service.searches.study_data import open_evaluator
from nas_service.store.store import Store
from nas_service.worker.worker import Worker


def run_worker(address: str, name: str) -> None:
    """Runs a worker of the study to its end, with its trainings in this process."""
    with closing(Store(address)) as store:
        search = open_search(store, name)
        Worker(search, open_evaluator(search, Path()), lambda line: None).run()


class InProcessPool:
    """One worker of this process, where production starts worker processes."""

    def __init__(self, store: Store, words: tuple[str, ...], data: Path, size: int) -> None:
        self.store, self.name, self.data = store, words[words.index("--study") + 1], data

    def run(self, on_line: Callable[[str], None], on_tick: Callable[[], None]) -> None:
        """Runs the study to its end."""
        search = open_search(self.store, self.name)
        worker = Worker(search, open_evaluator(search, self.data), on_line)
        try:
            worker.run()
        finally:
            worker.asked_to_end.set()  # its heartbeat ends


class Folder:
    """A folder with a store, and the command to work in it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.environment = {"NAS_STORAGE": f"sqlite:///{path}/nas.db", "COLUMNS": "1000"}

    def nas(self, *arguments: str) -> tuple[int, str, str]:
        """Runs the command in this process; returns its exit code, output and error output."""
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(self.path)
            patch.setattr(api, "LocalWorkerPool", InProcessPool)
            result = CliRunner().invoke(main, arguments, env=self.environment)
        if not isinstance(result.exception, SystemExit | None):
            raise result.exception
        return result.exit_code, result.stdout, result.stderr

    def json(self, *arguments: str) -> dict[str, Any]:
        """Runs the command with --json; returns the document that it prints."""
        code, out, err = self.nas(*arguments, "--json")
        assert code in (0, 3), err
        document: dict[str, Any] = json.loads(out)
        return document

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Starts the command as a process, as a user does."""
        return subprocess.Popen(
            [sys.executable, "-m", "nas_service", *arguments],
            cwd=self.path,
            env=os.environ | self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """The rows of a query; none while the store or its tables are not there."""
        try:
            with sqlite3.connect(self.path / "nas.db", timeout=90) as db:
                return db.execute(query, values).fetchall()
        except sqlite3.OperationalError:
            return []

    def wait_for(self, query: str, seconds: float = 240) -> list[tuple[Any, ...]]:
        """The rows of a query, once there are some."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if rows := self.rows(query):
                return rows
            time.sleep(0.02)
        raise AssertionError(f"no rows within {seconds} s: {query}")
