"""The studies of a store as the dashboard's own pages show them, read again when they change."""

import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from nas_service.dashboard.answers import NotThere
from nas_service.searches.results import Result, read
from nas_service.searches.session import open_search
from nas_service.store.records import StudyName
from nas_service.store.revision import revision
from nas_service.store.store import Store

KEPT = 24  # studies, and computed answers, that stay in memory
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class ShownStudy:
    """A study as it was at one revision."""

    id: int
    revision: str
    result: Result
    workers: int  # alive
    budget: int  # trainings
    failures: dict[int, str]  # reasons by trial

    @property
    def name(self) -> str:
        """The study's name."""
        return self.result.spec.name

    @cached_property
    def measured(self) -> int:
        """Number of candidates that trials of the study measured."""
        return sum(c.measured for c in self.result.candidates)

    @cached_property
    def feasible_share(self) -> float | None:
        """Share of these that keep every budget, 0..1; None where there are none."""
        return len(self.result.feasible) / self.measured if self.measured else None

    @property
    def state(self) -> str:
        """What happens to the study now, in one or two words."""
        if self.workers:
            return "running"
        return "finished" if self.result.counts["trained"] >= self.budget else "no worker"


class Memory:
    """The newest answers by key. One at a time is computed, so that requests cannot pile up."""

    def __init__(self, size: int = KEPT) -> None:
        self._values: dict[Hashable, Any] = {}
        self._size, self._lock = size, threading.RLock()

    def get(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The value of a key, computed where it is not known."""
        known = self._values
        if key not in known:
            with self._lock:
                if key not in self._values:
                    newest = list(self._values.items())[1 - self._size :]
                    self._values = dict([*newest, (key, compute())])
                known = self._values
        value: T = known[key]
        return value


class Studies:
    """The studies of one store."""

    def __init__(self, store: Store) -> None:
        self._store, self._read = store, Memory()

    def listed(self) -> Sequence[StudyName]:
        """All studies of the database, the newest first."""
        return self._store.studies.listed()

    def revision(self, study_id: int) -> str:
        """A hash that changes with the study."""
        return revision(self._store.transactions, study_id)

    def get(self, study_id: int) -> ShownStudy:
        """A study of this service as it is now.

        Raises:
            NotThere: There is none of this number, or another program made it.
            StudyError: It cannot be read.
        """
        named = next((s for s in self.listed() if s.id == study_id), None)
        if named is None:
            raise NotThere(f"the store has no study {study_id}")
        if not named.is_ours:
            raise NotThere(f"study {study_id} was made by another program")
        now = self.revision(study_id)
        key = (study_id, named.name, now)
        return self._read.get(key, lambda: self._shown(named, now))

    def _shown(self, named: StudyName, now: str) -> ShownStudy:
        search = open_search(self._store, named.name, to_read=True)
        leases = self._store.leases(named.id)
        return ShownStudy(
            named.id,
            now,
            read(search),
            len(leases.workers()),
            self._store.studies.budget(named.id),
            leases.failures(),
        )
