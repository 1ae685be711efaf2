"""Whether a study has changed since it was read."""

import hashlib

import sqlalchemy as sa

from nas_service.store.leases import live_workers
from nas_service.store.tables import archive, leases, studies
from nas_service.store.transactions import Transactions


def revision(transactions: Transactions, study_id: int) -> str:
    """A hash that changes with the study: its trials, results, workers, budget and settings.

    Args:
        transactions: Of the store.
        study_id: The study.

    Returns:
        The hash, after a few statements that read no trial.
    """
    lease, c = leases.c, archive.c
    states = sa.select(lease.state, lease.outcome, sa.func.count(lease.lease_id))
    states = states.where(lease.study_id == study_id).group_by(lease.state, lease.outcome)
    known = sa.select(sa.func.count(c.digest), sa.func.count(c.test_accuracy))
    with transactions.begin() as db:
        facts = [
            *sorted(map(str, db.execute(states))),
            db.execute(known.where(c.study_id == study_id)).one(),
            db.execute(sa.select(studies).where(studies.c.study_id == study_id)).first(),
            *live_workers(db, study_id),
        ]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]
