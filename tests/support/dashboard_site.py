"""A dashboard in a separate process, for a small study with a known front."""

import contextlib
import http.client
import io
import json
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from wsgiref.util import setup_testing_defaults

import optuna
from optuna.storages import BaseStorage
from optuna.study import Study

from nas_service.dashboard import server as dashboard

Direction = Literal["minimize", "maximize"]
REPOSITORY = Path(__file__).parents[3]
HOSTILE = "<img src=x onerror=\"document.title='pwned'\"><script>alert(1)</script>\x1b[31mred"
SERVE = """
import sys
import optuna
from nas_service.dashboard.server import serve
storage = optuna.storages.RDBStorage(sys.argv[1])
serve(storage, port=0, on_ready=lambda url: print(url, flush=True))
print("stopped", flush=True)
"""

# accuracy (up), energy in pJ (down), violations of memory_B and energy_J, outcome
TRIALS = [
    ([0.99, 1.0], (0.5, -0.5), "trained"),  # 0: would dominate all, but is too big
    ([0.95, 0.5], (0.2, 0.1), "rejected"),  # 1: would dominate all, but is a guess
    ([0.90, 5.0], (-0.1, 0.0), "trained"),  # 2: on the front
    ([0.80, 2.0], (-0.2, -0.3), "trained"),  # 3: on the front
    ([0.70, 3.0], (-0.2, -0.3), "trained"),  # 4: dominated by 3
    ([0.90, 5.0], (-0.1, 0.0), "cached"),  # 5: trial 2 once more
    ([0.97, 0.4], (-0.9, -0.9), "diverged"),  # 6: would dominate all, but was never trained well
]
FRONT = [2, 3]


def fill(study: Study, trials: list[tuple[list[float], tuple[float, float], str]] = TRIALS) -> None:
    for values, (memory, energy), outcome in trials:
        trial = study.ask()
        trial.suggest_int("channels", 8, 64)
        trial.suggest_categorical("operation", ["skip", "conv3"])
        trial.set_constraint("memory_B", memory)  # the page gets them in the order of the names
        trial.set_constraint("energy_J", energy)
        trial.set_user_attr("outcome", outcome)
        study.tell(trial, values)


def new_study(storage: BaseStorage, name: str, *directions: Direction) -> Study:
    return optuna.create_study(
        storage=storage,
        study_name=name,
        directions=directions,
        sampler=optuna.samplers.RandomSampler(seed=0),
    )


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Site:
    """A dashboard that runs in a separate process, and its database."""

    port: int
    database: Path

    def ask(
        self,
        path: str,
        method: str = "GET",
        host: str | None = None,
        body: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        host = f"127.0.0.1:{self.port}" if host is None else host
        sent = {"Host": host, "Content-Type": "application/json", **(headers or {})}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=90)
        with contextlib.closing(connection):
            connection.request(method, path, body, sent)
            response = connection.getresponse()
            return Answer(response.status, dict(response.getheaders()), response.read())

    def raw(self, request: str) -> bytes:
        """The answer to exactly these bytes."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=90) as connection:
            connection.sendall(request.encode())
            return b"".join(iter(lambda: connection.recv(65536), b""))

    def content(self) -> list[str]:
        """All that the database holds, as SQL."""
        with contextlib.closing(sqlite3.connect(self.database)) as connection:
            return list(connection.iterdump())


@contextlib.contextmanager
def serving(database: Path) -> Iterator[Site]:
    command = [sys.executable, "-c", SERVE, f"sqlite:///{database}"]
    with subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            assert url.startswith("http://127.0.0.1:"), url
            yield Site(int(url.rstrip("/").rsplit(":", 1)[1]), database)
            process.send_signal(signal.SIGINT)
            started = time.monotonic()
            assert process.stdout.readline() == "stopped\n"
            assert time.monotonic() - started < dashboard.IDLE_s / 2
            assert process.wait(timeout=90) == 0
        finally:
            process.kill()


def ask(app: Any, path: str, port: int = 8080, **environ: str) -> Answer:
    """The answer of a WSGI application."""
    environment: dict[str, Any] = {
        "PATH_INFO": path,
        "HTTP_HOST": f"localhost:{port}",
        "wsgi.errors": io.StringIO(),
        **environ,
    }
    setup_testing_defaults(environment)
    started: list[Any] = []
    chunks = app(environment, lambda status, headers, *_: started.extend((status, headers)))
    body = b"".join(chunks)
    getattr(chunks, "close", lambda: None)()  # a file that is served
    return Answer(int(started[0][:3]), dict(started[1]), body)
