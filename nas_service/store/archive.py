"""The archive: one evaluation for each candidate of a study, and its metrics at each rung."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from nas_service.errors import SpecError, StoreError
from nas_service.metrics import Evaluation, measure, rates_from_json
from nas_service.spaces.architecture import Architecture
from nas_service.store.records import CONTINUED, Archived, Recorded, RungResult, TrainingFacts
from nas_service.store.tables import archive, rungs
from nas_service.store.transactions import Transactions

CHUNK = 500  # candidates that one statement reads


@dataclass(frozen=True)
class Archive:
    """The archive of one study."""

    transactions: Transactions
    study_id: int

    def digests(self) -> set[str]:
        """Digests of all known candidates."""
        query = sa.select(archive.c.digest).where(archive.c.study_id == self.study_id)
        with self.transactions.begin() as db:
            return set(db.execute(query).scalars())

    def evaluation(self, digest: str) -> Evaluation | None:
        """A candidate's evaluation; None where it is not known."""
        with self.transactions.begin() as db:
            return evaluation(db, self.study_id, digest)

    def architectures(self, digests: Iterable[str]) -> dict[str, Architecture]:
        """The architectures of known candidates by digest, read together.

        Raises:
            StoreError: One of the candidates is not known, or what is stored is none.
        """
        return {d: r.architecture for d, r in self.recorded(digests).items()}

    def recorded(self, digests: Iterable[str]) -> dict[str, Recorded]:
        """The architectures and spike rates of known candidates by digest, read together.

        Raises:
            StoreError: One of the candidates is not known, or what is stored is none.
        """
        wanted, texts = list(digests), dict[str, str]()
        query = sa.select(archive.c.digest, archive.c.evaluation)
        with self.transactions.begin() as db:
            for n in range(0, len(wanted), CHUNK):
                these = archive.c.digest.in_(wanted[n : n + CHUNK])
                rows = db.execute(query.where(archive.c.study_id == self.study_id, these))
                texts |= dict(list(rows))
        return {digest: _recorded(digest, texts.get(digest)) for digest in wanted}

    def training_facts(self) -> dict[str, TrainingFacts]:
        """What was measured of every known candidate, by digest, read together.

        Raises:
            StoreError: What is stored of a candidate is no evaluation.
        """
        ours = archive.c.study_id == self.study_id
        with self.transactions.begin() as db:
            rows = db.execute(sa.select(archive.c.digest, archive.c.evaluation).where(ours)).all()
        return {digest: _training_facts(digest, text) for digest, text in rows}

    def entries(self) -> dict[str, Archived]:
        """All entries by digest, without their evaluations."""
        columns = ("digest", "trial", "outcome", "metrics", "test_accuracy")
        query = sa.select(*(archive.c[name] for name in columns))
        with self.transactions.begin() as db:
            ours = archive.c.study_id == self.study_id
            rows = db.execute(query.where(ours)).mappings().all()
        return {r["digest"]: Archived(**{**r, "metrics": _metrics(r)}) for r in rows}

    def rung_results(self) -> list[RungResult]:
        """Every candidate's metrics at every rung it has reached, by trial and epoch."""
        with self.transactions.begin() as db:
            return rung_results(db, self.study_id)

    def set_test_accuracy(self, digest: str, accuracy: float) -> None:
        """Records a candidate's accuracy on the test images; does nothing for an unknown candidate.

        Args:
            digest: of the candidate.
            accuracy: share of the test images that are classified correctly, 0..1.
        """
        with self.transactions.begin() as db:
            this = (archive.c.study_id == self.study_id, archive.c.digest == digest)
            db.execute(archive.update().where(*this).values(test_accuracy=accuracy))


def evaluation(db: Connection, study_id: int, digest: str) -> Evaluation | None:
    """A candidate's evaluation, read in the caller's transaction.

    Args:
        db: the transaction.
        study_id: the study.
        digest: of the candidate.

    Returns:
        The evaluation; None where the candidate is not known.
    """
    query = sa.select(archive.c.evaluation).where(
        archive.c.study_id == study_id, archive.c.digest == digest
    )
    return parsed(db.execute(query).scalar_one_or_none())


def parsed(text: str | None) -> Evaluation | None:
    """The evaluation that a text of the archive holds; None for None."""
    return None if text is None else Evaluation.from_json(json.loads(text))


