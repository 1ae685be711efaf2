"""What the store knows of each study: its specification, budget, first trials and clock."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import optuna
import sqlalchemy as sa
from optuna.storages import BaseStorage
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from nas_service.errors import StudyError, did_you_mean
from nas_service.store import study_rows
from nas_service.store.records import StudyName, StudyRow
from nas_service.store.tables import SCHEMA_VERSION, clocks, now, of_study, studies
from nas_service.store.tables import initial_trials as first_trials
from nas_service.store.transactions import STUDIES, Transactions

IDLE_s = 60.0  # a longer gap between two heartbeats does not count as work on the study


class Studies:
    """The studies of one store."""

    def __init__(self, transactions: Transactions, storage: BaseStorage, shown: str) -> None:
        """`storage` is Optuna's; `shown` is the store's address in messages."""
        self._transactions, self._optuna, self._shown = transactions, storage, shown

    def names(self) -> list[str]:
        """All studies in Optuna's tables, also those of other programs, in order."""
        return sorted(optuna.get_all_study_names(self._optuna))

    def listed(self) -> list[StudyName]:
        """All studies, also those of other programs, the newest first."""
        ours = studies.c.study_id.is_not(None)
        query = sa.select(STUDIES.c.study_id, STUDIES.c.study_name, ours).select_from(
            STUDIES.outerjoin(studies, studies.c.study_id == STUDIES.c.study_id)
        )
        with self._transactions.begin() as db:
            rows = db.execute(query.order_by(STUDIES.c.study_id.desc())).all()
        return [StudyName(int(number), name, bool(own)) for number, name, own in rows]

    def has(self, name: str) -> bool:
        """True for a study that is in our tables as well as in Optuna's."""
        try:
            study_id = self._optuna.get_study_id_from_name(name)
        except KeyError:
            return False
        with self._transactions.begin() as db:
            return db.execute(of_study(studies, study_id)).first() is not None

    def add(
        self,
        study_id: int,
        spec: str,
        data_digest: str,
        trainings: int,
        initial_trials: Sequence[dict[str, int | str]] = (),
    ) -> None:
        """Adds a study of Optuna's to our tables; does nothing if it is there.

        Args:
            study_id: Optuna's.
            spec: JSON of the specification.
            data_digest: of the data that candidates are trained on.
            trainings: the budget.
            initial_trials: parameters of the study's first trials.
        """
        row = {"study_id": study_id, "schema_version": SCHEMA_VERSION, "spec": spec}
        row |= {"data_digest": data_digest, "trainings": trainings}
        first = [
            {"study_id": study_id, "position": n, "parameters": json.dumps(p)}
            for n, p in enumerate(initial_trials)
        ]
        with suppress(IntegrityError), self._transactions.exclusive(study_id) as db:
            if db.execute(of_study(studies, study_id)).first() is None:
                db.execute(studies.insert().values(row))
                if first:
                    db.execute(first_trials.insert(), first)

    def initial_trials(self, study_id: int) -> list[dict[str, int | str]]:
        """Parameters of the study's first trials, in their order."""
        query = of_study(first_trials, study_id).order_by(first_trials.c.position)
        with self._transactions.begin() as db:
            return [json.loads(row["parameters"]) for row in db.execute(query).mappings()]

    def get(self, name: str) -> StudyRow:
        """The study of that name.

        Raises:
            StudyError: there is none, or it is another program's or another release's.
        """
        try:
            study_id = self._optuna.get_study_id_from_name(name)
        except KeyError:
            raise StudyError(self._no_study(name)) from None
        with self._transactions.begin() as db:
            row = db.execute(of_study(studies, study_id)).mappings().first()
        if row is None:
            raise StudyError(f"study {name!r} in {self._shown} was not made by this service")
        if row["schema_version"] != SCHEMA_VERSION:
            raise StudyError(
                f"study {name!r} has schema {row['schema_version']}, this release {SCHEMA_VERSION}"
            )
        return StudyRow(study_id, name, row["spec"], row["data_digest"], row["trainings"])

    def _no_study(self, name: str) -> str:
        if not (names := self.names()):
            return f"no study {name!r}: {self._shown} has none yet, `nas run STUDY.toml` adds one"
        known = ", ".join(names[:20]) + (", ..." if len(names) > 20 else "")
        return f"no study {name!r} in {self._shown} (there: {known}){did_you_mean(name, names)}"

    def spec(self, study_id: int) -> str:
        """JSON of the specification."""
        with self._transactions.begin() as db:
            return str(self.row(db, study_id)["spec"])

    def change_spec(self, study_id: int, before: str, after: str) -> bool:
        """Replaces a study's specification, unless another process has changed it.

        Args:
            study_id: the study.
            before: the specification that is expected to be stored, as JSON.
            after: the new one, as JSON.

        Returns:
            False where another specification than `before` is stored by now.
        """
        with self._transactions.begin() as db:
            this = (studies.c.study_id == study_id, studies.c.spec == before)
            return db.execute(studies.update().where(*this).values(spec=after)).rowcount == 1

    def budget(self, study_id: int) -> int:
        """Number of trainings that the study may spend."""
        with self._transactions.begin() as db:
            return int(self.row(db, study_id)["trainings"])

    def set_budget(self, study_id: int, trainings: int) -> None:
        """Sets the number of trainings that the study may spend."""
        with self._transactions.begin() as db:
            this = studies.c.study_id == study_id
            db.execute(studies.update().where(this).values(trainings=trainings))

    def row(self, db: Connection, study_id: int) -> sa.RowMapping:
        """The study's row; it is not queried again where this transaction has locked it.

        Args:
            db: the transaction.
            study_id: the study.

        Returns:
            The row, with the columns of `nas_studies`.

        Raises:
            StudyError: the study is not in the store any more.
        """
        row = self._transactions.row(study_id)
        if row is None:
            row = db.execute(of_study(studies, study_id)).mappings().first()
        if row is None:
            raise StudyError(f"study {study_id} is not in {self._shown} any more: it was deleted")
        return row

    @contextmanager
    def deleting(self, name: str, *, force: bool = False) -> Iterator[None]:
        """Deletes a study with all its rows, in one transaction that ends with the block.

        Args:
            name: of the study.
            force: also where workers have trials of it.

        Yields:
            Nothing; the rows are deleted unless the block fails.

        Raises:
            StudyError: there is no such study, it is running, or another study learns from it.
        """
        with self._changing(name, force) as (db, study_id):
            if others := study_rows.learners(db, name).keys() - {study_id}:
                other = json.loads(self.row(db, min(others))["spec"])["name"]
                raise StudyError(
                    f"study {other!r} learns from {name!r} (search.warm_start_from): delete "
                    f"{other!r} first"
                )
            study_rows.delete(db, self._optuna, study_id)
            yield

    @contextmanager
    def renaming(self, name: str, new: str, *, force: bool = False) -> Iterator[list[str]]:
        """Gives a study another name, in one transaction that ends with the block.

        Args:
            name: of the study.
            new: its name after the block.
            force: also where workers have trials of it.

        Yields:
            Names of the studies that learn from it, whose specifications now have the new name.

        Raises:
            StudyError: there is no such study, the new name is taken, or the study or one that
                learns from it is running.
        """
        with self._changing(name, force) as (db, study_id):
            if new in self.names():
                raise StudyError(f"{self._shown} already has a study {new!r}")
            learners = study_rows.learners(db, name)
            for other, spec in learners.items():
                self._demand_idle(db, other, str(spec["name"]), force)
                known = [new if source == name else source for source in study_rows.sources(spec)]
                spec["search"]["warm_start_from"] = known
                study_rows.write_spec(db, self._optuna, other, spec)
            study_rows.rename(db, self._optuna, study_id, new)
            yield [str(spec["name"]) for other, spec in learners.items() if other != study_id]

    def demand_idle(self, name: str) -> None:
        """Raises StudyError where workers have trials of a study, or there is no such study."""
        with self._changing(name, force=False):
            pass

    @contextmanager
    def _changing(self, name: str, force: bool) -> Iterator[tuple[Connection, int]]:
        study_id = self.get(name).id
        with self._transactions.exclusive(study_id) as db:
            self.row(db, study_id)
            self._demand_idle(db, study_id, name, force)
            yield db, study_id

    def _demand_idle(self, db: Connection, study_id: int, name: str, force: bool) -> None:
        if not force:
            study_rows.demand_idle(db, study_id, name)

    def advance_clock(self, study_id: int) -> None:
        """Counts the time since the study's last heartbeat as time worked."""
        with self._transactions.exclusive(study_id) as db:
            advance_clock(db, study_id, now(db))


def advance_clock(db: Connection, study_id: int, now_s: float) -> float:
    """Counts the time since the last heartbeat as the study's, unless no worker can have run in it.

    A gap of IDLE_s or more is not counted.

    Args:
        db: the transaction.
        study_id: the study.
        now_s: the database's time, seconds since 1970.

    Returns:
        Seconds in which any worker has worked on the study, as `elapsed_s`.
    """
    this = clocks.c.study_id == study_id
    row = db.execute(of_study(clocks, study_id)).mappings().first()
    if row is None:
        db.execute(clocks.insert().values(study_id=study_id, elapsed_s=0.0, last_beat=now_s))
        return 0.0
    gap = now_s - row["last_beat"]
    elapsed: float = row["elapsed_s"] + (gap if 0 < gap < IDLE_s else 0.0)
    db.execute(clocks.update().where(this).values(elapsed_s=elapsed, last_beat=now_s))
    return elapsed


def elapsed_s(db: Connection, study_id: int) -> float:
    """Seconds in which any worker has worked on the study."""
    query = sa.select(clocks.c.elapsed_s).where(clocks.c.study_id == study_id)
    return float(db.execute(query).scalar() or 0.0)
