"""The study store: Optuna's storage and our own tables in one SQL database.

Optuna's trials are the record of proposals. Beside them stand, for each trial, its lease (who
works on it, until when, at which attempt, how it ended) and the archive of evaluations by digest.
All times are the database's clock.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import optuna
import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from nas_service import schema
from nas_service.databases import (
    database_url,
    engine_of,
    optuna_storage,
    redacted,
    said,
)
from nas_service.errors import StudyError
from nas_service.metrics import MEASURED, Evaluation, measure
from nas_service.owners import dead
from nas_service.tables import (
    SCHEMA_VERSION,
    archive,
    clocks,
    leases,
    repeats,
    rungs,
    starts,
    studies,
)

LEASE_s = 60.0  # a lease that is not renewed for so long is lost
# A lease's life: proposing -> training -> archived -> told, or follows another trial of the same
# digest, or waits for a worker after its own was lost, or failed. LIVE ones have a worker.
State = Literal["proposing", "training", "waiting", "following", "archived", "told", "failed"]
LIVE: tuple[State, ...] = ("proposing", "training")
UNDER_WAY: tuple[State, ...] = (*LIVE, "following", "archived")
PAID = (*MEASURED, "diverged")  # outcomes that the budget of trainings counts
CONTINUED = "continued"  # outcome of a trial that trained a known candidate further


@dataclass(frozen=True)
class Standing:
    """What a candidate had behind an epoch at which the study compares."""

    digest: str
    trial: int  # that measured it first
    epochs: int
    metrics: dict[str, float]


@dataclass(frozen=True)
class Promotion:
    """A candidate whose training goes on."""

    standing: Standing  # so far
    until: int  # epoch

    @property
    def digest(self) -> str:
        return self.standing.digest


@dataclass(frozen=True)
class Lease:
    """A worker's right to one trial."""

    id: int
    trial: int | None
    attempt: int
    promotion: Promotion | None = None  # a new right to train a known candidate further


