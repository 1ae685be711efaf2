"""A database that is away for a while: what was begun is tried again until it is back."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, PendingRollbackError

from nas_service.errors import Interrupted, StoreError
from nas_service.store.database import first_line
from nas_service.store.store import Store
from nas_service.worker.telemetry import Telemetry

T = TypeVar("T")

PATIENCE_s = 1800.0  # for how long a worker waits for its database
FIRST_s, LONGEST_s = 0.2, 10.0  # between two tries
# What SQLite calls operational and no waiting mends.
FOR_GOOD = (
    *("readonly database", "database or disk is full", "not a database"),
    *("no such table", "no such column"),
)


def away(error: BaseException) -> bool:
    """True where the same may succeed later: no connection, a lock, a server that restarts."""
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        return away(error.__cause__)
    if isinstance(error, PendingRollbackError):  # of who went on behind a lost connection
        return True
    if not isinstance(error, DBAPIError):
        return False
    if for_good(error):
        return False
    return error.connection_invalidated or isinstance(error, OperationalError | InterfaceError)


def for_good(error: BaseException) -> bool:
    """True where the database says that it is no store, or can keep nothing more."""
    if isinstance(error, StorageInternalError) and error.__cause__ is not None:
        return for_good(error.__cause__)
    return isinstance(error, DBAPIError) and any(said in str(error.orig) for said in FOR_GOOD)


class Retry:
    """How one worker meets outages of its store."""

    def __init__(
        self,
        store: Store,
        asked_to_end: threading.Event,
        report: Callable[[str], None],
        telemetry: Telemetry,
    ) -> None:
        self._store, self._asked_to_end, self._report = store, asked_to_end, report
        self._telemetry = telemetry

    def call(self, act: Callable[[bool], T]) -> T:
        """What `act` returns, tried until the database is there; it hears whether it is again.

        Each try must be one that may have succeeded before without a reply. StoreError where the
        database stays away, or where no waiting helps; Interrupted when asked to end meanwhile.
        """
        since, wait_s, again = time.monotonic(), FIRST_s, False
        while True:
            try:
                found = act(again)
            except Exception as error:
                said = first_line(error.__cause__ or error)
                if not away(error):
                    if for_good(error):
                        raise StoreError(f"{self._store.shown}: {said}") from error
                    raise
                if time.monotonic() - since > PATIENCE_s:
                    raise StoreError(f"{self._store.shown}: away for too long ({said})") from None
            else:
                if again:
                    self._report(f"{self._store.shown}: is there again")
                return found
            if not again:
                self._report(f"{self._store.shown}: is away ({said}); trying again")
            again = True
            self._telemetry.count("database_retries")
            self._store.rest()
            if self._asked_to_end.wait(wait_s):
                raise Interrupted("interrupted while the database was away: nothing is lost")
            wait_s = min(2 * wait_s, LONGEST_s)

    def once(self, act: Callable[[], object]) -> None:
        """Acts if the database is there; what is left undone ends with its lease."""
        try:
            act()
        except Exception as error:
            if not away(error):
                raise
