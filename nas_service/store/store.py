"""The study store: Optuna's storage and our own tables in one SQL database.

Optuna's trials are the record of proposals. Beside them stand, for each trial, its lease (who
works on it, until when, at which attempt, how it ended) and the archive of evaluations by digest.
All times are the database's clock.
"""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import optuna
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from nas_service.errors import LeaseLost, StudyError
from nas_service.metrics import MEASURED, Evaluation, measure
from nas_service.store import schema
from nas_service.store.buffered_storage import BufferedStorage
from nas_service.store.database import database_url, optuna_storage, redacted, said
from nas_service.store.process_id import dead
from nas_service.store.tables import (
    SCHEMA_VERSION,
    archive,
    attempts,
    clocks,
    leases,
    repeats,
    rungs,
    starts,
    studies,
)

LEASE_s = 60.0  # a lease that is not renewed for so long is lost
BREAK_s = 60.0  # without a beat, and the study's clock stands
ABSTAIN_s = 10.0  # in which a worker leaves a trial to others that ended its process
REASON = 1000  # characters kept
# A lease's life: proposing -> training -> archived -> told, or follows another trial of the same
# digest, or waits for a worker after its own was lost, or failed. LIVE ones have a worker.
State = Literal["proposing", "training", "waiting", "following", "archived", "told", "failed"]
STATES: tuple[State, ...] = get_args(State)
LIVE: tuple[State, ...] = ("proposing", "training")
UNDER_WAY: tuple[State, ...] = (*LIVE, "following", "archived")
PAID = (*MEASURED, "diverged")  # outcomes that the budget of trainings counts
CONTINUED = "continued"  # outcome of a trial that trained a known candidate further


@dataclass(frozen=True)
class RungResult:
    """What a candidate had behind an epoch at which the study compares."""

    digest: str
    trial: int  # that measured it first
    epochs: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Promotion:
    """A candidate whose training goes on."""

    standing: RungResult  # so far
    until: int  # epoch

    @property
    def digest(self) -> str:
        return self.standing.digest


@dataclass(frozen=True)
class Lease:
    """A worker's right to one trial."""

    id: int
    trial: int
    attempt: int
    promotion: Promotion | None = None  # a new right to train a known candidate further


@dataclass(frozen=True)
class ArchiveReceipt:
    """A result that stands in the archive."""

    outcome: str  # of its trial
    followed: bool  # other trials wait for it


@dataclass(frozen=True)
class _New:
    """What a lease on a new trial is made from."""

    study_id: int
    owner: str
    now: float
    ask: "Ask"


# How an attempt at a trial ended. Of all at one trial one is won or answered, by another trial.
Ending = Literal["won", "answered", "lost", "late", "released", "crashed", "failed"]
# Makes a trial, for a candidate that goes on or for a new one; its number.
Ask = Callable[[Promotion | None], int]
# From all standings, the digests that are in hand, failed or diverged, and whether nothing else is
# to come: who goes on.
Promote = Callable[[Sequence[RungResult], set[str], bool], Promotion | None]


@dataclass(frozen=True)
class Tally:
    """How far a study is."""

    states: Counter[str]  # of its leases
    trainings: int  # that its budget has paid for
    begun: int  # under way or left, that may take from the budget: of no candidate it has paid for
    continued: int  # trials that went on with a known candidate, which no sampler proposed


@dataclass(frozen=True)
class Archived:
    """One row of the archive without its long text."""

    digest: str
    trial: int
    outcome: str
    metrics: dict[str, float]
    test_accuracy: float | None


@dataclass(frozen=True)
class Repeat:
    """One training of a finalist in full, with a seed of its own."""

    evaluation: Evaluation
    test_accuracy: float | None  # None until the test images were read


def _counts() -> "sa.Select[Any]":
    """What makes a tally of the study `study_id`: made once, for every claim asks it."""
    study_id: Any = sa.bindparam("study_id")
    lease, count = leases.c, sa.func.count()
    paid = sa.and_(archive.c.study_id == study_id, archive.c.outcome.in_(PAID))
    known = lease.digest.in_(sa.select(archive.c.digest).where(paid))
    new = lease.digest.is_(None) | ~known
    columns: dict[str, Any] = {state: count.filter(lease.state == state) for state in STATES}
    columns["begun"] = count.filter(lease.state.in_((*LIVE, "waiting")), new)
    columns["continued"] = count.filter(lease.outcome == CONTINUED)
    columns["trainings"] = sa.select(count).select_from(archive).where(paid).scalar_subquery()
    named = [column.label(name) for name, column in columns.items()]
    return sa.select(*named).where(lease.study_id == study_id)


TALLY = _counts()


@dataclass(frozen=True)
class StudyRow:
    """A study as our tables know it."""

    id: int
    name: str
    spec: str
    data_digest: str
    trainings: int


