"""Checks the tables of a finished study: each result once, none lost, none over the budget.

`violations` lists everything in them that must not be; it compares ours with Optuna's and trusts
neither. For studies that spent their budget, without successive halving.
"""

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from nas_service.metrics import Evaluation, measure, values_with_fallbacks
from nas_service.searches.results import read as read_results
from nas_service.searches.session import Search
from nas_service.store.records import FAILED, PAID
from nas_service.store.tables import archive, attempts, leases
from nas_service.study.spec import StudySpec

FINAL = ("won", "from_archive")  # kinds of result after which no attempt follows
SPOILED = ("lost", "late", "crashed", "oom")


@dataclass(frozen=True)
class History:
    """All rows of one study, as plain values."""

    spec: StudySpec
    budget: int  # trainings
    leases: tuple[dict[str, Any], ...]
    attempts: tuple[dict[str, Any], ...]
    archive: tuple[dict[str, Any], ...]
    trials: tuple[FrozenTrial, ...]
    front: frozenset[str]  # digests, as the service computes it

    @property
    def trainings(self) -> int:
        """Results that the budget has paid for."""
        return sum(row["outcome"] in PAID for row in self.archive)

    @property
    def twice(self) -> int:
        """Trials that won with a training of a candidate that another trial had won with."""
        paid = Counter(r["digest"] for r in self.leases if r["outcome"] in PAID)
        return sum(n - 1 for n in paid.values())

    def attempts_at(self, lease: dict[str, Any]) -> list[dict[str, Any]]:
        """The attempts at a lease in their order."""
        own = [a for a in self.attempts if a["lease_id"] == lease["lease_id"]]
        return sorted(own, key=lambda a: int(a["attempt"]))


def read(search: Search) -> History:
    """Reads the study from its store."""
    store = search.store

    def rows(table: sa.Table) -> tuple[dict[str, Any], ...]:
        query = sa.select(table).where(table.c.study_id == search.id)
        with store.transactions.begin() as db:
            return tuple(dict(row) for row in db.execute(query).mappings())

    return History(
        search.spec,
        store.studies.budget(search.id),
        rows(leases),
        rows(attempts),
        rows(archive),
        tuple(search.study.get_trials(deepcopy=False)),
        frozenset(c.digest for c in read_results(search).front),
    )


def violations(h: History) -> list[str]:
    """Everything that must not be, one sentence each."""
    rules = (_budget, _once, _leases, _attempts, _trials, _values, _archive, _front)
    return [violation for rule in rules for violation in rule(h)]


def _budget(h: History) -> Iterator[str]:
    if h.trainings != h.budget:
        yield f"budget: {h.trainings} trainings in the archive, {h.budget} were to be spent"


def _once(h: History) -> Iterator[str]:
    paid = Counter(row["digest"] for row in h.leases if row["outcome"] in PAID)
    for digest, count in paid.items():
        if count > 1:
            yield f"candidate {digest}: counted {count} times"


def _leases(h: History) -> Iterator[str]:
    for row in h.leases:
        trial = row["trial"]
        if row["state"] not in ("reported", *FAILED):
            yield f"trial {trial}: its lease has no end (state {row['state']!r})"
        if row["state"] in FAILED and row["deadline"] >= 0:
            yield f"trial {trial}: its failure was not reported"


def _attempts(h: History) -> Iterator[str]:
    for row in h.leases:
        made, trial = h.attempts_at(row), row["trial"]
        yield from _in_turn(trial, made)
        winners = [a for a in made if a["result_kind"] in FINAL]
        if row["state"] == "reported" and len(winners) != 1:
            yield f"trial {trial}: {len(winners)} of its attempts count, one should"
        if row["state"] in FAILED and any(a["result_kind"] == "won" for a in winners):
            yield f"trial {trial}: failed, and yet an attempt won"
        if any(a["attempt"] != made[-1]["attempt"] for a in winners):
            yield f"trial {trial}: an attempt follows the one that counts"
        if len(made) > row["attempt"]:
            yield f"trial {trial}: {len(made)} attempts, its lease knows of {row['attempt']}"
    known = {row["lease_id"] for row in h.leases}
    for a in h.attempts:
        if a["lease_id"] not in known:
            yield f"attempt {a['attempt']} at lease {a['lease_id']}: there is no such lease"


