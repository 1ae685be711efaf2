"""The history of attempts: which worker tried each trial, when, and how that ended.

Every function runs in the caller's transaction.
"""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from nas_service.store.records import CONTINUED, PAID, Lease, ResultKind
from nas_service.store.tables import attempts, clock, leases


def begin(db: Connection, study_id: int, lease: Lease, worker: str, now_s: float) -> None:
    """Adds an attempt that begins now.

    Args:
        db: the transaction.
        study_id: the study.
        lease: of the trial, with the number of the attempt.
        worker: name of the worker.
        now_s: the database's time, seconds since 1970.
    """
    row = {"lease_id": lease.id, "attempt": lease.attempt, "study_id": study_id}
    db.execute(attempts.insert().values(**row, worker=worker, started_at=now_s))


def beginning(lease: sa.CTE, study_id: int, worker: str, now_s: float) -> sa.Insert:
    """The statement that adds the attempt of a lease which the same statement adds.

    Args:
        lease: `lease_id` and `attempt` of the new lease.
        study_id: the study.
        worker: name of the worker.
        now_s: the database's time, seconds since 1970.

    Returns:
        The statement, which returns the id of the lease.
    """
    row = {"study_id": study_id, "worker": worker, "started_at": now_s}
    values = [sa.literal(value, attempts.c[name].type) for name, value in row.items()]
    rows = sa.select(lease.c.lease_id, lease.c.attempt, *values)
    names = ["lease_id", "attempt", *row]
    return attempts.insert().from_select(names, rows).returning(attempts.c.lease_id)


def end(db: Connection, lease: Lease, kind: ResultKind, **facts: str | float | None) -> None:
    """Records how an attempt ended, now.

    Args:
        db: the transaction.
        lease: of the trial, with the number of the attempt.
        kind: how it ended.
        facts: values of further columns of the attempt, such as `reason`.
    """
    db.execute(ending(db, lease, kind, **facts))


def ending(
    db: Connection, lease: Lease, kind: ResultKind, **facts: str | float | None
) -> sa.Update:
    """The statement of `end`, with the same arguments."""
    this = (attempts.c.lease_id == lease.id, attempts.c.attempt == lease.attempt)
    values = {"result_kind": kind, "finished_at": clock(db.dialect.name), **facts}
    return attempts.update().where(*this).values(values)


def end_late(db: Connection, lease: Lease, worker: str, **facts: str | None) -> None:
    """Records that a worker's result came too late, if the attempt is its own.

    SQLite gives ids of deleted rows again: the lease may be of another study by now.

    Args:
        db: the transaction.
        lease: of the trial, with the number of the attempt.
        worker: name of the worker.
        facts: values of further columns of the attempt.
    """
    db.execute(ending(db, lease, "late", **facts).where(attempts.c.worker == worker))


def give_up(db: Connection, lease: Lease, worker: str) -> None:
    """Charges nothing to a trial for an attempt that was taken for lost: its worker lives.

    Args:
        db: the transaction.
        lease: of the trial, with the number of the attempt.
        worker: name of the worker.
    """
    this = (attempts.c.lease_id == lease.id, attempts.c.attempt == lease.attempt)
    lost = (attempts.c.worker == worker, attempts.c.result_kind == "lost")
    failed = sa.select(leases.c.lease_id).where(leases.c.state == "failed")  # and stays failed
    query = attempts.update().where(*this, *lost, attempts.c.lease_id.not_in(failed))
    db.execute(query.values(result_kind="released"))


def failed(db: Connection, lease_id: int) -> int:
    """Number of attempts at a trial in which its worker or its training process was lost."""
    return _count(db, lease_id, attempts.c.result_kind.in_(("lost", "crashed", "oom")))


def out_of_memory(db: Connection, lease_id: int) -> int:
    """Number of attempts at a trial whose training process ran out of memory."""
    return _count(db, lease_id, attempts.c.result_kind == "oom")


def note(db: Connection, lease: Lease, reason: str | None) -> None:
    """Keeps a text with an attempt that has not ended."""
    this = (attempts.c.lease_id == lease.id, attempts.c.attempt == lease.attempt)
    open_one = (*this, attempts.c.result_kind.is_(None))
    db.execute(attempts.update().where(*open_one).values(reason=reason))


def reason(db: Connection, lease: Lease) -> str | None:
    """The text that is kept with an attempt."""
    this = (attempts.c.lease_id == lease.id, attempts.c.attempt == lease.attempt)
    text: str | None = db.execute(sa.select(attempts.c.reason).where(*this)).scalar()
    return text


def result(db: Connection, lease: Lease) -> str | None:
    """Digest of the result that this attempt has won with; None where it has not won."""
    these = (attempts.c.lease_id == lease.id, attempts.c.attempt == lease.attempt)
    won = attempts.c.result_kind == "won"
    digest: str | None = db.execute(sa.select(attempts.c.result).where(*these, won)).scalar()
    return digest


def _count(db: Connection, lease_id: int, *where: "sa.ColumnElement[bool]") -> int:
    query = sa.select(sa.func.count()).where(attempts.c.lease_id == lease_id, *where)
    return int(db.execute(query).scalar_one())


def last_durations(db: Connection, study_id: int, count: int = 20) -> list[float]:
    """How long the last trials took that were paid from the budget, from claim to result.

    Args:
        db: the transaction.
        study_id: the study.
        count: at most this many trials.

    Returns:
        Seconds of each, the last first.
    """
    a = attempts.c
    query = sa.select(a.finished_at - a.started_at).join(leases, leases.c.lease_id == a.lease_id)
    query = query.where(
        a.study_id == study_id, a.result_kind == "won", leases.c.outcome.in_((*PAID, CONTINUED))
    )
    return [
        float(s) for s in db.execute(query.order_by(a.finished_at.desc()).limit(count)).scalars()
    ]
