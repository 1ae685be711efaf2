"""Repeated trainings of a study's finalists, each with a seed of its own."""

import json
from dataclasses import dataclass

import sqlalchemy as sa

from nas_service.metrics import Evaluation
from nas_service.store.records import Repeat
from nas_service.store.tables import of_study, repeats
from nas_service.store.transactions import Transactions


@dataclass(frozen=True)
class Repeats:
    """The repeats of one study, by candidate digest and number."""

    transactions: Transactions
    study_id: int

    def all(self) -> dict[tuple[str, int], Repeat]:
        """Every repeat, by (digest, number)."""
        with self.transactions.begin() as db:
            rows = db.execute(of_study(repeats, self.study_id)).mappings().all()
        return {
            (r["digest"], r["repeat"]): Repeat(
                Evaluation.from_json(json.loads(r["evaluation"])), r["test_accuracy"]
            )
            for r in rows
        }

    def has(self, digest: str, number: int) -> bool:
        """True where this repeat of the candidate is stored."""
        with self.transactions.begin() as db:
            query = sa.select(repeats.c.repeat).where(*self._one(digest, number))
            return db.execute(query).first() is not None

    def add(self, number: int, evaluation: Evaluation) -> None:
        """Adds a repeat; does nothing if it is there, as every worker trains it to the same end.

        Args:
            number: of the repeat, from 0.
            evaluation: of the finalist, trained with the seed of this repeat.
        """
        digest = evaluation.architecture.digest
        row = {"study_id": self.study_id, "digest": digest, "repeat": number}
        text = json.dumps(evaluation.to_json(), allow_nan=False)
        with self.transactions.exclusive(self.study_id) as db:
            query = sa.select(repeats.c.repeat).where(*self._one(digest, number))
            if db.execute(query).first() is None:
                db.execute(repeats.insert().values(**row, evaluation=text))

    def set_test_accuracy(self, digest: str, number: int, accuracy: float) -> None:
        """Records the accuracy of a stored repeat on the test images.

        Args:
            digest: of the finalist.
            number: of the repeat, from 0.
            accuracy: share of the test images that are classified correctly, 0..1.
        """
        with self.transactions.begin() as db:
            this = self._one(digest, number)
            db.execute(repeats.update().where(*this).values(test_accuracy=accuracy))

    def _one(self, digest: str, number: int) -> tuple[sa.ColumnElement[bool], ...]:
        c = repeats.c
        return (c.study_id == self.study_id, c.digest == digest, c.repeat == number)