class Store:
    """One database. Each method is one short transaction; none is held while a network trains."""

    def __init__(
        self, url: str, *, create: bool = False, write: bool = False, any_disk: bool = False
    ) -> None:
        """StoreError where it cannot be used; where it must not be written, only with `write`."""
        self.address, self.lease_s = url, LEASE_s
        self.url = database_url(url, create=create, any_disk=any_disk)
        self.shown = redacted(self.url)
        schema.create(self.url) if create else schema.check(self.url, write=write)
        with said(self.url):
            joining = optuna_storage(self.url)
        self.transactions = joining.transactions
        self.optuna = BufferedStorage(joining)
        self.engine = self.transactions.engine
        self.transactions.done, self.transactions.undone = self.optuna.done, self.optuna.undone

    @property
    def name(self) -> str:
        """Unlike that of any other store, and free of secrets."""
        place = self.url.set(password=None, query={}).render_as_string(hide_password=False)
        return hashlib.sha256(place.encode()).hexdigest()[:16]

    @property
    def artifacts(self) -> Path:
        """Folder of trained weights: beside an SQLite file, else NAS_ARTIFACTS or here."""
        if given := os.environ.get("NAS_ARTIFACTS"):
            return Path(given)
        file = self.url.database if self.url.get_backend_name() == "sqlite" else None
        return Path(file).with_suffix(".artifacts") if file else Path("nas-artifacts")

    def exclusive(self, study_id: int) -> AbstractContextManager[Connection]:
        """A transaction that no other one on the same study runs beside; what is called inside,
        here and of Optuna's storage, joins it."""
        return self.transactions.exclusive(study_id)

    def rest(self) -> None:
        """Lets go of the connection: none is held while a network trains."""
        self.engine.dispose()

    def close(self) -> None:
        self.optuna.remove_session()
        self.engine.dispose()

    # --- studies

    def names(self) -> list[str]:
        return sorted(optuna.get_all_study_names(self.optuna))

    def has_study(self, name: str) -> bool:
        try:
            study_id = self.optuna.get_study_id_from_name(name)
        except KeyError:
            return False
        with self.transactions.begin() as db:
            return db.execute(_of(studies, study_id)).first() is not None

    def add_study(
        self,
        study_id: int,
        spec: str,
        data_digest: str,
        trainings: int,
        parameters: Sequence[dict[str, int | str]] = (),
    ) -> None:
        """Adds what the study is and begins with, all at once; whoever comes second changes
        nothing."""
        row = {"study_id": study_id, "schema_version": SCHEMA_VERSION, "spec": spec}
        row |= {"data_digest": data_digest, "trainings": trainings}
        first = [{"place": n, "parameters": json.dumps(p)} for n, p in enumerate(parameters)]
        with suppress(IntegrityError), self.exclusive(study_id) as db:
            if db.execute(_of(studies, study_id)).first() is None:
                db.execute(studies.insert().values(row))
                for start in first:
                    db.execute(starts.insert().values(study_id=study_id, **start))

    def starts(self, study_id: int) -> list[dict[str, int | str]]:
        """Parameters of the study's first trials."""
        query = _of(starts, study_id).order_by(starts.c.place)
        with self.transactions.begin() as db:
            return [json.loads(row["parameters"]) for row in db.execute(query).mappings()]

    def study(self, name: str) -> StudyRow:
        """The study of that name; StudyError if it is not there or not ours."""
        try:
            study_id = self.optuna.get_study_id_from_name(name)
        except KeyError:
            known = ", ".join(self.names()[:20]) or "none"
            raise StudyError(f"no study {name!r} in {self.shown} (there: {known})") from None
        with self.transactions.begin() as db:
            row = db.execute(_of(studies, study_id)).mappings().first()
        if row is None:
            raise StudyError(f"study {name!r} in {self.shown} was not made by this service")
        if row["schema_version"] != SCHEMA_VERSION:
            raise StudyError(
                f"study {name!r} has schema {row['schema_version']}, this release {SCHEMA_VERSION}"
            )
        return StudyRow(study_id, name, row["spec"], row["data_digest"], row["trainings"])

    def change_spec(self, study_id: int, before: str, after: str) -> bool:
        """Another specification in place of this one; False if it is not this one any more."""
        with self.transactions.begin() as db:
            this = (studies.c.study_id == study_id, studies.c.spec == before)
            return db.execute(studies.update().where(*this).values(spec=after)).rowcount == 1

    def set_budget(self, study_id: int, trainings: int) -> None:
        with self.transactions.begin() as db:
            ours = studies.c.study_id == study_id
            db.execute(studies.update().where(ours).values(trainings=trainings))

    def spec(self, study_id: int) -> str:
        """What the study is, as JSON."""
        with self.transactions.begin() as db:
            return str(self._study(db, study_id)["spec"])

    def budget(self, study_id: int) -> int:
        """Trainings that the study may spend."""
        with self.transactions.begin() as db:
            return self._budget(db, study_id)

    # --- leases

    def claim(
        self,
        study_id: int,
        owner: str,
        max_proposals: int,
        max_attempts: int,
        max_failures: int,
        ask: Ask,
        seconds: float | None = None,
        ended: str = "",
        promote: Promote | None = None,
        again: bool = False,
    ) -> Lease | str | None:
        """The right to one trial; a sentence when the study is at its end; None: ask again later.

        Trials that lost their worker come first, at their next attempt; then whom `promote` names;
        then a new proposal, as long as trainings done and under way leave room for one more, the
        study's clock is below `seconds`, and the caller sees no other end. `ask` makes the trial,
        in the same transaction. `again`: the reply to an
        earlier claim was lost, and what it gave is given once more.
        """
        with self.exclusive(study_id) as db:
            now = self._now(db)
            if again and (held := self._held_by(db, study_id, owner)) is not None:
                return held
            if seconds is not None:
                self._beat(db, study_id, now)
            if (left := self._left(db, study_id, owner, now, max_attempts)) is not None:
                return left
            tally = self._tally(db, study_id)
            end = self._end(db, study_id, tally, max_proposals, max_failures, seconds) or ended
            idle = not any(tally.states[s] for s in (*UNDER_WAY, "waiting"))
            closed = self._closed(db, study_id, tally.states, max_failures, seconds)
            new = _New(study_id, owner, now, ask)
            if promote is not None and not closed:
                found = self._promotion(db, study_id, promote, bool(end) and idle)
                if found is not None:
                    return self._begin(db, new, found)
            if end:
                return end if idle else None
            if tally.trainings + tally.begun >= self._budget(db, study_id):
                return None
            return self._begin(db, new)

    def _tally(self, db: Connection, study_id: int) -> Tally:
        """All counts by one statement, so that a trial that moves on meanwhile counts once."""
        row = dict(db.execute(TALLY, {"study_id": study_id}).mappings().one())
        others = {name: row.pop(name) for name in ("trainings", "begun", "continued")}
        return Tally(Counter(row), **others)

    def _held_by(self, db: Connection, study_id: int, owner: str) -> Lease | None:
        mine = (leases.c.study_id == study_id, leases.c.owner == owner, leases.c.state.in_(LIVE))
        row = db.execute(sa.select(leases).where(*mine)).mappings().first()
        return None if row is None else Lease(row["lease_id"], row["trial"], row["attempt"])

    def _left(
        self, db: Connection, study_id: int, owner: str, now: float, max_attempts: int
    ) -> Lease | None:
        """A trial without a worker, also of workers that are gone: their leases end here.

        Whom a trial made fail leaves it to others for a while.
        """
        open_ = leases.c.state.in_((*LIVE, "waiting"))
        query = _of(leases, study_id).where(open_).order_by(leases.c.trial)
        free = []
        for row in db.execute(query).mappings().all():
            lost = row["state"] != "waiting"
            mine = _free(row, "", now) if lost else row["owner"] != owner or row["deadline"] < now
            if not mine or not self._unchanged(db, row):
                continue
            if not lost or self._lose(db, row, now, max_attempts):
                free.append(row)
        return self._take(db, free[0], owner, now) if free else None

    def _unchanged(self, db: Connection, row: sa.RowMapping) -> bool:
        """Locks a lease that was read; False if its worker has renewed or ended it since."""
        query = sa.select(leases).where(leases.c.lease_id == row["lease_id"])
        return db.execute(query.with_for_update()).mappings().first() == row

    def _take(self, db: Connection, row: sa.RowMapping, owner: str, now: float) -> Lease:
        taken = Lease(row["lease_id"], row["trial"], row["attempt"] + 1)
        values = {"state": "proposing", "owner": owner, "attempt": taken.attempt}
        this = leases.c.lease_id == taken.id
        db.execute(leases.update().where(this).values(**values, deadline=now + self.lease_s))
        self._attempt(db, row["study_id"], taken, owner, now)
        return taken

    def _begin(self, db: Connection, new: "_New", promotion: Promotion | None = None) -> Lease:
        """A lease on a trial that is new."""
        trial = new.ask(promotion)
        row: dict[str, Any] = {"study_id": new.study_id, "trial": trial, "owner": new.owner}
        row |= {"attempt": 1, "deadline": new.now + self.lease_s, "state": "proposing"}
        if promotion is not None:
            row |= {"state": "training", "digest": promotion.digest}
        done = db.execute(leases.insert().values(row))
        lease = Lease(int(done.inserted_primary_key[0]), trial, 1, promotion)  # type: ignore[index]
        self._attempt(db, new.study_id, lease, new.owner, new.now)
        return lease

    def _attempt(self, db: Connection, study_id: int, lease: Lease, owner: str, now: float) -> None:
        row = {"lease_id": lease.id, "attempt": lease.attempt, "study_id": study_id}
        db.execute(attempts.insert().values(**row, owner=owner, began=now))

    def _ended(
        self, db: Connection, lease: Lease, ending: Ending, now: float, **facts: str | None
    ) -> None:
        """Writes into the history how an attempt ended."""
        this = (attempts.c.lease_id == lease.id, attempts.c.attempt == lease.attempt)
        values = {"ending": ending, "ended": now, **facts}
        db.execute(attempts.update().where(*this).values(values))

    def _spoiled(self, db: Connection, lease_id: int) -> int:
        """How many attempts at a trial ended with their worker, or with their process."""
        bad = (attempts.c.lease_id == lease_id, attempts.c.ending.in_(("lost", "late", "crashed")))
        return int(db.execute(sa.select(sa.func.count()).where(*bad)).scalar_one())

    def _end(
        self,
        db: Connection,
        study_id: int,
        tally: Tally,
        max_proposals: int,
        max_failures: int,
        seconds: float | None,
    ) -> str:
        budget = self._budget(db, study_id)
        states, trainings = tally.states, tally.trainings
        if trainings >= budget:
            return f"budget spent: {trainings} trainings"
        if states["failed"] > max_failures:
            return f"too many failures: {states['failed']} trials failed"
        if (proposals := sum(states.values()) - tally.continued) >= max_proposals:
            return f"proposals at their limit: {proposals} proposed, {trainings} trained"
        if seconds is not None and (spent := self._spent(db, study_id)) >= seconds:
            return f"time is up: {spent:.0f} of {seconds:g} seconds, {trainings} trainings"
        return ""

    def _closed(
        self,
        db: Connection,
        study_id: int,
        states: Counter[str],
        max_failures: int,
        seconds: float | None,
    ) -> bool:
        """True where no training is begun or goes on any more."""
        late = seconds is not None and self._spent(db, study_id) >= seconds
        return late or states["failed"] > max_failures

    def end(
        self,
        study_id: int,
        max_proposals: int,
        max_failures: int,
        seconds: float | None,
        ended: str = "",
        promote: Promote | None = None,
    ) -> str | None:
        """Why nothing is begun any more; empty while something may be, None while trials run.

        `ended` and `promote` as in `claim`.
        """
        with self.transactions.begin() as db:
            tally = self._tally(db, study_id)
            if any(tally.states[s] for s in (*UNDER_WAY, "waiting")):
                return None
            end = self._end(db, study_id, tally, max_proposals, max_failures, seconds) or ended
            closed = self._closed(db, study_id, tally.states, max_failures, seconds)
            if promote is None or closed:
                return end
            return "" if self._promotion(db, study_id, promote, bool(end)) else end

    def _promotion(
        self, db: Connection, study_id: int, promote: Promote, over: bool
    ) -> Promotion | None:
        in_hand = sa.select(leases.c.digest).where(
            leases.c.study_id == study_id, leases.c.digest.is_not(None), leases.c.state != "told"
        )
        diverged = sa.select(archive.c.digest).where(
            archive.c.study_id == study_id, archive.c.outcome == "diverged"
        )
        held = {*db.execute(in_hand).scalars(), *db.execute(diverged).scalars()}
        return promote(self._standings(db, study_id), held, over)

    def beat(self, study_id: int) -> None:
        """Lets the study's clock run on to now: somebody works on it."""
        with self.exclusive(study_id) as db:
            self._beat(db, study_id, self._now(db))

    def _beat(self, db: Connection, study_id: int, now: float) -> None:
        """Time since the last beat counts unless it is so long that nobody worked."""
        this = clocks.c.study_id == study_id
        row = db.execute(_of(clocks, study_id)).mappings().first()
        if row is None:
            db.execute(clocks.insert().values(study_id=study_id, spent_s=0.0, beat=now))
            return
        since = now - row["beat"]
        spent = row["spent_s"] + (since if 0 < since < BREAK_s else 0.0)
        db.execute(clocks.update().where(this).values(spent_s=spent, beat=now))

    def _spent(self, db: Connection, study_id: int) -> float:
        query = sa.select(clocks.c.spent_s).where(clocks.c.study_id == study_id)
        return float(db.execute(query).scalar() or 0.0)

    def _budget(self, db: Connection, study_id: int) -> int:
        return int(self._study(db, study_id)["trainings"])

    def _study(self, db: Connection, study_id: int) -> sa.RowMapping:
        """The study's row, which a claim has read already."""
        row = self.transactions.row(study_id)
        return db.execute(_of(studies, study_id)).mappings().one() if row is None else row

    def _lose(self, db: Connection, row: sa.RowMapping, now: float, max_attempts: int) -> bool:
        """Takes a lease from a worker that is gone; True where its trial is left to others."""
        lease = Lease(row["lease_id"], row["trial"], row["attempt"])
        self._ended(db, lease, "lost", now)
        return self._leave_again(db, row["study_id"], lease, "its worker was lost", max_attempts)

    def _leave_again(
        self,
        db: Connection,
        study_id: int,
        lease: Lease,
        reason: str,
        max_attempts: int,
        deadline: float = 0.0,
    ) -> bool:
        """Leaves a trial to the next claim; False: to nobody, too many attempts failed."""
        spoiled = self._spoiled(db, lease.id)
        if spoiled >= max_attempts:
            self._fail(db, study_id, lease.id, f"quarantined: {reason}, {spoiled} times over")
            return False
        this = leases.c.lease_id == lease.id
        db.execute(leases.update().where(this).values(state="waiting", deadline=deadline))
        return True

    def crashed(
        self, study_id: int, lease: Lease, owner: str, reason: str, max_attempts: int
    ) -> None:
        """A trial ended the process that worked on it, not the worker: another one shall try."""
        with self.exclusive(study_id) as db:
            if db.execute(sa.select(leases.c.lease_id).where(*_held(lease, owner))).first():
                now = self._now(db)
                self._ended(db, lease, "crashed", now, reason=reason[:REASON])
                later = now + min(ABSTAIN_s, self.lease_s)
                self._leave_again(db, study_id, lease, reason, max_attempts, later)

    def crashes(self, lease: Lease, kind: str) -> int:
        """How many attempts at a trial ended so."""
        these = (attempts.c.lease_id == lease.id, attempts.c.ending == "crashed")
        alike = attempts.c.reason.startswith(f"{kind}:")
        query = sa.select(sa.func.count()).where(*these, alike)
        with self.transactions.begin() as db:
            return int(db.execute(query).scalar_one())

    def adopt(self, study_id: int, running: Mapping[int, str | None]) -> None:
        """Leaves to the next claim those running trials that have no lease.

        `running` has the digest of those that go on with a known candidate; of others as many are
        left as the budget has room for.
        """
        with self.exclusive(study_id) as db:
            tally = self._tally(db, study_id)
            room = self._budget(db, study_id) - tally.trainings - tally.begun
            these = (leases.c.study_id == study_id, leases.c.trial.in_(list(running)))
            leased = set(db.execute(sa.select(leases.c.trial).where(*these)).scalars())
            for number in sorted(running.keys() - leased):
                known = running[number] is not None
                if known or room > 0:
                    self._leave(db, study_id, number, running[number])
                    room -= not known

    def leave(self, study_id: int, trial: int, digest: str) -> None:
        """Leaves a running trial of a known candidate to the next claim."""
        with self.exclusive(study_id) as db:
            this = (leases.c.study_id == study_id, leases.c.trial == trial)
            if db.execute(sa.select(leases.c.trial).where(*this)).first() is None:
                self._leave(db, study_id, trial, digest)

    def _leave(self, db: Connection, study_id: int, trial: int, digest: str | None) -> None:
        row = {"study_id": study_id, "trial": trial, "digest": digest, "state": "waiting"}
        db.execute(leases.insert().values(**row, attempt=0, owner="", deadline=0))

    def pending(self, study_id: int) -> set[str]:
        """Digests of trials that are not at their end."""
        query = sa.select(leases.c.digest).where(
            leases.c.study_id == study_id,
            leases.c.digest.is_not(None),
            leases.c.state.not_in(("told", "failed")),
        )
        with self.transactions.begin() as db:
            return set(db.execute(query).scalars())

    def begin_training(
        self, study_id: int, lease: Lease, digest: str
    ) -> tuple[bool, Evaluation | None]:
        """True: train it. False: another trial trains the same candidate; this one follows it.

        Beside it what is known of the candidate at this moment: whoever had the same one may have
        ended since the caller looked. LeaseLost where another worker has the trial.
        """
        with self.transactions.alone(study_id, digest) as db:
            same = sa.select(leases.c.lease_id).where(
                leases.c.study_id == study_id,
                leases.c.digest == digest,
                leases.c.lease_id != lease.id,
                leases.c.state.in_(("training", "waiting", "proposing", "archived")),
            )
            state = "training" if db.execute(same).first() is None else "following"
            this = (*_at(lease), leases.c.state.in_((*LIVE, "following")))
            done = db.execute(leases.update().where(*this).values(state=state, digest=digest))
            if not done.rowcount:
                raise LeaseLost(f"trial {lease.trial}: its lease is lost")
            if state == "following":
                self._ended(db, lease, "answered", self._now(db))
            return state == "training", self.known(study_id, digest)

    def renew(self, lease: Lease, owner: str) -> bool:
        """Keeps the lease; False if it is another worker's by now."""
        with self.transactions.begin() as db:
            values = {"deadline": self._now(db) + self.lease_s}
            done = db.execute(leases.update().where(*_held(lease, owner)).values(values))
            return done.rowcount == 1

    def release(self, study_id: int, lease: Lease, owner: str) -> None:
        """Gives an unfinished trial back; it is not the trial's fault."""
        with self.exclusive(study_id) as db:
            held = _held(lease, owner)
            if db.execute(sa.select(leases.c.lease_id).where(*held)).first() is None:
                return
            self._ended(db, lease, "released", self._now(db))
            db.execute(leases.update().where(*held).values(state="waiting", deadline=0.0))

    def archive_result(
        self,
        study_id: int,
        lease: Lease,
        owner: str,
        evaluation: Evaluation,
        at_step: bool = False,
        told: bool = False,
    ) -> "ArchiveReceipt | None":
        """Keeps a result, once; None if another worker has taken the trial meanwhile.

        In place of an earlier one of the candidate stands only where its training has led to since.
        With `at_step` it is also kept as what the candidate had behind this epoch. The same result
        of the same attempt may come again; a late one stands in the history alone. `told`: the
        caller tells Optuna in the same transaction.
        """
        digest = evaluation.architecture.digest
        whole = json.dumps(evaluation.to_json(), allow_nan=False)
        result = hashlib.sha256(whole.encode()).hexdigest()
        with self.transactions.alone(study_id, digest) as db:
            held = self._of_result(db, study_id, lease, digest)
            followed = held is not None and held["followers"] > 0
            if held is None or not _mine(held, lease, owner):
                if held is not None and self._result(db, lease) == result:
                    return ArchiveReceipt(held["outcome"], followed)
                now = self._now(db)
                self._ended(db, lease, "late", now, result=result, evaluation=whole)
                return None
            text = self._known(db, study_id, digest)
            continued = text is not None and _continues(evaluation, _evaluation(text))
            first = evaluation.outcome if text is None else "cached"
            kept = ArchiveReceipt(CONTINUED if continued else first, followed)
            values = {"outcome": kept.outcome, "digest": digest, "owner": owner}
            values["state"] = "told" if told else "archived"
            this_lease = leases.c.lease_id == lease.id
            db.execute(leases.update().where(this_lease).values(values))
            self._ended(db, lease, "won", held["now"], result=result)
            row = {"outcome": evaluation.outcome, "metrics": json.dumps(measure(evaluation))}
            row["evaluation"] = whole
            this = {"study_id": study_id, "digest": digest}
            if text is None:
                db.execute(archive.insert().values(**this, **row, trial=lease.trial))
            elif continued:  # what the test images said was said of other weights
                same = (archive.c.study_id == study_id, archive.c.digest == digest)
                db.execute(archive.update().where(*same).values(**row, test_accuracy=None))
            if at_step and evaluation.trained and (continued or text is None):
                standing = {"epochs": evaluation.fidelity, "metrics": row["metrics"]}
                db.execute(rungs.insert().values(**this, **standing))
            return kept

    def _of_result(
        self, db: Connection, study_id: int, lease: Lease, digest: str
    ) -> sa.RowMapping | None:
        """The lease's row, locked, the time, and how many trials follow the candidate."""
        other = leases.alias()
        same = (other.c.study_id == study_id, other.c.digest == digest)
        waits = sa.select(sa.func.count()).where(*same, other.c.state == "following")
        query = sa.select(
            leases, self._clock.label("now"), waits.scalar_subquery().label("followers")
        ).where(leases.c.lease_id == lease.id)
        return db.execute(query.with_for_update(of=leases)).mappings().first()

    def _result(self, db: Connection, lease: Lease) -> str | None:
        """Digest of what an attempt has won with."""
        these = (attempts.c.lease_id == lease.id, attempts.c.attempt == lease.attempt)
        won = attempts.c.ending == "won"
        found: str | None = db.execute(sa.select(attempts.c.result).where(*these, won)).scalar()
        return found

    def answer(self, lease: Lease, owner: str) -> None:
        """Ends the attempt at a trial whose candidate is known."""
        with self.transactions.writing() as db:
            this = leases.c.lease_id == lease.id
            values = {"state": "told", "outcome": "cached", "owner": owner}
            db.execute(leases.update().where(this).values(values))
            self._ended(db, lease, "answered", self._now(db))

    def finish(self, lease_id: int, outcome: str) -> None:
        """Optuna knows the result now."""
        with self.transactions.begin() as db:
            this = leases.c.lease_id == lease_id
            db.execute(leases.update().where(this).values(state="told", outcome=outcome))

    def outcome(self, lease_id: int) -> str | None:
        with self.transactions.begin() as db:
            query = sa.select(leases.c.outcome).where(leases.c.lease_id == lease_id)
            found: str | None = db.execute(query).scalar_one()
            return found

    def fail(self, study_id: int, lease: Lease, reason: str) -> None:
        """Ends a trial without a result, unless another worker has it by now."""
        with self.exclusive(study_id) as db:
            held = (*_at(lease), leases.c.state.in_(LIVE))
            if db.execute(sa.select(leases.c.lease_id).where(*held)).first() is None:
                return
            self._ended(db, lease, "failed", self._now(db), reason=reason[:REASON])
            self._fail(db, study_id, lease.id, reason)

    def _fail(self, db: Connection, study_id: int, lease_id: int, reason: str) -> None:
        """Ends a trial without a result, and those that waited for the same one."""
        this = leases.c.lease_id == lease_id
        digest = db.execute(sa.select(leases.c.digest).where(this)).scalar_one()
        follows = sa.and_(leases.c.state == "following", leases.c.digest == digest)
        values = {"state": "failed", "outcome": "failed", "reason": reason[:REASON]}
        these = (leases.c.study_id == study_id, this | follows)
        db.execute(leases.update().where(*these).values(values))

    def unsettled(self, study_id: int, owner: str) -> list[tuple[int, int, str, str | None]]:
        """(lease, trial, digest, reason) of what Optuna may not know: results, followers of a
        result, failures. They are the caller's to tell now: its own, or of workers now gone.
        """
        known = sa.select(archive.c.digest).where(archive.c.study_id == study_id)
        ready = leases.c.state.in_(("archived", "following")) & leases.c.digest.in_(known)
        untold = (leases.c.state == "failed") & (leases.c.deadline >= 0)
        query = sa.select(leases).where(leases.c.study_id == study_id, ready | untold)
        with self.transactions.begin() as db:
            if not db.execute(query).first():
                return []
        with self.exclusive(study_id) as db:
            now = self._now(db)
            rows = [r for r in db.execute(query).mappings() if _free(r, owner, now)]
            these = leases.c.lease_id.in_([r["lease_id"] for r in rows])
            mine = {"owner": owner, "deadline": now + self.lease_s}
            db.execute(leases.update().where(these).values(mine))
        return [(r["lease_id"], r["trial"], r["digest"], r["reason"]) for r in rows]

    def settle_failure(self, lease_id: int) -> None:
        """Optuna knows of the failure now: a negative deadline says so."""
        with self.transactions.begin() as db:
            this = leases.c.lease_id == lease_id
            db.execute(leases.update().where(this).values(deadline=-1.0))

    def outcomes(self, study_id: int) -> dict[int, str]:
        """Trial number -> outcome or state, for every proposal."""
        word = sa.func.coalesce(leases.c.outcome, leases.c.state)
        query = sa.select(leases.c.trial, word).where(
            leases.c.study_id == study_id, leases.c.trial.is_not(None)
        )
        with self.transactions.begin() as db:
            return {number: outcome for number, outcome in db.execute(query)}  # noqa: C416

    def failures(self, study_id: int) -> dict[int, str]:
        query = sa.select(leases.c.trial, leases.c.reason).where(
            leases.c.study_id == study_id, leases.c.state == "failed"
        )
        with self.transactions.begin() as db:
            return {number: reason for number, reason in db.execute(query)}  # noqa: C416

    def workers(self, study_id: int) -> list[str]:
        """Owners of leases that are being worked on."""
        with self.transactions.begin() as db:
            now = self._now(db)
            live = leases.c.state.in_(LIVE) & (leases.c.deadline >= now)
            query = sa.select(leases.c.owner).where(leases.c.study_id == study_id, live)
            return sorted({o for o in db.execute(query).scalars() if not dead(o)})

    # --- archive

    def digests(self, study_id: int) -> set[str]:
        """Of all candidates that are known."""
        query = sa.select(archive.c.digest).where(archive.c.study_id == study_id)
        with self.transactions.begin() as db:
            return set(db.execute(query).scalars())

    def known(self, study_id: int, digest: str) -> Evaluation | None:
        with self.transactions.begin() as db:
            text = self._known(db, study_id, digest)
        return None if text is None else _evaluation(text)

    def _known(self, db: Connection, study_id: int, digest: str) -> str | None:
        query = sa.select(archive.c.evaluation).where(
            archive.c.study_id == study_id, archive.c.digest == digest
        )
        return db.execute(query).scalar_one_or_none()

    def archived(self, study_id: int) -> dict[str, Archived]:
        """The archive by digest, without the long texts."""
        columns = ("digest", "trial", "outcome", "metrics", "test_accuracy")
        query = sa.select(*(archive.c[name] for name in columns))
        with self.transactions.begin() as db:
            rows = db.execute(query.where(archive.c.study_id == study_id)).mappings().all()
        return {r["digest"]: Archived(**{**r, "metrics": json.loads(r["metrics"])}) for r in rows}

    def rung_results(self, study_id: int) -> list[RungResult]:
        """What candidates had behind every epoch at which a study with a ladder compares."""
        with self.transactions.begin() as db:
            return self._standings(db, study_id)

    def _standings(self, db: Connection, study_id: int) -> list[RungResult]:
        found = archive.c
        same = (found.study_id == rungs.c.study_id) & (found.digest == rungs.c.digest)
        columns = (rungs.c.digest, found.trial, rungs.c.epochs, rungs.c.metrics)
        query = sa.select(*columns).join(archive, same).where(rungs.c.study_id == study_id)
        rows = db.execute(query.order_by(found.trial, rungs.c.epochs)).mappings().all()
        return [RungResult(**{**r, "metrics": json.loads(r["metrics"])}) for r in rows]

    def keep_test_accuracy(self, study_id: int, digest: str, value: float) -> None:
        with self.transactions.begin() as db:
            this = (archive.c.study_id == study_id, archive.c.digest == digest)
            db.execute(archive.update().where(*this).values(test_accuracy=value))

    # --- repeats

    def repeats(self, study_id: int) -> dict[tuple[str, int], Repeat]:
        """By (digest, number)."""
        with self.transactions.begin() as db:
            rows = db.execute(_of(repeats, study_id)).mappings().all()
        return {
            (r["digest"], r["repeat"]): Repeat(_evaluation(r["evaluation"]), r["test_accuracy"])
            for r in rows
        }

    def has_repeat(self, study_id: int, digest: str, number: int) -> bool:
        with self.transactions.begin() as db:
            query = sa.select(repeats.c.repeat).where(*_repeat(study_id, digest, number))
            return db.execute(query).first() is not None

    def keep_repeat(self, study_id: int, number: int, evaluation: Evaluation) -> None:
        """Keeps a result, once: whoever comes second has the same."""
        digest = evaluation.architecture.digest
        row = {"study_id": study_id, "digest": digest, "repeat": number}
        text = json.dumps(evaluation.to_json(), allow_nan=False)
        with self.exclusive(study_id) as db:
            query = sa.select(repeats.c.repeat).where(*_repeat(study_id, digest, number))
            if db.execute(query).first() is None:
                db.execute(repeats.insert().values(**row, evaluation=text))

    def keep_repeat_test(self, study_id: int, digest: str, number: int, value: float) -> None:
        with self.transactions.begin() as db:
            this = _repeat(study_id, digest, number)
            db.execute(repeats.update().where(*this).values(test_accuracy=value))

    @property
    def _clock(self) -> "sa.ColumnElement[float]":
        """The database's time, in seconds."""
        sqlite = self.engine.dialect.name == "sqlite"
        julian = "(julianday('now') - 2440587.5) * 86400.0"
        # now() would be when the transaction began, before it waited for the study's row
        clock = julian if sqlite else "extract(epoch from clock_timestamp())"
        return sa.literal_column(clock, sa.Float(asdecimal=False))

    def _now(self, db: Connection) -> float:
        return float(db.execute(sa.select(self._clock)).scalar_one())


