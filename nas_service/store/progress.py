"""How far a study is: what its budget has paid for, which limit it has reached, what is promoted.

All functions run in the caller's transaction.
"""

from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from nas_service.store.archive import rung_results
from nas_service.store.failures import Failures, read_failures
from nas_service.store.process_id import machine_prefix
from nas_service.store.records import (
    CONTINUED,
    LIVE,
    PAID,
    STATES,
    UNFINISHED,
    Ended,
    Limits,
    Promote,
    Promotion,
)
from nas_service.store.studies import elapsed_s
from nas_service.store.tables import archive, clock, leases

OTHERS = ("trainings", "begun", "continued", "doubtful", "now_s")  # counts beside the states


@dataclass(frozen=True)
class Progress:
    """How far a study is at one moment."""

    states: Counter[str]  # of its leases
    trainings: int  # paid from the budget
    begun: int  # unfinished trials that may take from the budget
    continued: int  # trials of promoted candidates, which no sampler has proposed
    doubtful: int  # unfinished trials whose worker may be gone, or that have none
    budget: int
    elapsed_s: float  # 0 where it was not asked for
    now_s: float  # the database's time, seconds since 1970
    failures: Failures | None = None  # where more trials failed than the limit allows

    @property
    def idle(self) -> bool:
        """True where no trial is unfinished."""
        return not any(self.states[state] for state in UNFINISHED)

    @property
    def under_way(self) -> int:
        """Number of trials that workers have."""
        return sum(self.states[state] for state in LIVE)

    @property
    def has_room(self) -> bool:
        """True where the budget has room for one more training."""
        return self.trainings + self.begun < self.budget

    def closed(self, limits: Limits) -> bool:
        """True where no training is begun or continued any more."""
        return self._late(limits) or self._too_many_failures(limits)

    def end(self, limits: Limits) -> Ended | None:
        """Which limit the study has reached; None where it has reached none."""
        trainings = self.trainings
        if trainings >= self.budget:
            return Ended("budget", {"trainings": trainings})
        if self.failures is not None and self._too_many_failures(limits):
            where = self.failures.where
            return Ended("failures", {"failed": self.failures.total, "where": where})
        if (proposals := self.states.total() - self.continued) >= limits.proposals:
            return Ended("proposals", {"proposals": proposals, "trainings": trainings})
        if limits.seconds is not None and self._late(limits):
            times = {"elapsed_s": self.elapsed_s, "seconds": limits.seconds}
            return Ended("time", {**times, "trainings": trainings})
        return None

    def _too_many_failures(self, limits: Limits) -> bool:
        return self.failures is not None and self.failures.too_many(limits.failures)

    def _late(self, limits: Limits) -> bool:
        return limits.seconds is not None and self.elapsed_s >= limits.seconds


def read_progress(db: Connection, study_id: int, budget: int, *, timed: bool = False) -> Progress:
    """How far a study is, by one statement, so that a trial that moves on meanwhile counts once.

    Args:
        db: the transaction.
        study_id: the study.
        budget: trainings that the study may spend.
        timed: read the study's clock, too.

    Returns:
        Numbers of leases by state and of trainings, the time and seconds.
    """
    counts, values = _counts(db.dialect.name), {"study_id": study_id, "machine": machine_prefix()}
    row: dict[str, Any] = dict(db.execute(counts, values).mappings().one())
    others = {name: row.pop(name) for name in OTHERS}
    elapsed = elapsed_s(db, study_id) if timed else 0.0
    return Progress(Counter(row), **others, budget=budget, elapsed_s=elapsed)


def with_failures(db: Connection, study_id: int, progress: Progress, limits: Limits) -> Progress:
    """The progress with the failed trials by machine, where more than the limit have failed."""
    if progress.states["failed"] <= limits.failures:
        return progress
    return replace(progress, failures=read_failures(db, study_id))


@cache
def _counts(dialect: str) -> "sa.Select[Any]":
    """Counts of the leases of the study `study_id`, as `Progress` names them, and the time."""
    study_id: Any = sa.bindparam("study_id")
    lease, count = leases.c, sa.func.count()
    paid = sa.and_(archive.c.study_id == study_id, archive.c.outcome.in_(PAID))
    known = lease.digest.in_(sa.select(archive.c.digest).where(paid))
    new = lease.digest.is_(None) | ~known
    columns: dict[str, Any] = {state: count.filter(lease.state == state) for state in STATES}
    columns["begun"] = count.filter(lease.state.in_((*LIVE, "pending")), new)
    columns["continued"] = count.filter(lease.outcome == CONTINUED)
    columns["now_s"] = now_s = clock(dialect)
    machine: Any = sa.bindparam("machine", type_=sa.String)
    doubtful = (lease.deadline < now_s) | lease.worker.startswith(machine)  # or alike: _ and %
    doubtful = (lease.state == "pending") | (lease.state.in_(LIVE) & doubtful)
    columns["doubtful"] = count.filter(doubtful)
    columns["trainings"] = sa.select(count).select_from(archive).where(paid).scalar_subquery()
    named = [column.label(name) for name, column in columns.items()]
    return sa.select(*named).where(lease.study_id == study_id)


def promotion(
    db: Connection, study_id: int, promote: Promote, nothing_else: bool
) -> Promotion | None:
    """The candidate that `promote` chooses now.

    Args:
        db: the transaction.
        study_id: the study.
        promote: chooses from all rung results; candidates in evaluation, failed or diverged are
            excluded.
        nothing_else: True where nothing else is left to do in the study.

    Returns:
        The promotion; None where no candidate is to be continued.
    """
    unfinished = sa.select(leases.c.digest).where(
        leases.c.study_id == study_id,
        leases.c.digest.is_not(None),
        leases.c.state.not_in(("reported", "forgiven")),
    )
    diverged = sa.select(archive.c.digest).where(
        archive.c.study_id == study_id, archive.c.outcome == "diverged"
    )
    excluded = {*db.execute(unfinished).scalars(), *db.execute(diverged).scalars()}
    return promote(rung_results(db, study_id), excluded, nothing_else)
