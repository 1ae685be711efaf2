"""Trials that a worker gives back because its machine cannot train them."""

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from nas_service.store import attempts, leases
from nas_service.store.machines import machine_of
from nas_service.store.records import REASON, Lease
from nas_service.store.tables import attempts as table
from nas_service.store.trial_queue import TrialQueue


def give_back(queue: TrialQueue, lease: Lease, reason: str, max_attempts: int) -> None:
    """Leaves a trial to other workers, which does not count as a failed attempt.

    A trial that workers of several machines have given back is one that none can train: it fails.

    Args:
        queue: of the worker that has the trial.
        lease: of the trial.
        reason: what the machine lacks.
        max_attempts: times that a trial is given back, by two machines or more, before it fails.
    """
    with queue.store.exclusive(queue.study_id) as db:
        held = leases.held(lease, queue.worker)
        if not leases.exists(db, *held):
            return
        attempts.end(db, lease, "released", reason=reason[:REASON])
        workers = _workers_that_gave_back(db, lease)
        if len(workers) >= max_attempts and len({machine_of(w) for w in workers}) > 1:
            text = f"quarantined: {reason}, given back {len(workers)} times"
            leases.fail(db, queue.study_id, lease.id, text)
        else:
            leases.update(db, *held, state="pending", deadline=0.0)


def _workers_that_gave_back(db: Connection, lease: Lease) -> list[str]:
    """Names of the workers whose machines could not train a trial, one for each attempt."""
    given_back = (table.c.result_kind == "released") & table.c.reason.is_not(None)
    query = sa.select(table.c.worker).where(table.c.lease_id == lease.id, given_back)
    return list(db.execute(query).scalars())
