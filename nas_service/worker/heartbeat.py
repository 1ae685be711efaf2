"""The lease of the trial that a worker evaluates: renewed by a thread until the trial is done."""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from functools import partial

from nas_service.errors import Interrupted, LeaseLost
from nas_service.store.memory_notes import note
from nas_service.store.records import Lease
from nas_service.worker.assignment import Assignment
from nas_service.worker.memory_watch import MemoryWatch

RELEASE_AFTER_s = 2.0  # of a training its idle database connections are closed

log = logging.getLogger(__name__)


class Heartbeat:
    """Renews the current lease, and knows whether the worker still has the trial."""

    def __init__(self, assignment: Assignment) -> None:
        self._assignment = assignment
        self._lease: Lease | None = None
        self._renewed = 0.0  # when the lease was, on this machine's monotonic clock
        self._lost = self._training = False
        self._memory = MemoryWatch()

    def start(self) -> None:
        """Starts the thread, which ends when the worker is asked to end."""
        threading.Thread(target=self._beat, daemon=True).start()

    def hold(self, lease: Lease) -> None:
        """Renews this lease, which has just begun, from now on."""
        self._lease, self._lost, self._renewed = lease, False, time.monotonic()
        self._assignment.telemetry.set_fields(trial=lease.trial)

    def drop(self) -> None:
        """Renews no lease any more."""
        self._lease = None
        self._assignment.telemetry.set_fields(trial=None)

    def age_s(self) -> float:
        """Seconds since the current lease was renewed; 0 without a lease."""
        return 0.0 if self._lease is None else time.monotonic() - self._renewed

    def check_interrupt(self) -> None:
        """Called by a training between batches.

        Raises:
            Interrupted: The worker was asked to end.
            LeaseLost: Another worker may have the trial.
        """
        if self._assignment.asked_to_end.is_set():
            raise Interrupted("interrupted: the current trial was released; run again to continue")
        lease = self._lease
        if lease is not None and (self._lost or self.age_s() > self._lease_s):
            raise LeaseLost(f"trial {lease.trial}: its lease is lost")
        if lease is not None and self._training:
            self._memory.check(partial(self._note, lease))

    def _note(self, lease: Lease, text: str | None) -> None:
        """Keeps a note in the store where it can be reached."""
        try:
            note(self._assignment.search.store, lease, text)
        except Exception as error:
            log.warning("little memory is left, which is not noted: %s", type(error).__name__)

    @contextlib.contextmanager
    def training(self) -> Iterator[None]:
        """Keeps no database connection open inside, except for a moment."""
        release = self._assignment.search.store.release_connections
        timer = threading.Timer(RELEASE_AFTER_s, release)
        timer.daemon = self._training = True
        self._memory.begin()
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self._training = False

    @property
    def _lease_s(self) -> float:
        return self._assignment.search.store.lease_s

    def _beat(self) -> None:
        """Renews the lease four times in its length; an unreachable store only delays it."""
        while not self._assignment.asked_to_end.wait(self._lease_s / 4):
            lease = self._lease
            try:
                if lease is not None:
                    self._renew(lease)
            except Exception as error:  # the next renewal may succeed
                log.warning("lease not renewed: %s", type(error).__name__)

    def _renew(self, lease: Lease) -> None:
        search = self._assignment.search
        if self._assignment.queue.renew(lease):
            self._renewed = time.monotonic()
        elif lease is self._lease:
            self._lost = True
        if search.spec.search.seconds is not None:
            search.store.studies.advance_clock(search.id)
        if self._training:
            search.store.release_connections()
