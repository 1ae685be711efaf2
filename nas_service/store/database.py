"""Databases that can be the study store: URLs and passwords, engines, disks under SQLite."""

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from optuna.exceptions import OptunaError
from sqlalchemy.engine import make_url
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from hw_models import FileError
from hw_models.files.text_file import read_text
from nas_service.errors import NasError, StoreError, StoreUnreachable
from nas_service.store.joining_storage import JoiningStorage

DEFAULT_URL = "sqlite:///nas.db"
BUSY_s = 60  # how long SQLite waits for another writer
PREPARE = "prepare_threshold"  # uses of a statement after which psycopg prepares it
ANSWER_s = 10  # how long a server may take to let us in
NETWORK_DISKS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "ceph", "glusterfs", "9p", "afs"}
NETWORK_DISKS |= {"beegfs", "gpfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "ncpfs"}


def storage_url(flag: str | None, environment: dict[str, str] | os._Environ[str]) -> str:
    """URL of the store: flag, NAS_STORAGE, the file NAS_STORAGE_FILE, ./nas.db, in this order.

    Args:
        flag: of the command line, if given.
        environment: variables of the process.

    Returns:
        The URL, which may hold a password.

    Raises:
        NasError: the flag holds a password, which every user of the machine could read.
        StoreError: the file cannot be read, or every user can read it.
    """
    if flag:
        if _password(flag):
            raise NasError("a password on the command line is seen by all: use NAS_STORAGE_FILE")
        return flag
    if url := environment.get("NAS_STORAGE"):
        return url
    if file := environment.get("NAS_STORAGE_FILE"):
        return url_from_file(Path(file), "NAS_STORAGE_FILE")
    return DEFAULT_URL


def _password(url: str) -> bool:
    try:
        parsed = make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        return False
    return bool(parsed.password) or any("password" in key for key in parsed.query)


def url_from_file(path: Path, variable: str) -> str:
    """The storage URL in the file that an environment variable names.

    Args:
        path: the file.
        variable: name of the variable, for errors.

    Returns:
        The URL, which may hold a password.

    Raises:
        StoreError: the file cannot be read, other users have any right to it, or its group can
            write it.
    """
    try:
        text = read_text(path).strip()
    except FileError as error:
        raise StoreError(f"{variable} {error}") from None
    if path.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise StoreError(f"{variable} {path}: readable by all; chmod 600 it")
    try:
        checked_url(text)
    except StoreError as error:
        raise StoreError(f"{variable} {path}: {error}") from None
    return text


def redacted(url: sa.URL) -> str:
    """The URL without password and without query, for messages."""
    return url.set(query={}).render_as_string(hide_password=True)


def database_url(text: str, *, create: bool, any_disk: bool) -> sa.URL:
    """URL of a database that can be the store.

    Args:
        text: the URL as it was given.
        create: accept an SQLite file that does not exist.
        any_disk: accept an SQLite file on a network disk.

    Returns:
        The URL with the driver of this project.

    Raises:
        StoreError: the URL is malformed, of another database, or its file cannot be used.
    """
    url = checked_url(text)
    if url.get_backend_name() == "sqlite":
        check_file(url, create, any_disk)
    return url


def checked_url(text: str) -> sa.URL:
    """The URL with our driver, its password where SQLAlchemy hides it.

    Raises:
        StoreError: It is no URL, or of a database that cannot be the store.
    """
    try:
        url = make_url(text)
    except (sa.exc.ArgumentError, ValueError):  # whose texts may hold parts of a password
        raise StoreError("the storage is no database URL, such as sqlite:///nas.db") from None
    backend = url.get_backend_name()
    if backend == "postgresql":
        if text.count("@") > 1:  # what follows the first would be shown as user, host or database
            raise StoreError("the storage URL has a second @: write %40 for one in a password")
        return _postgres_url(url)
    if backend != "sqlite":
        raise StoreError(
            f"{backend} cannot be the store: SQLite or PostgreSQL can, sqlite:///nas.db or "
            "postgresql://user@host/database"
        )
    if not url.database or url.database == ":memory:":
        raise StoreError("SQLite in memory would be lost: give a file, sqlite:///nas.db")
    return url.set(drivername="sqlite")


def _postgres_url(url: sa.URL) -> sa.URL:
    if url.query.get(PREPARE, "none") != "none":
        raise StoreError(f"{PREPARE} in a storage URL can be none, for PgBouncer before 1.21")
    password = url.query.get("password")
    url = url.set(drivername="postgresql+psycopg").difference_update_query(["password"])
    return url.set(password=password) if isinstance(password, str) else url


def check_file(url: sa.URL, create: bool, any_disk: bool) -> None:
    """Checks that an SQLite file can be opened and is safe to use.

    Args:
        url: of the file.
        create: the file may be missing.
        any_disk: allow a file on a network disk.

    Raises:
        StoreError: its folder or, without `create`, the file does not exist, or it lies on a
            network disk.
    """
    path = Path(str(url.database)).absolute()
    if not path.parent.is_dir():
        raise StoreError(f"{path}: its folder does not exist")
    if not create and not path.exists():
        raise StoreError(
            f"{path}: no such file, the store begins with `nas run STUDY.toml` (`nas init` writes "
            "a study); --storage or NAS_STORAGE names another store"
        )
    kind = network_disk(path.parent)
    if kind and not any_disk:
        raise StoreError(
            f"{path} lies on a network disk ({kind}), where SQLite loses data: use PostgreSQL, "
            "or force it with --any-disk"
        )


def network_disk(folder: Path) -> str:
    """The kind of the network disk that a folder lies on; empty for others."""
    kind = disk_kind(folder)
    return kind if kind in NETWORK_DISKS else ""


def disk_kind(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """The file system that a folder lies on.

    Args:
        folder: an absolute path.
        mounts: the kernel's table of mounted file systems.

    Returns:
        The file system's name in the kernel, such as `nfs4`; empty where it cannot be determined.
    """
    try:
        lines = [line.split(" ") for line in mounts.read_text().splitlines()]
    except OSError:
        return ""
    inside = [(p, kind) for _, p, kind, *_ in lines if folder.is_relative_to(_unescaped(p))]
    return max(inside, key=lambda entry: len(entry[0]), default=("", ""))[1]


def _unescaped(path: str) -> str:
    return path.replace("\\040", " ")


def engine_settings(url: sa.URL) -> dict[str, Any]:
    """Settings of every engine: no values in its errors, and no endless wait."""
    if url.get_backend_name() == "sqlite":
        return {"hide_parameters": True, "connect_args": {"timeout": BUSY_s}}
    configured = "connect_timeout" in url.query or "PGCONNECT_TIMEOUT" in os.environ
    settings: dict[str, int | None] = {} if configured else {"connect_timeout": ANSWER_s}
    if PREPARE in url.query:
        settings[PREPARE] = None  # the URL has it as text
    return {"hide_parameters": True, "pool_pre_ping": True, "connect_args": settings}


def optuna_storage(url: sa.URL) -> JoiningStorage:
    """Optuna's storage in a database whose tables were checked; our tables share its engine."""
    logging.getLogger("optuna").setLevel(logging.WARNING)
    storage = JoiningStorage(
        url.render_as_string(hide_password=False),
        engine_settings(url),
    )
    if url.get_backend_name() == "sqlite":
        sa.event.listen(storage.engine, "connect", _prepare_sqlite)
    return storage


def _prepare_sqlite(connection: Any, _: object) -> None:
    """Lets readers run while one process writes, and commits without waiting for the disk.

    A killed process loses nothing, a power cut at most the last commits, and never the database's
    consistency.
    """
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def first_line(error: BaseException) -> str:
    """The database's own message: its first line, or two where that one ends in a colon."""
    while isinstance(error, OptunaError) and error.__cause__ is not None:
        error = error.__cause__
    original = getattr(error, "orig", None) or error
    lines = [line.strip() for line in str(original).splitlines() if line.strip()]
    if not lines:
        return type(original).__name__
    return " ".join(lines[: 2 if lines[0].endswith(":") else 1])[:200]


@contextmanager
def store_errors(url: sa.URL) -> Iterator[None]:
    """Turns every error of a database into a StoreError of one line.

    Args:
        url: Of the database; the message shows it without its password.

    Yields:
        Nothing; the block may use the database.

    Raises:
        StoreError: The block inside raised it, or an error of a database.
    """
    try:
        yield
    except StoreError as error:
        raise StoreError(f"{redacted(url)}: {error}") from None
    except (SQLAlchemyError, OptunaError, RuntimeError, OSError, ValueError) as error:
        kind = StoreUnreachable if isinstance(error, OperationalError) else StoreError
        raise kind(f"{redacted(url)}: cannot be used ({first_line(error)})") from None
