"""A store's studies as an SQLite file that plain Optuna tools show truly.

optuna-dashboard reads the constraints of Optuna 4 alone, and calls trials best by their values,
whatever their constraints are. So in the copy every trial has its constraints in both forms, a
trial that is no result has a positive one, and of these the ones that the values alone would call
best are pruned.
"""

import json
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.storages._rdb.models import (
    StudyDirectionModel,
    StudyModel,
    StudySystemAttributeModel,
    StudyUserAttributeModel,
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection

from nas_service.errors import NasError
from nas_service.samplers.greybox.pareto import covered, nondominated
from nas_service.searches.shown_trials import (
    EPOCHS,
    LIST,
    NAMED,
    OUTCOME,
    TRAINED,
    listed,
    missed_references,
)
from nas_service.store.store import Store
from nas_service.store.tables import studies
from nas_service.store.trial_reader import read_trials
from nas_service.study.loading import parse_spec
from nas_service.study.spec import StudySpec

MODELS: tuple[Any, ...] = (
    StudyModel, StudyDirectionModel, StudyUserAttributeModel, StudySystemAttributeModel, TrialModel,
    TrialParamModel, TrialValueModel, TrialUserAttributeModel, TrialSystemAttributeModel,
    TrialIntermediateValueModel,
)  # fmt: skip
ROWS = 5000  # that one statement writes
REFERENCE, SHORTER = "below_reference", "shorter_training"  # constraints that the copy adds
Row = dict[str, Any]


@dataclass(frozen=True)
class Copied:
    """A study in the copy."""

    name: str
    trials: int
    results: int  # that no constraint rules out
    pruned: int  # that are no result, and better than all results in a value


def write_plain_copy(store: Store, path: Path) -> list[Copied]:
    """Copies all studies of a store into a new SQLite file for plain Optuna tools.

    The file appears complete or not at all.

    Args:
        store: The store, SQLite or PostgreSQL; it is only read.
        path: The file, which must not exist.

    Returns:
        The studies by name.

    Raises:
        NasError: The file exists, or cannot be written.
    """
    if "?" in str(path):
        raise NasError(f"{str(path)!r:.90}: a path without '?' is needed")
    if path.exists():
        raise NasError(f"{path}: it exists; the name of a new file is needed")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            part = Path(folder) / path.name
            copied = _write(store, part)
            os.link(part, path)  # fails where another process has made the file meanwhile
    except OSError as error:
        raise NasError(f"{path}: it cannot be written ({error.strerror})") from None
    return copied


def _write(store: Store, path: Path) -> list[Copied]:
    storage = RDBStorage(f"sqlite:///{path.absolute()}")
    try:
        with storage.engine.begin() as target:
            _copy_rows(store, target)
            names = sa.select(StudyModel.study_id, StudyModel.study_name)
            rows = target.execute(names.order_by(StudyModel.study_name)).all()
            return [_mark(target, i, name, _spec(store, i)) for i, name in rows]
    finally:
        storage.remove_session()
        storage.engine.dispose()


def _copy_rows(store: Store, target: Connection) -> None:
    """Optuna's rows as they are, all of one moment."""
    with store.engine.connect() as source:
        if source.dialect.name == "postgresql":
            source = source.execution_options(isolation_level="REPEATABLE READ")
        else:
            source.exec_driver_sql("BEGIN")
        for model in MODELS:
            rows = source.execution_options(yield_per=ROWS).execute(sa.select(model.__table__))
            for part in rows.mappings().partitions():
                target.execute(sa.insert(model.__table__), [dict(row) for row in part])
        source.rollback()


def _spec(store: Store, study_id: int) -> StudySpec | None:
    """The specification of a study; None of another program's, or where it is damaged."""
    query = sa.select(studies.c.spec).where(studies.c.study_id == study_id)
    with store.transactions.begin() as db:
        text = db.execute(query).scalar_one_or_none()
    try:
        return None if text is None else parse_spec(text, "study", stored=True)
    except NasError:
        return None


def _mark(target: Connection, study_id: int, name: str, spec: StudySpec | None) -> Copied:
    """Gives the trials of a study their constraints in both forms, and prunes what misleads."""
    every = read_trials(target, study_id, None, (), -1)
    trials = [t for t in every if t.state == TrialState.COMPLETE]
    most = _most_epochs(trials)
    added = [_added(spec, trial, most) for trial in trials]
    values = [[*listed(t), *more.values()] for t, more in zip(trials, added, strict=True)]
    _write_constraints(target, study_id, trials, added, values)
    is_result = [all(x <= 0 for x in constraints) for constraints in values]
    pruned = [] if spec is None else _misleading(spec, trials, is_result)
    table = TrialModel.__table__
    for trial in pruned:
        this = table.c.trial_id == trial._trial_id
        target.execute(sa.update(table).where(this).values(state=TrialState.PRUNED))
    return Copied(name, len(every), sum(is_result), len(pruned))


def _most_epochs(trials: Iterable[FrozenTrial]) -> float:
    """The most epochs of a feasible trial that measured its own values."""
    measured = (t for t in trials if t.user_attrs.get(OUTCOME) in TRAINED)
    feasible = (t for t in measured if all(x <= 0 for x in listed(t)))
    return max((_epochs(t) for t in feasible), default=0.0)


def _epochs(trial: FrozenTrial) -> float:
    return float(trial.user_attrs.get(EPOCHS, 0.0))


def _added(spec: StudySpec | None, trial: FrozenTrial, most_epochs: float) -> dict[str, float]:
    """The constraints that a trial of ours gets in the copy; at most 0 where it is a result."""
    if spec is None:
        return {}
    is_below = bool(missed_references(spec, trial))
    return {REFERENCE: 1.0 if is_below else -1.0, SHORTER: most_epochs - _epochs(trial)}


def _write_constraints(
    target: Connection,
    study_id: int,
    trials: Iterable[FrozenTrial],
    added: Iterable[dict[str, float]],
    values: Iterable[list[float]],
) -> None:
    """Writes the list of each trial's constraints, and those that were added by their names."""
    table, rows = TrialSystemAttributeModel.__table__, []
    for trial, more, constraints in zip(trials, added, values, strict=True):
        named: Row = {f"{NAMED}{name}": value for name, value in more.items()}
        for key, value in (named | ({LIST: constraints} if constraints else {})).items():
            text = json.dumps(value)
            rows.append({"trial_id": trial._trial_id, "key": key, "value_json": text})
    own = sa.select(TrialModel.trial_id).where(TrialModel.study_id == study_id)
    target.execute(sa.delete(table).where(table.c.trial_id.in_(own), table.c.key == LIST))
    if rows:
        target.execute(sa.insert(table), rows)


def _misleading(
    spec: StudySpec, trials: Sequence[FrozenTrial], is_result: Sequence[bool]
) -> list[FrozenTrial]:
    """The trials that are no result, and that no result beats in the values alone."""
    signs = [1.0 if o.direction == "minimize" else -1.0 for o in spec.objectives]
    losses = np.array([t.values for t in trials]).reshape(-1, len(signs)) * signs
    known = np.array(is_result, dtype=np.bool_)
    best = losses[known][nondominated(losses[known])]
    equal = (losses[:, None] == best[None]).all(2).any(1)
    misleading = ~known & (equal | ~covered(losses, best))
    return [trials[n] for n in np.flatnonzero(misleading).tolist()]