def _in_turn(trial: int, made: Sequence[dict[str, Any]]) -> Iterator[str]:
    for a in made:
        if a["finished_at"] is None or a["result_kind"] is None:
            yield f"trial {trial}: attempt {a['attempt']} has no end"
        elif a["finished_at"] < a["started_at"]:
            yield f"trial {trial}: attempt {a['attempt']} ends before it begins"
    for a, b in itertools.pairwise(made):
        finished = a["finished_at"]
        if a["result_kind"] != "late" and finished is not None and finished > b["started_at"]:
            yield f"trial {trial}: attempts {a['attempt']} and {b['attempt']} overlap"


def _trials(h: History) -> Iterator[str]:
    numbers = [t.number for t in h.trials]
    if numbers != list(range(len(numbers))):
        yield f"trials: their numbers are not 0 to {len(numbers) - 1}"
    for t in h.trials:
        if not t.state.is_finished():
            yield f"trial {t.number}: still {t.state.name} in Optuna"
    for state, ends in ((TrialState.COMPLETE, ("reported",)), (TrialState.FAIL, FAILED)):
        in_optuna = {t.number for t in h.trials if t.state == state}
        ours = {row["trial"] for row in h.leases if row["state"] in ends}
        for number in sorted(in_optuna ^ ours, key=str):
            where = "Optuna" if number in in_optuna else "our leases"
            yield f"trial {number}: {ends[0]} in {where} alone"


def _values(h: History) -> Iterator[str]:
    known = {row["digest"]: Evaluation.from_json(_json(row)) for row in h.archive}
    ours = {row["trial"]: row for row in h.leases}
    space = h.spec.build_space()
    for t in h.trials:
        if t.state != TrialState.COMPLETE or t.number not in ours:
            continue
        digest = space.draw(FixedTrial(t.params)).digest
        if not digest == t.user_attrs.get("digest") == ours[t.number]["digest"]:
            yield f"trial {t.number}: its parameters are of candidate {digest}, its result is not"
        if digest not in known:
            yield f"trial {t.number}: its candidate {digest} is not in the archive"
            continue
        expected = values_with_fallbacks(known[digest])
        for name, value in zip((o.metric for o in h.spec.objectives), t.values, strict=True):
            if not math.isclose(value, expected[name], rel_tol=1e-9):
                yield f"trial {t.number}: {name} is {value} in Optuna, {expected[name]} in ours"


def _archive(h: History) -> Iterator[str]:
    ours = {row["trial"]: row for row in h.leases}
    for row in h.archive:
        lease = ours.get(row["trial"])
        if lease is None or (lease["digest"], lease["outcome"]) != (row["digest"], row["outcome"]):
            yield f"candidate {row['digest']}: trial {row['trial']} did not end with it"
            continue
        digest = hashlib.sha256(row["evaluation"].encode()).hexdigest()
        if [a["result"] for a in h.attempts_at(lease) if a["result_kind"] == "won"] != [digest]:
            yield f"trial {row['trial']}: what its attempt won with is not what the archive has"


def _front(h: History) -> Iterator[str]:
    """All pairs of feasible candidates, compared."""
    points = {}
    for row in h.archive:
        evaluation = Evaluation.from_json(_json(row))
        if evaluation.measured and h.spec.is_feasible(measure(evaluation)):
            signs = [(1 if o.direction == "minimize" else -1, o.metric) for o in h.spec.objectives]
            points[row["digest"]] = [sign * measure(evaluation)[metric] for sign, metric in signs]
    best = {d for d, p in points.items() if not any(_dominates(q, p) for q in points.values())}
    for digest in sorted(best ^ h.front):
        where = "the service's" if digest in h.front else "the true"
        yield f"candidate {digest}: on {where} front alone"


def _dominates(p: Sequence[float], q: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(p, q, strict=True)) and list(p) != list(q)


def _json(row: dict[str, Any]) -> Any:
    return json.loads(row["evaluation"])