def _mine(row: sa.RowMapping, lease: Lease, owner: str) -> bool:
    """True while nobody else has begun the trial anew, also behind the lease's deadline."""
    same = (row["attempt"], row["owner"]) == (lease.attempt, owner)
    return same and row["state"] in (*LIVE, "waiting")


def _evaluation(text: str) -> Evaluation:
    return Evaluation.from_json(json.loads(text))


def _continues(found: Evaluation, earlier: Evaluation) -> bool:
    """True for a later epoch of the same training, or for its end by divergence."""
    later = found.outcome == "diverged" or found.fidelity > earlier.fidelity
    return earlier.trained and later


def _free(row: sa.RowMapping, owner: str, now: float) -> bool:
    """True where a lease is the owner's own, or no living worker's."""
    return row["owner"] == owner or row["deadline"] < now or dead(row["owner"])


def _of(table: sa.Table, study_id: int) -> "sa.Select[Any]":
    return sa.select(table).where(table.c.study_id == study_id)


def _repeat(study_id: int, digest: str, number: int) -> tuple[sa.ColumnElement[bool], ...]:
    c = repeats.c
    return (c.study_id == study_id, c.digest == digest, c.repeat == number)


def _at(lease: Lease) -> tuple[sa.ColumnElement[bool], ...]:
    """A lease at one attempt, which nobody has begun anew."""
    return (leases.c.lease_id == lease.id, leases.c.attempt == lease.attempt)


def _held(lease: Lease, owner: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (*_at(lease), leases.c.owner == owner, leases.c.state.in_(LIVE))
