"""One claim, inside its transaction: which trial a worker gets."""

from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from nas_service.store import attempts, leases
from nas_service.store.memory_notes import killed_for_memory
from nas_service.store.progress import Progress, promotion, read_progress, with_failures
from nas_service.store.records import (
    LIVE,
    Ask,
    Claim,
    Claimed,
    Ended,
    Lease,
    Limits,
    Promote,
    Promotion,
    ResultKind,
    Wait,
)
from nas_service.store.tables import leases as table
from nas_service.store.tables import of_study


def without_lock(
    db: Connection, study_id: int, worker: str, budget: int, limits: Limits
) -> Ended | Wait | None:
    """What a claim would answer, asked without a lock, in a study without successive halving.

    Args:
        db: a transaction.
        study_id: the study.
        worker: name of the worker that would claim.
        budget: trainings that the study may spend.
        limits: the study's.

    Returns:
        The end of the study, or that the worker has to wait; None where a claim may give a trial.
    """
    study = read_progress(db, study_id, budget)
    end = study.end(limits)
    if study.idle or (study.has_room and end is None):
        return end
    lost = study.doubtful > 0 and leases.without_worker(db, study_id, worker, study.now_s)
    return None if lost else Wait(study.under_way)


@dataclass(frozen=True)
class OpenClaim:
    """A claim whose transaction is open.

    Attributes:
        db: the transaction, which excludes all other claims of the study.
        study_id: the study.
        worker: name of the worker that claims.
        now_s: the database's time.
        lease_s: for how long a lease is given.
    """

    db: Connection
    study_id: int
    worker: str
    now_s: float
    lease_s: float

    def held_lease(self) -> Lease | None:
        """The lease that this worker holds already."""
        ours = (table.c.worker == self.worker, table.c.state.in_(LIVE))
        row = self.db.execute(of_study(table, self.study_id).where(*ours)).mappings().first()
        return None if row is None else leases.lease_of(row)

    def reclaimable(self) -> list[sa.RowMapping]:
        """Leases that no living worker has, by trial."""
        return leases.reclaimable(self.db, self.study_id, self.worker, self.now_s)

    def reclaimed(self, rows: list[sa.RowMapping], max_attempts: int) -> Lease | None:
        """The first of these trials that may be tried again; the leases of dead workers end."""
        free = [row for row in rows if self._requeue_lost(row, max_attempts)]
        if not free:
            return None
        row = free[0]
        lease = Lease(row["lease_id"], row["trial"], row["attempt"] + 1)
        values = {"state": "proposing", "worker": self.worker, "attempt": lease.attempt}
        deadline = self.now_s + self.lease_s
        leases.update(self.db, leases.is_lease(lease.id), **values, deadline=deadline)
        attempts.begin(self.db, self.study_id, lease, self.worker, self.now_s)
        return lease

    def _requeue_lost(self, row: sa.RowMapping, max_attempts: int) -> bool:
        """True for a trial to be tried again; one that has lost its worker too often fails."""
        if row["state"] == "pending":
            return True
        lease = leases.lease_of(row)
        for_memory = killed_for_memory(self.db, lease)
        kind: ResultKind = "oom" if for_memory else "lost"
        attempts.end(self.db, lease, kind, finished_at=self.now_s)  # before the next one begins
        reason = "its worker was killed for memory" if for_memory else "its worker was lost"
        return leases.requeue(self.db, self.study_id, lease, reason, max_attempts)

    def new_trial(
        self,
        study: Progress,
        limits: Limits,
        ask: Ask,
        promote: Promote | None,
        ended: Ended | None,
    ) -> Claim:
        """Makes a trial: of the candidate that is promoted, else of a new proposal.

        Args:
            study: how far the study is.
            limits: as in `TrialQueue.claim`.
            ask: as in `TrialQueue.claim`.
            promote: as in `TrialQueue.claim`.
            ended: as in `TrialQueue.claim`.

        Returns:
            The claimed trial; Ended where a limit is reached and no trial is unfinished; else Wait.
        """
        study = with_failures(self.db, self.study_id, study, limits)
        end = study.end(limits) or ended
        if promote is not None and not study.closed(limits):
            last_resort = end is not None and study.idle
            chosen = promotion(self.db, self.study_id, promote, last_resort)
            if chosen is not None:
                return self._begin(ask(chosen), chosen)
        if end is not None:
            return end if study.idle else Wait(study.under_way)
        return self._begin(ask(None)) if study.has_room else Wait(study.under_way)

    def _begin(self, trial: int, promotion: Promotion | None = None) -> Claimed:
        """The first attempt at a new trial."""
        row = {"state": "proposing", "deadline": self.now_s + self.lease_s}
        if promotion is not None:
            row |= {"state": "training", "digest": promotion.digest}
        lease = leases.begin(self.db, self.study_id, trial, self.worker, self.now_s, **row)
        return Claimed(lease, promotion)
