"""Retries of transactions while the database is unreachable for a while."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
)

from nas_service.errors import Interrupted, StoreError
from nas_service.store.database import first_line
from nas_service.store.store import Store
from nas_service.worker.telemetry import Telemetry

T = TypeVar("T")

LIMIT_s = 1800.0  # for which a worker waits for its database
FIRST_s, LONGEST_s = 0.2, 10.0  # between two tries
# Errors that SQLite calls operational and that waiting does not repair.
PERMANENT = (
    *("readonly database", "database or disk is full", "not a database"),
    *("no such table", "no such column"),
)


def is_transient(error: BaseException) -> bool:
    """True where the same may succeed later: no connection, a lock, a server that restarts."""
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        return is_transient(error.__cause__)
    if isinstance(error, PendingRollbackError):  # the connection was lost in an open transaction
        return True
    if not isinstance(error, DBAPIError) or is_permanent(error):
        return False
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def is_permanent(error: BaseException) -> bool:
    """True where the database is no store of ours, or can store nothing more."""
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        return is_permanent(error.__cause__)
    return isinstance(error, DBAPIError) and any(text in str(error.orig) for text in PERMANENT)


def is_of_store(error: BaseException) -> bool:
    """True where the database refuses whatever it is given, such as without the right to write."""
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        return is_of_store(error.__cause__)
    return isinstance(error, DBAPIError) and not isinstance(error, DataError | IntegrityError)


class Retry:
    """Repeats one worker's transactions while its store is unreachable.

    Args:
        store: The store.
        asked_to_end: Ends the waiting when it is set.
        on_line: Called with a line when the store becomes unreachable or reachable.
        telemetry: Counts the retries.
    """

    def __init__(
        self,
        store: Store,
        asked_to_end: threading.Event,
        on_line: Callable[[str], None],
        telemetry: Telemetry,
    ) -> None:
        self._store, self._asked_to_end, self._on_line = store, asked_to_end, on_line
        self._telemetry = telemetry

    def call(self, act: Callable[[bool], T]) -> T:
        """Calls `act` until the database answers, and returns its result.

        Args:
            act: Must be safe to repeat, because a try may have succeeded although its reply was
                lost. Its argument is False at the first try and True at later ones.

        Returns:
            What `act` returned.

        Raises:
            StoreError: The database stays unreachable, or refuses for good.
            Interrupted: The worker was asked to end meanwhile.
        """
        start, wait_s, again = time.monotonic(), FIRST_s, False
        while True:
            try:
                result = act(again)
            except Exception as error:
                self._check(error, start)
                reason = first_line(error.__cause__ or error)
            else:
                if again:
                    self._on_line(f"{self._store.shown}: reachable again")
                return result
            if not again:
                self._on_line(f"{self._store.shown}: unreachable ({reason}); trying again")
            again = True
            self._pause(wait_s)
            wait_s = min(2 * wait_s, LONGEST_s)

    def _check(self, error: Exception, start: float) -> None:
        """Raises where no further try helps."""
        reason = first_line(error.__cause__ or error)
        if is_permanent(error):
            raise StoreError(f"{self._store.shown}: {reason}") from error
        if not is_transient(error):
            raise error
        if time.monotonic() - start > LIMIT_s:
            message = f"{self._store.shown}: unreachable for {LIMIT_s:g} s ({reason})"
            raise StoreError(message) from None

    def _pause(self, wait_s: float) -> None:
        self._telemetry.count("database_retries")
        self._store.release_connections()
        if self._asked_to_end.wait(wait_s):
            raise Interrupted("interrupted while the database was unreachable: nothing is lost")

    def once(self, act: Callable[[], object]) -> None:
        """Calls `act` once, and ignores an unreachable database: the lease will run out."""
        try:
            act()
        except Exception as error:
            if not is_transient(error):
                raise
