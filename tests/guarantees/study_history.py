"""The tables of a study that workers left, and what must hold of them."""

import itertools
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from worker_harness import NAME

from nas_service.searches.session import open_search
from nas_service.store.records import PAID
from nas_service.store.store import Store
from nas_service.store.tables import archive, attempts, leases


@dataclass(frozen=True)
class StudyHistory:
    """The tables of a store at one time."""

    leases: list[dict[str, Any]]
    attempts: list[dict[str, Any]]
    archive: list[dict[str, Any]]
    trials: list[Any]  # Optuna's

    @classmethod
    def read(cls, url: str) -> "StudyHistory":
        store = Store(url)
        with store.engine.connect() as db:
            order = {leases: (leases.c.lease_id,), archive: (archive.c.trial,)}
            order |= {attempts: (attempts.c.lease_id, attempts.c.attempt)}
            rows = {
                t: [dict(r) for r in db.execute(sa.select(t).order_by(*by)).mappings()]
                for t, by in order.items()
            }
        trials = open_search(store, NAME).study.get_trials()
        store.close()
        return cls(rows[leases], rows[attempts], rows[archive], trials)

    def attempts_at(self, number: int) -> list[dict[str, Any]]:
        """The attempts at one trial."""
        (lease,) = (r["lease_id"] for r in self.leases if r["trial"] == number)
        return [a for a in self.attempts if a["lease_id"] == lease]

    def check(self, trainings: int) -> None:
        """Asserts that a finished study lost nothing and has nothing twice."""
        paid = [r for r in self.archive if r["outcome"] in PAID]
        assert len(paid) == trainings, "the budget, no more and no less"
        assert {r["state"] for r in self.leases} == {"reported"}
        assert sorted(r["trial"] for r in self.leases) == list(range(len(self.trials)))
        for lease in self.leases:
            self._check(lease)
        first = {r["digest"]: r for r in self.archive}
        assert {lease["digest"] for lease in self.leases} == first.keys()

    def _check(self, lease: dict[str, Any]) -> None:
        trial, own = self.trials[lease["trial"]], self.attempts_at(lease["trial"])
        assert trial.state.name == "COMPLETE"
        assert trial.user_attrs["digest"] == lease["digest"]
        assert [a["attempt"] for a in own] == list(range(1, lease["attempt"] + 1))
        endings = [a["result_kind"] for a in own]
        assert sum(e in ("won", "from_archive") for e in endings) == 1, endings
        for earlier, later in itertools.pairwise(own):
            assert earlier["result_kind"] in ("lost", "late", "released", "crashed", "oom")
            assert (
                earlier["result_kind"] == "late" or earlier["finished_at"] <= later["started_at"]
            ), "overlap"