def rung_results(db: Connection, study_id: int) -> list[RungResult]:
    """As `Archive.rung_results`, read in the caller's transaction.

    Args:
        db: the transaction.
        study_id: the study.

    Returns:
        Every candidate's metrics at every rung it has reached, by trial and epoch.
    """
    entry = archive.c
    same = (entry.study_id == rungs.c.study_id) & (entry.digest == rungs.c.digest)
    columns = (rungs.c.digest, entry.trial, rungs.c.epochs, rungs.c.metrics)
    query = sa.select(*columns).join(archive, same).where(rungs.c.study_id == study_id)
    rows = db.execute(query.order_by(entry.trial, rungs.c.epochs)).mappings().all()
    return [RungResult(**{**r, "metrics": _metrics(r)}) for r in rows]


@contextmanager
def _of_candidate(digest: str) -> Iterator[None]:
    """Names the candidate whose stored evaluation cannot be read inside."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, SpecError) as error:
        raise StoreError(f"candidate {digest}: its evaluation in the store: {error}") from None


def _recorded(digest: str, text: str | None) -> Recorded:
    with _of_candidate(digest):
        document = json.loads(text or "{}")
        architecture = Architecture.from_json(document["architecture"])
        return Recorded(architecture, rates_from_json(document.get("spike_rates", {})))


def _training_facts(digest: str, text: str) -> TrainingFacts:
    with _of_candidate(digest):
        document = json.loads(text)
        return TrainingFacts(
            Architecture.from_json(document["architecture"]),
            tuple((int(epoch), _share(a)) for epoch, a in document.get("curve", ())),
            tuple(map(_share, document.get("on_chip", ()))),
            {str(name): float(score) for name, score in document.get("proxies", {}).items()},
            float(document.get("seconds", 0.0)),
            int(document["seed"]),
            {str(name): str(text) for name, text in document.get("versions", {}).items()},
        )


def _share(value: Any) -> float:
    if isinstance(value, int | float) and 0 <= value <= 1:
        return float(value)
    raise ValueError(f"{value!r:.60} is no share, 0..1")


def _metrics(row: sa.RowMapping) -> dict[str, float]:
    """The metrics of a stored row.

    Raises:
        StoreError: They are no JSON, or one is not finite: another program has written them.
    """
    try:
        metrics: dict[str, float] = _FINITE.decode(row["metrics"])
    except ValueError as error:
        raise StoreError(f"candidate {row['digest']}: its metrics in the store: {error}") from None
    return metrics


def _refuse(constant: str) -> float:
    raise ValueError(f"{constant} is not finite")


_FINITE = json.JSONDecoder(parse_constant=_refuse)


def continues(later: Evaluation, earlier: Evaluation | None) -> bool:
    """Whether an evaluation continues the training of an earlier one.

    Args:
        later: the new evaluation of a candidate.
        earlier: the stored evaluation of the same candidate; None where there is none.

    Returns:
        True where `later` is a later epoch of the same training, or its end by divergence.
    """
    if earlier is None or not earlier.trained:
        return False
    return later.outcome == "diverged" or later.fidelity > earlier.fidelity


def keeping(
    study_id: int, trial: int, result: Evaluation, text: str, known: str | None, at_rung: bool
) -> tuple[str, list[sa.Insert | sa.Update]]:
    """How a result is kept.

    A known candidate's entry is replaced only by a result that continues its training.

    Args:
        study_id: the study.
        trial: number of the trial that has measured the result.
        result: the evaluation.
        text: the same as JSON.
        known: the candidate's evaluation so far, as JSON; None where it is not known.
        at_rung: keep its metrics as those of a rung, too.

    Returns:
        The trial's outcome, which is that of the result, "continued" or "cached"; and the
        statements that write it.
    """
    digest = result.architecture.digest
    this = {"study_id": study_id, "digest": digest}
    row = {"outcome": result.outcome, "metrics": json.dumps(measure(result)), "evaluation": text}
    earlier = parsed(known)
    continued, writes = continues(result, earlier), list[sa.Insert | sa.Update]()
    if earlier is None:
        writes.append(archive.insert().values(**this, **row, trial=trial))
    elif continued:  # its accuracy on the test images was that of other weights
        same = (archive.c.study_id == study_id, archive.c.digest == digest)
        writes.append(archive.update().where(*same).values(**row, test_accuracy=None))
    if at_rung and result.trained and (continued or earlier is None):
        at = {"epochs": result.fidelity, "metrics": row["metrics"]}
        writes.append(rungs.insert().values(**this, **at))
    if continued:
        return CONTINUED, writes
    return (result.outcome if earlier is None else "cached"), writes
