"""Leases: which worker has which trial, and the outcomes of a study's trials.

All functions run in the caller's transaction.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from optuna.trial import TrialState
from sqlalchemy.engine import Connection

from nas_service.store import attempts
from nas_service.store.process_id import dead_among, is_dead
from nas_service.store.records import FAILED, LIVE, REASON, Lease, ResultKind, Unreported
from nas_service.store.tables import archive, leases, now, of_study
from nas_service.store.tables import attempts as tried
from nas_service.store.transactions import TRIALS, Transactions


@dataclass(frozen=True)
class Leases:
    """The outcomes and workers of one study's trials, to read."""

    transactions: Transactions
    study_id: int

    def outcomes(self) -> dict[int, str]:
        """Trial number -> its outcome, or its state where it has none yet."""
        c = leases.c
        query = sa.select(c.trial, sa.func.coalesce(c.outcome, c.state))
        return dict(self._pairs(query.where(c.trial.is_not(None))))

    def failures(self) -> dict[int, str]:
        """Number of each failed trial -> the reason."""
        query = sa.select(leases.c.trial, leases.c.reason)
        return dict(self._pairs(query.where(leases.c.state.in_(FAILED))))

    def workers(self) -> list[str]:
        """Live workers that have a trial."""
        with self.transactions.begin() as db:
            return live_workers(db, self.study_id)

    def are_missing(self) -> bool:
        """True where Optuna has a running trial that has no lease."""
        running = (TRIALS.c.study_id == self.study_id, TRIALS.c.state == TrialState.RUNNING)
        own = (leases.c.study_id == self.study_id, leases.c.trial == TRIALS.c.number)
        query = sa.select(TRIALS.c.number).where(*running, ~sa.exists().where(*own)).limit(1)
        with self.transactions.begin() as db:
            return db.execute(query).first() is not None

    def last_worker(self, digest: str, *kinds: ResultKind) -> str:
        """Who attempted a candidate last.

        Args:
            digest: of the candidate.
            kinds: how the attempt must have ended.

        Returns:
            Name of the worker; empty where there is no such attempt.
        """
        these = (leases.c.study_id == self.study_id, leases.c.digest == digest)
        query = sa.select(tried.c.worker).join(leases, leases.c.lease_id == tried.c.lease_id)
        query = query.where(*these, tried.c.result_kind.in_(kinds))
        with self.transactions.begin() as db:
            last = db.execute(query.order_by(tried.c.finished_at.desc()).limit(1)).scalar()
        return last or ""

    def digests(self) -> set[str]:
        """Digests of the candidates of all trials, finished or not."""
        this = (leases.c.study_id == self.study_id, leases.c.digest.is_not(None))
        with self.transactions.begin() as db:
            return set(db.execute(sa.select(leases.c.digest).where(*this)).scalars())

    def unfinished(self) -> set[str]:
        """Digests of the candidates whose trials are not finished."""
        query = sa.select(leases.c.digest).where(
            leases.c.study_id == self.study_id,
            leases.c.digest.is_not(None),
            leases.c.state.not_in(("reported", *FAILED)),
        )
        with self.transactions.begin() as db:
            return set(db.execute(query).scalars())

    def _pairs(self, query: "sa.Select[Any]") -> list[tuple[int, str]]:
        with self.transactions.begin() as db:
            rows = db.execute(query.where(leases.c.study_id == self.study_id))
            return [(number, text) for number, text in rows]


# --- rows


def live_workers(db: Connection, study_id: int) -> list[str]:
    """Live workers that have a trial of a study, by name."""
    live = leases.c.state.in_(LIVE) & (leases.c.deadline >= now(db))
    query = sa.select(leases.c.worker).where(leases.c.study_id == study_id, live)
    workers = set(db.execute(query).scalars())
    return sorted(workers - dead_among(workers))


def insert(db: Connection, study_id: int, trial: int, **columns: Any) -> int:
    """Adds the lease of a trial.

    Args:
        db: the transaction.
        study_id: the study.
        trial: number of the trial.
        columns: values of all other columns.

    Returns:
        The id of the lease.
    """
    done = db.execute(leases.insert().values(study_id=study_id, trial=trial, **columns))
    return int(done.inserted_primary_key[0])  # type: ignore[index]


def begin(
    db: Connection, study_id: int, trial: int, worker: str, now_s: float, **columns: Any
) -> Lease:
    """Adds the lease of a trial with its first attempt, on PostgreSQL by one statement.

    Args:
        db: the transaction.
        study_id: the study.
        trial: number of the trial.
        worker: name of the worker.
        now_s: the database's time, seconds since 1970.
        columns: values of all other columns of the lease.

    Returns:
        The lease.
    """
    row = {"worker": worker, "attempt": 1, **columns}
    if db.dialect.name != "postgresql":
        lease = Lease(insert(db, study_id, trial, **row), trial, 1)
        attempts.begin(db, study_id, lease, worker, now_s)
        return lease
    new = leases.insert().values(study_id=study_id, trial=trial, **row)
    added = new.returning(leases.c.lease_id, leases.c.attempt).cte("lease")
    return Lease(
        db.execute(attempts.beginning(added, study_id, worker, now_s)).scalar_one(), trial, 1
    )