# From all standings, the digests that are in hand, failed or diverged, and whether nothing else is
# to come: who goes on.
Promote = Callable[[Sequence[Standing], set[str], bool], Promotion | None]


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
        self.url = database_url(url, create=create, any_disk=any_disk)
        self.shown = redacted(self.url)
        schema.create(self.url) if create else schema.check(self.url, write=write)
        with said(self.url):
            self.engine = engine_of(self.url)
            self.optuna = optuna_storage(self.url)

    @property
    def artifacts(self) -> Path:
        """Folder of trained weights: beside an SQLite file, else NAS_ARTIFACTS or here."""
        if given := os.environ.get("NAS_ARTIFACTS"):
            return Path(given)
        file = self.url.database if self.url.get_backend_name() == "sqlite" else None
        return Path(file).with_suffix(".artifacts") if file else Path("nas-artifacts")

    @contextmanager
    def _exclusive(self, study_id: int) -> Iterator[Connection]:
        """A transaction that no other one on the same study runs beside."""
        with self.engine.begin() as db:
            if self.engine.dialect.name == "sqlite":
                db.exec_driver_sql("BEGIN IMMEDIATE")
            db.execute(_of(studies, study_id).with_for_update())
            yield db

    # --- studies

    def names(self) -> list[str]:
        return sorted(optuna.get_all_study_names(self.optuna))

    def has_study(self, name: str) -> bool:
        try:
            study_id = self.optuna.get_study_id_from_name(name)
        except KeyError:
            return False
        with self.engine.connect() as db:
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
        with suppress(IntegrityError), self._exclusive(study_id) as db:
            if db.execute(_of(studies, study_id)).first() is None:
                db.execute(studies.insert().values(row))
                for start in first:
                    db.execute(starts.insert().values(study_id=study_id, **start))

    def starts(self, study_id: int) -> list[dict[str, int | str]]:
        """Parameters of the study's first trials; a store of an earlier release has none."""
        if not sa.inspect(self.engine).has_table(starts.name):
            return []
        query = _of(starts, study_id).order_by(starts.c.place)
        with self.engine.connect() as db:
            return [json.loads(row["parameters"]) for row in db.execute(query).mappings()]

    def study(self, name: str) -> StudyRow:
        """The study of that name; StudyError if it is not there or not ours."""
        try:
            study_id = self.optuna.get_study_id_from_name(name)
        except KeyError:
            known = ", ".join(self.names()[:20]) or "none"
            raise StudyError(f"no study {name!r} in {self.shown} (there: {known})") from None
        with self.engine.connect() as db:
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
        with self.engine.begin() as db:
            this = (studies.c.study_id == study_id, studies.c.spec == before)
            return db.execute(studies.update().where(*this).values(spec=after)).rowcount == 1

    def set_budget(self, study_id: int, trainings: int) -> None:
        with self.engine.begin() as db:
            ours = studies.c.study_id == study_id
            db.execute(studies.update().where(ours).values(trainings=trainings))

    # --- leases

    def claim(
        self,
        study_id: int,
        owner: str,
        max_proposals: int,
        max_attempts: int,
        max_failures: int,
        seconds: float | None = None,
        ended: str = "",
        promote: Promote | None = None,
    ) -> Lease | str | None:
        """The right to one trial; a sentence when the study is at its end; None: ask again later.

        Trials that lost their worker come first, at their next attempt; then whom `promote` names;
        then a new proposal, as long as trainings done and under way leave room for one more, the
        study's clock is below `seconds`, and the caller sees no other end.
        """
        with self._exclusive(study_id) as db:
            now = self._now(db)
            if seconds is not None:
                self._beat(db, study_id, now)
            self._expire(db, study_id, now, max_attempts)
            mine = leases.c.study_id == study_id
            waiting = (
                db.execute(
                    sa.select(leases)
                    .where(mine, leases.c.state == "waiting")
                    .order_by(leases.c.trial)
                )
                .mappings()
                .first()
            )
            if waiting is not None:
                taken = Lease(waiting["lease_id"], waiting["trial"], waiting["attempt"] + 1)
                row = {"state": "proposing", "owner": owner, "attempt": taken.attempt}
                chosen = leases.c.lease_id == taken.id
                db.execute(leases.update().where(chosen).values(**row, deadline=now + LEASE_s))
                return taken
            states = Counter(db.execute(sa.select(leases.c.state).where(mine)).scalars().all())
            end = self._end(db, study_id, states, max_proposals, max_failures, seconds) or ended
            idle = not any(states[s] for s in UNDER_WAY)
            row = {"study_id": study_id, "attempt": 1, "owner": owner, "deadline": now + LEASE_s}
            closed = self._closed(db, study_id, states, max_failures, seconds)
            if promote is not None and not closed:
                found = self._promotion(db, study_id, promote, bool(end) and idle)
                if found is not None:
                    row |= {"state": "training", "digest": found.digest}
                    return Lease(self._lease(db, row), None, 1, found)
            if end:
                return end if idle else None
            budget = db.execute(_of(studies, study_id)).mappings().one()["trainings"]
            if self._trainings(db, study_id) + self._begun(db, study_id) >= budget:
                return None
            return Lease(self._lease(db, row | {"state": "proposing"}), None, 1)

    def _lease(self, db: Connection, row: dict[str, Any]) -> int:
        done = db.execute(leases.insert().values(row))
        return int(done.inserted_primary_key[0])  # type: ignore[index]

    def _end(
        self,
        db: Connection,
        study_id: int,
        states: Counter[str],
        max_proposals: int,
        max_failures: int,
        seconds: float | None,
    ) -> str:
        budget = db.execute(_of(studies, study_id)).mappings().one()["trainings"]
        trainings = self._trainings(db, study_id)
        if trainings >= budget:
            return f"budget spent: {trainings} trainings"
        if states["failed"] > max_failures:
            return f"too many failures: {states['failed']} trials failed"
        if (proposals := sum(states.values()) - self._continued(db, study_id)) >= max_proposals:
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
        with self.engine.connect() as db:
            mine = leases.c.study_id == study_id
            states = Counter(db.execute(sa.select(leases.c.state).where(mine)).scalars().all())
            if any(states[s] for s in (*UNDER_WAY, "waiting")):
                return None
            end = self._end(db, study_id, states, max_proposals, max_failures, seconds) or ended
            closed = self._closed(db, study_id, states, max_failures, seconds)
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
        with self._exclusive(study_id) as db:
            self._beat(db, study_id, self._now(db))

    def _beat(self, db: Connection, study_id: int, now: float) -> None:
        """Time since the last beat counts unless it is so long that nobody worked."""
        this = clocks.c.study_id == study_id
        row = db.execute(_of(clocks, study_id)).mappings().first()
        if row is None:
            db.execute(clocks.insert().values(study_id=study_id, spent_s=0.0, beat=now))
            return
        since = now - row["beat"]
        spent = row["spent_s"] + (since if 0 < since < LEASE_s else 0.0)
        db.execute(clocks.update().where(this).values(spent_s=spent, beat=now))

    def _spent(self, db: Connection, study_id: int) -> float:
        query = sa.select(clocks.c.spent_s).where(clocks.c.study_id == study_id)
        return float(db.execute(query).scalar() or 0.0)

    def _trainings(self, db: Connection, study_id: int) -> int:
        trained = archive.c.outcome.in_(PAID)
        query = sa.select(sa.func.count()).where(archive.c.study_id == study_id, trained)
        return int(db.execute(query).scalar_one())

    def _begun(self, db: Connection, study_id: int) -> int:
        """Trials under way that may take from the budget: those of no candidate it has paid for."""
        paid = sa.select(archive.c.digest).where(
            archive.c.study_id == study_id, archive.c.outcome.in_(PAID)
        )
        new = leases.c.digest.is_(None) | leases.c.digest.not_in(paid)
        these = (leases.c.study_id == study_id, leases.c.state.in_(LIVE), new)
        return int(db.execute(sa.select(sa.func.count()).where(*these)).scalar_one())

    def _continued(self, db: Connection, study_id: int) -> int:
        """Trials that went on with a known candidate, which no sampler proposed."""
        these = (leases.c.study_id == study_id, leases.c.outcome == CONTINUED)
        return int(db.execute(sa.select(sa.func.count()).where(*these)).scalar_one())

    def _expire(self, db: Connection, study_id: int, now: float, max_attempts: int) -> None:
        """Takes leases from workers that are gone."""
        live = leases.c.state.in_(LIVE)
        rows = db.execute(sa.select(leases).where(leases.c.study_id == study_id, live)).mappings()
        for row in rows.all():
            if not _free(row, "", now):
                continue
            this = leases.c.lease_id == row["lease_id"]
            if row["trial"] is None:
                db.execute(leases.delete().where(this))
            elif row["attempt"] >= max_attempts:
                reason = f"its worker was lost {row['attempt']} times"
                self._fail(db, study_id, row["lease_id"], reason)
            else:
                db.execute(leases.update().where(this).values(state="waiting"))

    def adopt(self, study_id: int, running: Mapping[int, str | None]) -> None:
        """Leaves to the next claim those running trials whose worker died before it bound them.

        `running` has the digest of those that go on with a known candidate.
        """
        with self._exclusive(study_id) as db:
            now = self._now(db)
            columns = (leases.c.trial, leases.c.state, leases.c.owner, leases.c.deadline)
            query = sa.select(*columns).where(leases.c.study_id == study_id)
            rows = db.execute(query).mappings().all()
            unbound = [r for r in rows if r["trial"] is None and r["state"] in LIVE]
            if not all(_free(r, "", now) for r in unbound):
                return  # one of them may be about to be bound
            for number in sorted(running.keys() - {r["trial"] for r in rows}):
                self._leave(db, study_id, number, running[number])

    def leave(self, study_id: int, trial: int, digest: str) -> None:
        """Leaves a running trial of a known candidate to the next claim."""
        with self._exclusive(study_id) as db:
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
        with self.engine.connect() as db:
            return set(db.execute(query).scalars())

    def bind(self, lease: Lease, trial: int) -> Lease:
        with self.engine.begin() as db:
            this = leases.c.lease_id == lease.id
            db.execute(leases.update().where(this).values(trial=trial))
        return replace(lease, trial=trial)

    def begin_training(self, study_id: int, lease: Lease, digest: str) -> bool:
        """True: train it. False: another trial trains the same candidate; this one follows it."""
        with self._exclusive(study_id) as db:
            same = sa.select(leases.c.lease_id).where(
                leases.c.study_id == study_id,
                leases.c.digest == digest,
                leases.c.lease_id != lease.id,
                leases.c.state.in_(("training", "waiting", "proposing", "archived")),
            )
            state = "training" if db.execute(same).first() is None else "following"
            this = leases.c.lease_id == lease.id
            db.execute(leases.update().where(this).values(state=state, digest=digest))
            return state == "training"

    def renew(self, lease: Lease, owner: str) -> bool:
        """Keeps the lease; False if it is another worker's by now."""
        with self.engine.begin() as db:
            values = {"deadline": self._now(db) + LEASE_s}
            done = db.execute(leases.update().where(*_held(lease, owner)).values(values))
            return done.rowcount == 1

    def release(self, study_id: int, lease: Lease, owner: str) -> None:
        """Gives an unfinished trial back; the attempt does not count."""
        with self._exclusive(study_id) as db:
            values = {"state": "waiting", "attempt": lease.attempt - 1}
            unbound = (*_held(lease, owner), leases.c.trial.is_(None))
            db.execute(leases.delete().where(*unbound))
            db.execute(leases.update().where(*_held(lease, owner)).values(values))

    def archive_result(
        self,
        study_id: int,
        lease: Lease,
        owner: str,
        evaluation: Evaluation,
        at_step: bool = False,
    ) -> bool:
        """Keeps a result, once; False if the lease was lost meanwhile.

        In place of an earlier one of the candidate stands only where its training has led to since.
        With `at_step` it is also kept as what the candidate had behind this epoch.
        """
        digest = evaluation.architecture.digest
        with self._exclusive(study_id) as db:
            text = self._known(db, study_id, digest)
            continued = text is not None and _continues(evaluation, _evaluation(text))
            outcome = CONTINUED if continued else evaluation.outcome
            done = db.execute(
                leases.update()
                .where(*_held(lease, owner))
                .values(state="archived", outcome=outcome, digest=digest)
            )
            if done.rowcount != 1:
                return False
            row = {"outcome": evaluation.outcome, "metrics": json.dumps(measure(evaluation))}
            row["evaluation"] = json.dumps(evaluation.to_json(), allow_nan=False)
            this = {"study_id": study_id, "digest": digest}
            if text is None:
                db.execute(archive.insert().values(**this, **row, trial=lease.trial))
            elif continued:  # what the test images said was said of other weights
                same = (archive.c.study_id == study_id, archive.c.digest == digest)
                db.execute(archive.update().where(*same).values(**row, test_accuracy=None))
            if at_step and evaluation.trained and (continued or text is None):
                standing = {"epochs": evaluation.fidelity, "metrics": row["metrics"]}
                db.execute(rungs.insert().values(**this, **standing))
            return True

    def finish(self, lease_id: int, outcome: str) -> None:
        """Optuna knows the result now."""
        with self.engine.begin() as db:
            this = leases.c.lease_id == lease_id
            db.execute(leases.update().where(this).values(state="told", outcome=outcome))

    def outcome(self, lease_id: int) -> str | None:
        with self.engine.connect() as db:
            query = sa.select(leases.c.outcome).where(leases.c.lease_id == lease_id)
            found: str | None = db.execute(query).scalar_one()
            return found

    def fail(self, study_id: int, lease: Lease, reason: str) -> None:
        with self._exclusive(study_id) as db:
            self._fail(db, study_id, lease.id, reason)

    def _fail(self, db: Connection, study_id: int, lease_id: int, reason: str) -> None:
        """Ends a trial without a result, and those that waited for the same one."""
        this = leases.c.lease_id == lease_id
        digest = db.execute(sa.select(leases.c.digest).where(this)).scalar_one()
        follows = sa.and_(leases.c.state == "following", leases.c.digest == digest)
        values = {"state": "failed", "outcome": "failed", "reason": reason[:1000]}
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
        with self.engine.connect() as db:
            if not db.execute(query).first():
                return []
        with self._exclusive(study_id) as db:
            now = self._now(db)
            rows = [r for r in db.execute(query).mappings() if _free(r, owner, now)]
            these = leases.c.lease_id.in_([r["lease_id"] for r in rows])
            mine = {"owner": owner, "deadline": now + LEASE_s}
            db.execute(leases.update().where(these).values(mine))
        return [(r["lease_id"], r["trial"], r["digest"], r["reason"]) for r in rows]

    def settle_failure(self, lease_id: int) -> None:
        """Optuna knows of the failure now: a negative deadline says so."""
        with self.engine.begin() as db:
            this = leases.c.lease_id == lease_id
            db.execute(leases.update().where(this).values(deadline=-1.0))

    def outcomes(self, study_id: int) -> dict[int, str]:
        """Trial number -> outcome or state, for every proposal."""
        word = sa.func.coalesce(leases.c.outcome, leases.c.state)
        query = sa.select(leases.c.trial, word).where(
            leases.c.study_id == study_id, leases.c.trial.is_not(None)
        )
        with self.engine.connect() as db:
            return {number: outcome for number, outcome in db.execute(query)}  # noqa: C416

    def failures(self, study_id: int) -> dict[int, str]:
        query = sa.select(leases.c.trial, leases.c.reason).where(
            leases.c.study_id == study_id, leases.c.state == "failed"
        )
        with self.engine.connect() as db:
            return {number: reason for number, reason in db.execute(query)}  # noqa: C416

    def workers(self, study_id: int) -> list[str]:
        """Owners of leases that are being worked on."""
        with self.engine.connect() as db:
            now = self._now(db)
            live = leases.c.state.in_(LIVE) & (leases.c.deadline >= now)
            query = sa.select(leases.c.owner).where(leases.c.study_id == study_id, live)
            return sorted({o for o in db.execute(query).scalars() if not dead(o)})

    # --- archive

    def known(self, study_id: int, digest: str) -> Evaluation | None:
        with self.engine.connect() as db:
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
        with self.engine.connect() as db:
            rows = db.execute(query.where(archive.c.study_id == study_id)).mappings().all()
        return {r["digest"]: Archived(**{**r, "metrics": json.loads(r["metrics"])}) for r in rows}

    def standings(self, study_id: int) -> list[Standing]:
        """What candidates had behind every epoch at which a study with a ladder compares."""
        with self.engine.connect() as db:
            return self._standings(db, study_id)

    def _standings(self, db: Connection, study_id: int) -> list[Standing]:
        found = archive.c
        same = (found.study_id == rungs.c.study_id) & (found.digest == rungs.c.digest)
        columns = (rungs.c.digest, found.trial, rungs.c.epochs, rungs.c.metrics)
        query = sa.select(*columns).join(archive, same).where(rungs.c.study_id == study_id)
        rows = db.execute(query.order_by(found.trial, rungs.c.epochs)).mappings().all()
        return [Standing(**{**r, "metrics": json.loads(r["metrics"])}) for r in rows]

    def keep_test_accuracy(self, study_id: int, digest: str, value: float) -> None:
        with self.engine.begin() as db:
            this = (archive.c.study_id == study_id, archive.c.digest == digest)
            db.execute(archive.update().where(*this).values(test_accuracy=value))

    # --- repeats

    def prepare_repeats(self) -> None:
        """Makes their table in a store of an earlier release, which has none."""
        repeats.create(self.engine, checkfirst=True)

    def repeats(self, study_id: int) -> dict[tuple[str, int], Repeat]:
        """By (digest, number)."""
        with self.engine.connect() as db:
            rows = db.execute(_of(repeats, study_id)).mappings().all()
        return {
            (r["digest"], r["repeat"]): Repeat(_evaluation(r["evaluation"]), r["test_accuracy"])
            for r in rows
        }

    def has_repeat(self, study_id: int, digest: str, number: int) -> bool:
        with self.engine.connect() as db:
            query = sa.select(repeats.c.repeat).where(*_repeat(study_id, digest, number))
            return db.execute(query).first() is not None

    def keep_repeat(self, study_id: int, number: int, evaluation: Evaluation) -> None:
        """Keeps a result, once: whoever comes second has the same."""
        digest = evaluation.architecture.digest
        row = {"study_id": study_id, "digest": digest, "repeat": number}
        text = json.dumps(evaluation.to_json(), allow_nan=False)
        with self._exclusive(study_id) as db:
            query = sa.select(repeats.c.repeat).where(*_repeat(study_id, digest, number))
            if db.execute(query).first() is None:
                db.execute(repeats.insert().values(**row, evaluation=text))

    def keep_repeat_test(self, study_id: int, digest: str, number: int, value: float) -> None:
        with self.engine.begin() as db:
            this = _repeat(study_id, digest, number)
            db.execute(repeats.update().where(*this).values(test_accuracy=value))

    def _now(self, db: Connection) -> float:
        sqlite = self.engine.dialect.name == "sqlite"
        clock = (
            "(julianday('now') - 2440587.5) * 86400.0" if sqlite else "extract(epoch from now())"
        )
        return float(db.execute(sa.text(f"SELECT {clock}")).scalar_one())


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


def _held(lease: Lease, owner: str) -> tuple[sa.ColumnElement[bool], ...]:
    return (
        leases.c.lease_id == lease.id,
        leases.c.owner == owner,
        leases.c.attempt == lease.attempt,
        leases.c.state.in_(LIVE),
    )
