"""Databases that can be the study store: URLs and passwords, engines, disks under SQLite."""

import logging
import os
import stat
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import make_url

from nas_service.errors import NasError, StoreError
from nas_service.transactions import JoiningStorage

DEFAULT_URL = "sqlite:///nas.db"
BUSY_s = 60  # how long SQLite waits for another writer
NETWORK_DISKS = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "lustre", "ceph", "glusterfs", "9p", "afs"}
NETWORK_DISKS |= {"beegfs", "gpfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "ncpfs"}


def storage_url(flag: str | None, environment: dict[str, str] | os._Environ[str]) -> str:
    """Where the store is: flag, NAS_STORAGE, the file NAS_STORAGE_FILE, ./nas.db."""
    if flag:
        if _password(flag):
            raise NasError("a password on the command line is seen by all: use NAS_STORAGE_FILE")
        return flag
    if url := environment.get("NAS_STORAGE"):
        return url
    if file := environment.get("NAS_STORAGE_FILE"):
        return _url_from_file(Path(file))
    return DEFAULT_URL


def _password(url: str) -> bool:
    try:
        parsed = make_url(url)
    except sa.exc.ArgumentError:
        return False
    return bool(parsed.password) or "password" in parsed.query


def _url_from_file(path: Path) -> str:
    try:
        mode = path.stat().st_mode
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise StoreError(f"NAS_STORAGE_FILE {path}: {error}") from error
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise StoreError(f"NAS_STORAGE_FILE {path}: readable by all; chmod 600 it")
    return text


def redacted(url: sa.URL) -> str:
    """The URL without password and without query, for messages."""
    return url.set(query={}).render_as_string(hide_password=True)


def checked_url(text: str) -> sa.URL:
    try:
        url = make_url(text)
    except sa.exc.ArgumentError:
        raise StoreError("the storage is no database URL, such as sqlite:///nas.db") from None
    backend = url.get_backend_name()
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if backend != "sqlite":
        raise StoreError(f"{backend} cannot be the store: SQLite or PostgreSQL can")
    if not url.database or url.database == ":memory:":
        raise StoreError("SQLite in memory would be lost: give a file, sqlite:///nas.db")
    return url


def check_file(url: sa.URL, create: bool, any_disk: bool) -> None:
    path = Path(str(url.database)).absolute()
    if not path.parent.is_dir():
        raise StoreError(f"{path}: its folder does not exist")
    if not create and not path.exists():
        raise StoreError(f"{path}: no such file")
    kind = disk_kind(path.parent)
    if kind in NETWORK_DISKS and not any_disk:
        raise StoreError(
            f"{path} lies on a network disk ({kind}), where SQLite loses data: use PostgreSQL, "
            "or force it with --any-disk"
        )


def disk_kind(folder: Path, mounts: Path = Path("/proc/self/mounts")) -> str:
    """File system that a folder lies on, as the kernel names it; empty where it does not say."""
    try:
        lines = [line.split(" ") for line in mounts.read_text().splitlines()]
    except OSError:
        return ""
    inside = [(p, kind) for _, p, kind, *_ in lines if folder.is_relative_to(_unescaped(p))]
    return max(inside, key=lambda entry: len(entry[0]), default=("", ""))[1]


def _unescaped(path: str) -> str:
    return path.replace("\\040", " ")


def optuna_storage(url: sa.URL) -> JoiningStorage:
    """Optuna's storage there; its engine is that of our tables too."""
    logging.getLogger("optuna").setLevel(logging.WARNING)
    text = url.render_as_string(hide_password=False)
    if url.get_backend_name() != "sqlite":
        return JoiningStorage(text, engine_kwargs={"pool_pre_ping": True})
    storage = JoiningStorage(text, engine_kwargs={"connect_args": {"timeout": BUSY_s}})
    storage.engine.dispose()  # its connections so far do not know the next line
    sa.event.listen(storage.engine, "connect", _prepare_sqlite)
    return storage


def _prepare_sqlite(connection: Any, _: object) -> None:
    """Readers beside one writer, and no wait for the disk at each commit: a killed process loses
    nothing, a power cut at most the last commits, and never the database's consistency."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")


def first_line(error: BaseException) -> str:
    original = getattr(error, "orig", None) or error
    return (str(original).strip().splitlines() or [type(original).__name__])[0][:200]