def enqueue(db: Connection, study_id: int, trial: int, digest: str | None) -> None:
    """Adds the lease of a trial that waits for its first attempt.

    Args:
        db: the transaction.
        study_id: the study.
        trial: number of the trial.
        digest: of its candidate, where it is known.
    """
    row = {"digest": digest, "state": "pending", "attempt": 0, "worker": "", "deadline": 0.0}
    insert(db, study_id, trial, **row)


def update(db: Connection, *where: "sa.ColumnElement[bool]", **columns: Any) -> int:
    """Changes all leases that meet the conditions.

    Args:
        db: the transaction.
        where: the conditions.
        columns: the new values.

    Returns:
        Number of leases that were changed.
    """
    return db.execute(updating(*where, **columns)).rowcount


def updating(*where: "sa.ColumnElement[bool]", **columns: Any) -> sa.Update:
    """The statement of `update`, with the same arguments."""
    return leases.update().where(*where).values(**columns)


def exists(db: Connection, *where: "sa.ColumnElement[bool]") -> bool:
    """True where any lease meets all conditions."""
    return db.execute(sa.select(leases.c.lease_id).where(*where)).first() is not None


def is_lease(lease_id: int) -> "sa.ColumnElement[bool]":
    """Of one lease, whatever its attempt."""
    return leases.c.lease_id == lease_id


def same_attempt(lease: Lease) -> tuple["sa.ColumnElement[bool]", ...]:
    """Of a lease while no later attempt has begun."""
    return (leases.c.lease_id == lease.id, leases.c.attempt == lease.attempt)


def held(lease: Lease, worker: str) -> tuple["sa.ColumnElement[bool]", ...]:
    """The conditions that a lease meets while its worker holds it.

    Args:
        lease: of a trial, at one attempt.
        worker: name of the worker.

    Returns:
        The conditions, to be joined by `and`.
    """
    return (*same_attempt(lease), leases.c.worker == worker, leases.c.state.in_(LIVE))


def still_owned(row: sa.RowMapping, lease: Lease, worker: str) -> bool:
    """Whether a worker may still report the result of its attempt.

    Args:
        row: the lease as it is stored.
        lease: the worker's lease, at its attempt.
        worker: name of the worker.

    Returns:
        True while no other worker has begun a new attempt, even after the lease's deadline.
    """
    same = (row["attempt"], row["worker"]) == (lease.attempt, worker)
    return same and row["state"] in (*LIVE, "pending")


def is_free(row: sa.RowMapping, now_s: float, worker: str = "") -> bool:
    """True for a lease of `worker` itself, or of no living worker.

    Args:
        row: the lease as it is stored.
        now_s: the database's time, seconds since 1970.
        worker: name of the worker whose own leases count as free.

    Returns:
        Whether the lease may be taken.
    """
    return row["worker"] == worker or row["deadline"] < now_s or is_dead(row["worker"])


# --- trials without a worker


def reclaimable(db: Connection, study_id: int, worker: str, now_s: float) -> list[sa.RowMapping]:
    """Leases that no living worker has, locked, by trial; one that is written to is left out.

    A worker that crashed on a trial may not reclaim it before the trial's deadline.

    Args:
        db: the transaction.
        study_id: the study.
        worker: name of the worker that claims.
        now_s: the database's time, seconds since 1970.

    Returns:
        Rows of the leases.
    """
    free = without_worker(db, study_id, worker, now_s)
    if not free:
        return []
    # its worker may have renewed or ended a lease since it was read, or be about to
    c = leases.c
    locked = sa.select(leases).where(c.lease_id.in_(free), c.state.in_((*LIVE, "pending")))
    locked = locked.order_by(c.trial).with_for_update(skip_locked=True)
    rows = db.execute(locked).mappings().all()
    return _free(rows, worker, now_s)


def without_worker(db: Connection, study_id: int, worker: str, now_s: float) -> list[int]:
    """Ids of the leases that `reclaimable` would lock, with the same arguments."""
    c = leases.c
    query = sa.select(c.lease_id, c.state, c.worker, c.deadline).where(c.study_id == study_id)
    rows = db.execute(query.where(c.state.in_((*LIVE, "pending")))).mappings().all()
    return [row["lease_id"] for row in _free(rows, worker, now_s)]


