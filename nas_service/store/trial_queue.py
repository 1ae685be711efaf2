"""The queue of one study for one worker: trials are claimed, kept, given back and finished."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from nas_service.errors import LeaseLost
from nas_service.metrics import Evaluation
from nas_service.store import archive, attempts, leases
from nas_service.store.claims import OpenClaim
from nas_service.store.progress import Progress, promotion, read_progress, with_failures
from nas_service.store.records import (
    LIVE,
    REASON,
    ArchiveReceipt,
    Ask,
    Claim,
    Claimed,
    Ended,
    Lease,
    Limits,
    Promote,
    ResultKind,
    Unreported,
    Wait,
)
from nas_service.store.store import Store
from nas_service.store.studies import advance_clock
from nas_service.store.tables import leases as table
from nas_service.store.tables import now
from nas_service.store.trial_writer import write_together

CRASH_DELAY_s = 10.0  # before which a worker may not reclaim a trial that it crashed on


@dataclass(frozen=True)
class TrialQueue:
    """The trials of one study, as one worker sees them.

    Attributes:
        store: the store.
        study_id: the study.
        worker: name of the worker's process, see `process_id`; empty for a caller that claims none.
    """

    store: Store
    study_id: int
    worker: str = ""

    def claim(
        self,
        limits: Limits,
        ask: Ask,
        *,
        promote: Promote | None = None,
        ended: Ended | None = None,
        again: bool = False,
    ) -> Claim:
        """The right to one trial.

        Trials that have lost their worker come first, then the candidate that `promote` chooses,
        then a new proposal, while limits and the number of trainings leave room for one.

        Args:
            limits: the study's.
            ask: makes a new trial, in the transaction of the claim.
            promote: chooses candidates whose training is continued, in successive halving.
            ended: why the caller ends the study, whatever its limits.
            again: the reply to an earlier claim was lost: its trial is returned again.

        Returns:
            A lease, the reason why the study has ended, or that the worker has to wait.
        """
        with self.store.exclusive(self.study_id) as db:
            study = self._progress(db)
            claim = OpenClaim(db, self.study_id, self.worker, study.now_s, self.store.lease_s)
            if again and (lease := claim.held_lease()) is not None:
                return Claimed(lease)
            if limits.seconds is not None:
                study = replace(study, elapsed_s=advance_clock(db, self.study_id, study.now_s))
            lost = claim.reclaimable() if study.doubtful else []
            if (lease := claim.reclaimed(lost, limits.attempts)) is not None:
                return Claimed(lease)
            if lost:  # each of them has failed for good
                study = replace(self._progress(db), elapsed_s=study.elapsed_s)
            return claim.new_trial(study, limits, ask, promote, ended)

    def end(
        self, limits: Limits, *, promote: Promote | None = None, ended: Ended | None = None
    ) -> Ended | Wait | None:
        """Why no trial begins any more; None while one may begin, Wait while trials run.

        Args:
            limits: the study's.
            promote, ended: as in `claim`.
        """
        with self.store.transactions.begin() as db:
            progress = with_failures(db, self.study_id, self._progress(db, limits), limits)
            if not progress.idle:
                return Wait()
            end = progress.end(limits) or ended
            if promote is None or progress.closed(limits):
                return end
            last_resort = end is not None
            return None if promotion(db, self.study_id, promote, last_resort) else end

    def _progress(self, db: Connection, limits: Limits | None = None) -> Progress:
        budget = int(self.store.studies.row(db, self.study_id)["trainings"])
        timed = limits is not None and limits.seconds is not None
        return read_progress(db, self.study_id, budget, timed=timed)

    def enqueue(self, trial: int, digest: str) -> None:
        """Leaves a running trial of a known candidate to the next claim, unless it has a lease.

        Args:
            trial: number of the trial.
            digest: of its candidate.
        """
        with self.store.exclusive(self.study_id) as db:
            this = (table.c.study_id == self.study_id, table.c.trial == trial)
            if not leases.exists(db, *this):
                leases.enqueue(db, self.study_id, trial, digest)

    def recover_orphans(self, running: Mapping[int, str | None]) -> None:
        """Leaves running trials that have no lease to the next claim.

        Args:
            running: numbers of Optuna's running trials, with the digest of those that continue a
                known candidate. Of the others as many are left as the budget has room for.
        """
        with self.store.exclusive(self.study_id) as db:
            these = (table.c.study_id == self.study_id, table.c.trial.in_(list(running)))
            leased = set(db.execute(sa.select(table.c.trial).where(*these)).scalars())
            progress = self._progress(db)
            room = progress.budget - progress.trainings - progress.begun
            for number in sorted(running.keys() - leased):
                known = running[number] is not None
                if known or room > 0:
                    leases.enqueue(db, self.study_id, number, running[number])
                    room -= not known

    # --- a claimed trial

    def begin_training(self, lease: Lease, digest: str) -> tuple[bool, Evaluation | None]:
        """Names the trial's candidate before its training.

        Args:
            lease: of the trial.
            digest: of its candidate.

        Returns:
            False where another trial evaluates the same candidate, whose result this one awaits;
            and the candidate's evaluation so far, which another worker may have added a moment ago.

        Raises:
            LeaseLost: another worker has the trial.
        """
        with self.store.transactions.candidate_lock(self.study_id, digest) as db:
            other, known = leases.candidate(db, self.study_id, lease, digest)
            state = "awaiting_duplicate" if other else "training"
            this = (*leases.same_attempt(lease), table.c.state.in_((*LIVE, "awaiting_duplicate")))
            if not leases.update(db, *this, state=state, digest=digest):
                raise LeaseLost(f"trial {lease.trial}: its lease is lost")
            if other:
                attempts.end(db, lease, "from_archive")
            return not other, archive.parsed(known)

    def renew(self, lease: Lease) -> bool:
        """Extends the lease; False if another worker has it by now."""
        with self.store.transactions.begin() as db:
            deadline = now(db) + self.store.lease_s
            return leases.update(db, *leases.held(lease, self.worker), deadline=deadline) == 1

    def release(self, lease: Lease, to_others: bool = False) -> None:
        """Gives an unfinished trial back, perhaps to others only for a while; no attempt failed."""
        with self.store.exclusive(self.study_id) as db:
            deadline = now(db) + CRASH_DELAY_s if to_others else 0.0
            held = leases.held(lease, self.worker)
            if leases.update(db, *held, state="pending", deadline=deadline):
                attempts.end(db, lease, "released", reason=None)

    def crashed(
        self, lease: Lease, reason: str, max_attempts: int, out_of_memory: bool = False
    ) -> None:
        """The trial has ended its training process: another worker tries it again.

        Args:
            lease: of the trial.
            reason: how the process ended.
            max_attempts: failed attempts after which the trial fails.
            out_of_memory: the process ended because memory ran out.
        """
        with self.store.exclusive(self.study_id) as db:
            if leases.exists(db, *leases.held(lease, self.worker)):
                kind: ResultKind = "oom" if out_of_memory else "crashed"
                attempts.end(db, lease, kind, reason=reason[:REASON])
                deadline = now(db) + min(CRASH_DELAY_s, self.store.lease_s)
                leases.requeue(db, self.study_id, lease, reason, max_attempts, deadline)

    def out_of_memory(self, lease: Lease) -> int:
        """Number of attempts at the trial that ran out of memory."""
        with self.store.transactions.begin() as db:
            return attempts.out_of_memory(db, lease.id)

    def fail(self, lease: Lease, reason: str) -> None:
        """Ends a trial without a result, unless another worker has it by now.

        Args:
            lease: of the trial.
            reason: why the trial failed; its first REASON characters are kept.
        """
        with self.store.exclusive(self.study_id) as db:
            if leases.exists(db, *leases.same_attempt(lease), table.c.state.in_(LIVE)):
                attempts.end(db, lease, "failed", reason=reason[:REASON])
                leases.fail(db, self.study_id, lease.id, reason)

    # --- results

    def archive_result(
        self, lease: Lease, evaluation: Evaluation, *, at_rung: bool = False, reported: bool = False
    ) -> ArchiveReceipt | None:
        """Keeps a trial's result, once; the same result of the same attempt may come again.

        Args:
            lease: of the trial.
            evaluation: the result.
            at_rung: keep its metrics as those of a rung, too.
            reported: the caller reports the result to Optuna in the same transaction.

        Returns:
            What was kept; None if another worker has the trial by now. Such a late result is kept
            in the history of attempts alone.
        """
        digest = evaluation.architecture.digest
        text = json.dumps(evaluation.to_json(), allow_nan=False)
        result = hashlib.sha256(text.encode()).hexdigest()
        with self.store.transactions.candidate_lock(self.study_id, digest) as db:
            row = leases.with_duplicates(db, self.study_id, lease, digest)
            followed = row is not None and row["duplicates"] > 0
            if row is None or not leases.still_owned(row, lease, self.worker):
                if row is not None and attempts.result(db, lease) == result:
                    return ArchiveReceipt(row["outcome"], followed)
                attempts.end_late(db, lease, self.worker, result=result, evaluation=text)
                return None
            outcome, writes = archive.keeping(
                self.study_id, lease.trial, evaluation, text, row["known"], at_rung
            )
            values = {"outcome": outcome, "digest": digest, "worker": self.worker}
            values["state"] = "reported" if reported else "archived"
            own = leases.updating(leases.is_lease(lease.id), **values)
            write_together(db, *writes, own, attempts.ending(db, lease, "won", result=result))
            return ArchiveReceipt(outcome, followed)

    def complete_from_archive(self, lease: Lease) -> None:
        """Ends a trial whose candidate is known, in the transaction that reports it to Optuna."""
        with self.store.transactions.writing() as db:
            values = {"state": "reported", "outcome": "cached", "worker": self.worker}
            own = leases.updating(leases.is_lease(lease.id), **values)
            write_together(db, own, attempts.ending(db, lease, "from_archive"))

    def unreported(self) -> list[Unreported]:
        """Trials whose result or failure Optuna may not know, for this worker to report.

        They are its own, or those of workers that are gone.
        """
        query = leases.unreported(self.study_id)
        with self.store.transactions.begin() as db:
            if db.execute(query).first() is None:
                return []
        with self.store.exclusive(self.study_id) as db:
            now_s = now(db)
            rows = db.execute(query).mappings().all()
            rows = [r for r in rows if leases.is_free(r, now_s, self.worker)]
            these = table.c.lease_id.in_([r["lease_id"] for r in rows])
            leases.update(db, these, worker=self.worker, deadline=now_s + self.store.lease_s)
        return [leases.unreported_of(r) for r in rows]

    def result_reported(self, lease_id: int, outcome: str) -> None:
        """Records that Optuna has the trial's result, reported with this outcome."""
        with self.store.transactions.begin() as db:
            leases.update(db, leases.is_lease(lease_id), state="reported", outcome=outcome)

    def failure_reported(self, lease_id: int) -> None:
        """Optuna knows the failure of this trial now; a negative deadline says so."""
        with self.store.transactions.begin() as db:
            leases.update(db, leases.is_lease(lease_id), deadline=-1.0)
