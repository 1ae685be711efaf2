"""A private PostgreSQL server for tests and benchmarks, to be stopped and started at will."""

import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

import sqlalchemy as sa

from nas_service.worker import end_signals


def installed() -> bool:
    """True where the server's programs are on this machine."""
    return all(_program(name) for name in ("initdb", "pg_ctl"))


def _program(name: str) -> str | None:
    places = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), reverse=True)
    return shutil.which(name) or next((str(path) for path in places), None)


@dataclass(frozen=True)
class Server:
    """A server of this machine alone. Nothing waits for the disk: a power cut would harm it."""

    folder: Path
    port: int
    password: str = ""  # of its superuser nas; without one, everybody may connect

    @property
    def url(self) -> str:
        password = f":{quote(self.password, safe='')}" if self.password else ""
        return f"postgresql://nas{password}@127.0.0.1:{self.port}/postgres"

    @property
    def is_running(self) -> bool:
        return (self.folder / "data" / "postmaster.pid").exists()

    def start(self) -> None:
        flags = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run("pg_ctl", "-o", flags, "-l", str(self.folder / "log"), "-w", "-t", "180", "start")

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """`immediate` is the end that a crash would be."""
        self._run("pg_ctl", "-m", mode, "-w", "stop")

    def _run(self, name: str, *words: str) -> None:
        program = _program(name)
        if program is None:
            raise FileNotFoundError(f"PostgreSQL's {name} is not installed")
        user = ["runuser", "-u", "nobody", "--"] if os.getuid() == 0 else []  # it refuses root
        command = [*user, program, "-D", str(self.folder / "data"), *words]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd=self.folder)


@contextmanager
def running(password: str = "") -> Iterator[Server]:
    """A new server, which is gone at the end whether it runs by then or not."""
    server = started(Path(tempfile.mkdtemp(prefix="nas-pg-")), password)
    try:
        yield server
    finally:
        remove(server.folder)


@contextmanager
def for_benchmark() -> Iterator[Server]:
    """As `running`; a signal that asks this process to end removes the server before."""
    with end_signals.watched():
        end_signals.interrupt()
        with running() as server:
            yield server


def started(folder: Path, password: str = "") -> Server:
    """Starts a new server whose files are in an empty folder; `remove` ends it."""
    server = Server(folder, free_port(), password)
    words = ["-U", "nas", "-E", "UTF8", "--no-sync", "--auth=trust"]
    if password:
        (folder / "word").write_text(password)
        words[-1:] = ["--auth=scram-sha-256", f"--pwfile={folder / 'word'}"]
    if os.getuid() == 0:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, "nobody")
    try:
        server._run("initdb", *words)
        server.start()
    except BaseException:
        remove(folder)
        raise
    return server


def remove(folder: Path) -> None:
    """Stops the server whose files are there, if it runs, and deletes them."""
    if (server := Server(folder, port=0)).is_running:
        server.stop("immediate")
    shutil.rmtree(folder, ignore_errors=True)


def free_port() -> int:
    """A port below those of outgoing connections, which could take it while the server is down."""
    while True:
        port = 20_000 + secrets.randbelow(12_000)
        with socket.socket() as s, suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


@contextmanager
def database(server_url: str, template: str = "template1") -> Iterator[str]:
    """URL of a new database, a copy of the template; it is deleted at the end."""
    url = sa.make_url(server_url).set(drivername="postgresql+psycopg")
    admin = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    name = f"nas_{uuid.uuid4().hex[:12]}"
    with admin.connect() as db:
        db.execute(sa.text(f"CREATE DATABASE {name} TEMPLATE {template}"))
    try:
        yield url.set(database=name).render_as_string(hide_password=False)
    finally:
        with admin.connect() as db:
            db.execute(sa.text(f"DROP DATABASE {name} WITH (FORCE)"))