def _free(rows: Sequence[sa.RowMapping], worker: str, now_s: float) -> list[sa.RowMapping]:
    """Those that a worker may take: no living worker has them."""
    dead = dead_among(row["worker"] for row in rows)

    def may_take(row: sa.RowMapping) -> bool:
        gone = row["worker"] != worker if row["state"] == "pending" else row["worker"] in dead
        return bool(gone or row["deadline"] < now_s)

    return [row for row in rows if may_take(row)]


def lease_of(row: sa.RowMapping) -> Lease:
    """The lease that a row stores."""
    return Lease(row["lease_id"], row["trial"], row["attempt"])


def candidate(db: Connection, study_id: int, lease: Lease, digest: str) -> tuple[bool, str | None]:
    """What other trials know of a candidate; the caller has locked it.

    Args:
        db: the transaction.
        study_id: the study.
        lease: of the trial that has drawn the candidate.
        digest: of the candidate.

    Returns:
        True where another trial evaluates it; and its evaluation so far as JSON, or None.
    """
    c = leases.c
    same = (c.study_id == study_id, c.digest == digest, c.lease_id != lease.id)
    other = sa.exists().where(*same, c.state.in_((*LIVE, "pending", "archived")))
    is_other, known = db.execute(sa.select(other, _known(study_id, digest))).one()
    return bool(is_other), known


def _known(study_id: int, digest: str) -> "sa.ScalarSelect[str]":
    """The candidate's evaluation so far as JSON, as part of a statement."""
    this = (archive.c.study_id == study_id, archive.c.digest == digest)
    return sa.select(archive.c.evaluation).where(*this).scalar_subquery()


def with_duplicates(
    db: Connection, study_id: int, lease: Lease, digest: str
) -> sa.RowMapping | None:
    """A lease's row, locked, with two further columns.

    They are read before the lock, which the caller's lock of the candidate allows.

    Args:
        db: the transaction.
        study_id: the study.
        lease: of the trial.
        digest: of the trial's candidate.

    Returns:
        The row with `duplicates`, the number of trials that await the same candidate's result, and
        `known`, the candidate's evaluation so far as JSON; None where the lease does not exist.
    """
    other = leases.alias()
    same = (other.c.study_id == study_id, other.c.digest == digest)
    count = sa.select(sa.func.count()).where(*same, other.c.state == "awaiting_duplicate")
    known = _known(study_id, digest).label("known")
    columns = (count.scalar_subquery().label("duplicates"), known)
    query = sa.select(leases, *columns).where(is_lease(lease.id))
    return db.execute(query.with_for_update(of=leases)).mappings().first()


def requeue(
    db: Connection,
    study_id: int,
    lease: Lease,
    reason: str,
    max_attempts: int,
    deadline: float = 0.0,
) -> bool:
    """Leaves a trial to the next claim, or fails it after too many failed attempts.

    Args:
        db: the transaction.
        study_id: the study.
        lease: the attempt that failed.
        reason: of the failure.
        max_attempts: failed attempts after which the trial fails.
        deadline: before which the worker that has failed may not reclaim it.

    Returns:
        True where the trial is left to the next claim.
    """
    count = attempts.failed(db, lease.id)
    if count >= max_attempts:
        fail(db, study_id, lease.id, f"quarantined: {reason}, {count} times over")
        return False
    update(db, is_lease(lease.id), state="pending", deadline=deadline)
    return True


def fail(db: Connection, study_id: int, lease_id: int, reason: str) -> None:
    """Ends a trial without a result, and with it the duplicates that await its result.

    Args:
        db: the transaction.
        study_id: the study.
        lease_id: of the trial.
        reason: why the trial failed; its first REASON characters are kept.
    """
    this = is_lease(lease_id)
    digest = db.execute(sa.select(leases.c.digest).where(this)).scalar_one()
    duplicate = sa.and_(leases.c.state == "awaiting_duplicate", leases.c.digest == digest)
    values = {"state": "failed", "outcome": "failed", "reason": reason[:REASON]}
    update(db, leases.c.study_id == study_id, this | duplicate, **values)


# --- results that Optuna does not know


def unreported(study_id: int) -> "sa.Select[Any]":
    """Leases whose result or failure Optuna may not know."""
    known = sa.select(archive.c.digest).where(archive.c.study_id == study_id)
    results = leases.c.state.in_(("archived", "awaiting_duplicate")) & leases.c.digest.in_(known)
    failures = leases.c.state.in_(FAILED) & (leases.c.deadline >= 0)
    return of_study(leases, study_id).where(results | failures)


def unreported_of(row: sa.RowMapping) -> Unreported:
    """The trial of such a lease; one that has awaited another trial's result has no outcome yet."""
    outcome = row["outcome"] or "cached"
    return Unreported(row["lease_id"], row["trial"], row["digest"], outcome, row["reason"])
