"""The study store: Optuna's storage and our own tables in one SQL database.

Optuna's trials are the record of proposals. Our tables hold, for each trial, its lease (which
worker has it, until when, at which attempt) and the archive of evaluations by digest. All times
are the database's clock.
"""

import hashlib
import os
from contextlib import AbstractContextManager
from pathlib import Path

from sqlalchemy.engine import Connection

from nas_service.store import schema
from nas_service.store.archive import Archive
from nas_service.store.buffered_storage import BufferedStorage
from nas_service.store.database import database_url, optuna_storage, redacted, store_errors
from nas_service.store.leases import Leases
from nas_service.store.repeats import Repeats
from nas_service.store.studies import Studies

LEASE_s = 60.0  # after which a lease that was not renewed is lost


class Store:
    """One database. Every method is one short transaction; none is open while a network trains.

    Attributes:
        address: as it was given.
        url: address of the database, with its password.
        shown: the same without secrets, for messages.
        lease_s: seconds after which a lease that was not renewed is lost.
        transactions: transactions that our tables and Optuna's share.
        optuna: the storage that Optuna's studies are opened with.
        studies: what our tables know of each study.
    """

    def __init__(
        self, url: str, *, create: bool = False, write: bool = False, any_disk: bool = False
    ) -> None:
        """Opens the store.

        Args:
            url: `sqlite:///FILE` or `postgresql://...`.
            create: make the tables where there are none.
            write: refuse a database that can only be read.
            any_disk: accept an SQLite file on a network disk.

        Raises:
            StoreError: the database cannot be used, or its tables are of another release.
        """
        self.address, self.lease_s = url, LEASE_s
        self.url = database_url(url, create=create, any_disk=any_disk)
        self.shown = redacted(self.url)
        if create:
            from nas_service.store.migration import create as create_tables  # loads Alembic

            create_tables(self.url)
        else:
            schema.check(self.url, write=write)
        with store_errors(self.url):
            storage = optuna_storage(self.url)
        self.transactions = storage.transactions
        self.engine = self.transactions.engine
        self.optuna = BufferedStorage(storage)
        self.transactions.on_commit = self.optuna.on_commit
        self.transactions.on_rollback = self.optuna.on_rollback
        self.studies = Studies(self.transactions, self.optuna, self.shown)

    @property
    def name(self) -> str:
        """A hash of the address without its secrets, different for every store."""
        place = self.url.set(password=None, query={}).render_as_string(hide_password=False)
        return hashlib.sha256(place.encode()).hexdigest()[:16]

    @property
    def artifacts(self) -> Path:
        """Folder of trained weights: NAS_ARTIFACTS, beside an SQLite file, or ./nas-artifacts."""
        if configured := os.environ.get("NAS_ARTIFACTS"):
            return Path(configured)
        file = self.url.database if self.url.get_backend_name() == "sqlite" else None
        return Path(file).with_suffix(".artifacts") if file else Path("nas-artifacts")

    def archive(self, study_id: int) -> Archive:
        """The evaluations of a study's candidates."""
        return Archive(self.transactions, study_id)

    def leases(self, study_id: int) -> Leases:
        """The outcomes and workers of a study's trials, to read."""
        return Leases(self.transactions, study_id)

    def repeats(self, study_id: int) -> Repeats:
        """The repeated trainings of a study's finalists."""
        return Repeats(self.transactions, study_id)

    def exclusive(self, study_id: int) -> AbstractContextManager[Connection]:
        """A transaction that excludes all other exclusive ones on the same study.

        Calls of the store and of Optuna's storage inside it join it.
        """
        return self.transactions.exclusive(study_id)

    def release_connections(self) -> None:
        """Closes idle connections, so that none is open while a network trains."""
        self.engine.dispose()

    def close(self) -> None:
        """Closes every connection."""
        self.optuna.remove_session()
        self.engine.dispose()
