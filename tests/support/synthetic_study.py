"""A study with many trials of every outcome, whose rows are written by a few statements."""

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution, IntDistribution, distribution_to_json
from optuna.storages._rdb.models import (
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import TrialState
from stored_studies import evaluation, spec_of

from nas_service.searches.creation import check, create
from nas_service.searches.session import Search
from nas_service.store.store import Store
from nas_service.store.tables import archive, leases

OBJECTIVES = [
    {"metric": "accuracy", "direction": "maximize", "reference": 0.5},
    {"metric": "spike_rate", "direction": "minimize", "reference": 0.6},
]
BUDGET = [{"metric": "energy_uJ", "at_most": 1.0}]
OUTCOMES = ("trained", "rejected", "cached", "continued", "diverged", "failed")
SHARES = (0.45, 0.35, 0.06, 0.06, 0.04, 0.04)
PARAMS = 20
BEGIN = datetime(2026, 1, 1)
TEXT = json.dumps(evaluation(4, 0.5).to_json())
OPERATIONS = CategoricalDistribution(["zeroize", "skip", "conv1x1", "conv3x3", "avgpool3x3"])
CHANNELS = IntDistribution(8, 64, step=4)


@dataclass
class Trial:
    """What a trial is reported with."""

    outcome: str
    digest: str
    metrics: dict[str, float]


@dataclass
class Rows:
    """Rows to be written, by table."""

    archived: dict[str, dict[str, Any]] = field(default_factory=dict)  # by digest
    trained: list[str] = field(default_factory=list)  # digests
    trials: list[Trial] = field(default_factory=list)


def synthetic_study(store: Store, name: str, count: int, seed: int = 0, epochs: int = 1) -> Search:
    """A study of `count` trials, of which accuracies and spike rates have many ties.

    Trainings last up to `epochs`; those that are continued are one epoch longer.
    """
    sections = {"objectives": OBJECTIVES, "constraints": BUDGET, "training": {"epochs": epochs}}
    search = create(store, check(spec_of(name, **sections)), "data")
    add_trials(search, count, seed)
    return search


def add_trials(search: Search, count: int, seed: int = 0) -> None:
    """Adds this many trials to a study of `synthetic_study` that has none."""
    rng, rows = np.random.default_rng(seed), Rows()
    for number in range(count):
        rows.trials.append(_trial(rng, number, rows, search.spec.training.last))
    with search.store.exclusive(search.id) as db:
        _write_trials(db, search, rows.trials, rng)
        db.execute(sa.insert(leases), [_lease(search.id, n, t) for n, t in enumerate(rows.trials)])
        own = {"study_id": search.id, "evaluation": TEXT}
        db.execute(sa.insert(archive), [own | row for row in rows.archived.values()])


def _trial(rng: np.random.Generator, number: int, rows: Rows, epochs: int) -> Trial:
    outcome = str(rng.choice(OUTCOMES, p=SHARES))
    if outcome in ("cached", "continued") and not rows.trained:
        outcome = "trained"
    if outcome == "failed":
        return Trial(outcome, "", {})
    if outcome in ("cached", "continued"):
        row = rows.archived[rows.trained[rng.integers(len(rows.trained))]]
        metrics = json.loads(row["metrics"])
        if outcome == "cached" or metrics["epochs"] >= epochs:
            return Trial("cached", row["digest"], metrics)
        metrics |= {
            "epochs": metrics["epochs"] + 1.0,
            "accuracy": min(1.0, metrics["accuracy"] + 0.1),
        }
        row["metrics"] = json.dumps(metrics)
        return Trial("continued", row["digest"], metrics)
    metrics = {"energy_uJ": round(float(rng.uniform(0.3, 1.3)), 2)}
    if outcome == "rejected":
        metrics["energy_uJ"] += 1.0
    if outcome == "trained":
        cost = float(rng.integers(1, 40)) / 40
        gain = min(1.0, max(0.1, cost**0.5 + float(rng.normal(0, 0.1))))
        metrics |= {"accuracy": round(gain * 40) / 40, "spike_rate": cost}
        metrics["epochs"] = float(rng.integers(1, epochs + 1))
    digest = f"{number:016x}"
    rows.trained += [digest] * (outcome == "trained")
    rows.archived[digest] = {
        "digest": digest, "trial": number, "outcome": outcome, "metrics": json.dumps(metrics)
    }  # fmt: skip
    return Trial(outcome, digest, metrics)


def _lease(study_id: int, number: int, trial: Trial) -> dict[str, Any]:
    state = "failed" if trial.outcome == "failed" else "reported"
    return {
        "study_id": study_id, "trial": number, "digest": trial.digest or None, "state": state,
        "outcome": trial.outcome, "attempt": 1, "worker": "a/b/1/1", "deadline": 0.0,
        "reason": "out of memory" if state == "failed" else None,
    }  # fmt: skip


def _write_trials(
    db: sa.Connection, search: Search, trials: list[Trial], rng: np.random.Generator
) -> None:
    """Optuna's rows, as workers write them."""
    table = TrialModel.__table__
    db.execute(sa.insert(table), [_row(search.id, n, t) for n, t in enumerate(trials)])
    query = sa.select(table.c.number, table.c.trial_id).where(table.c.study_id == search.id)
    ids = dict(list(db.execute(query)))
    finished = [(ids[n], t) for n, t in enumerate(trials) if t.outcome != "failed"]
    drawn = rng.integers(0, 5, (len(trials), PARAMS))
    db.execute(sa.insert(TrialParamModel.__table__), _params(ids, drawn))
    for model, rows in (
        (TrialValueModel, [r for n, t in finished for r in _values(n, t)]),
        (TrialUserAttributeModel, [r for n, t in finished for r in _attributes(n, t)]),
        (TrialSystemAttributeModel, [r for n, t in finished for r in _constraints(n, t)]),
    ):
        if rows:
            db.execute(sa.insert(model.__table__), rows)


def _row(study_id: int, number: int, trial: Trial) -> dict[str, Any]:
    start = BEGIN + timedelta(minutes=number)
    state = TrialState.FAIL if trial.outcome == "failed" else TrialState.COMPLETE
    times = {"datetime_start": start, "datetime_complete": start + timedelta(seconds=50)}
    return {"study_id": study_id, "number": number, "state": state, **times}


def _params(ids: dict[int, int], drawn: Any) -> list[dict[str, Any]]:
    names = [f"cell{n // 6}.edge{n % 6}" for n in range(PARAMS - 2)] + ["channels", "hidden"]
    kinds = [OPERATIONS] * (PARAMS - 2) + [CHANNELS] * 2
    texts = [distribution_to_json(kind) for kind in kinds]
    return [
        {
            "trial_id": ids[number],
            "param_name": name,
            "param_value": float(code if kind is OPERATIONS else 8 + 4 * code),
            "distribution_json": text,
        }
        for number, codes in enumerate(drawn.tolist())
        for name, kind, text, code in zip(names, kinds, texts, codes, strict=True)
    ]


def _values(trial_id: int, trial: Trial) -> list[dict[str, Any]]:
    values = (trial.metrics.get("accuracy", 0.1), trial.metrics.get("spike_rate", 1.0))
    return [
        {"trial_id": trial_id, "objective": n, "value": v, "value_type": "FINITE"}
        for n, v in enumerate(values)
    ]


def _attributes(trial_id: int, trial: Trial) -> list[dict[str, Any]]:
    facts = {"outcome": trial.outcome, "digest": trial.digest, **trial.metrics}
    if trial.outcome == "rejected":
        facts |= {"reason": "energy_uJ over budget", "rejected_by": ["energy_uJ"]}
    return _stored(trial_id, facts)


def _constraints(trial_id: int, trial: Trial) -> list[dict[str, Any]]:
    trainable = 1.0 if trial.outcome == "diverged" else -1.0
    energy = trial.metrics["energy_uJ"] - 1.0
    return _stored(trial_id, {"constraints:energy_uJ": energy, "constraints:trainable": trainable})


def _stored(trial_id: int, facts: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in facts.items()
    ]
