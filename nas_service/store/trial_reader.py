"""Optuna's trials, read by two statements and without an object for each of their values.

The result equals that of `RDBStorage`. Every worker reads every other worker's trials, with some
thirty values each, which takes most of the time of many workers.
"""

import functools
import json
from collections import defaultdict
from collections.abc import Container, Iterable
from math import inf, nan
from typing import Any, NamedTuple

import sqlalchemy as sa
from optuna.distributions import json_to_distribution
from optuna.storages._rdb.models import (
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.engine import Connection

from nas_service.store.trial_times import local_time

Parts = dict[str, list[tuple[str, Any, Any]]]  # kind -> key, text and number of each

_TRIALS = TrialModel.__table__
_WANTED = sa.and_(
    _TRIALS.c.study_id == sa.bindparam("study_id"),
    sa.or_(
        _TRIALS.c.trial_id > sa.bindparam("above"),
        _TRIALS.c.trial_id.in_(sa.bindparam("included", expanding=True)),
    ),
)
_TRIAL_ROWS = sa.select(_TRIALS).where(_WANTED).order_by(_TRIALS.c.trial_id)
_NOT_STORED = {"INF_POS": inf, "INF_NEG": -inf, "NAN": nan}  # as a number in every database

_distribution = functools.lru_cache(maxsize=4096)(json_to_distribution)


def _values(model: Any, key: str, text: str, number: str | None = None) -> "sa.Select[Any]":
    """The rows of one of Optuna's tables, in the shape that all tables share in the union."""
    c = model.__table__.c
    (row,) = model.__table__.primary_key
    value = sa.null() if number is None else c[number]
    return sa.select(
        sa.literal_column(f"'{model.__tablename__}'").label("kind"),
        c.trial_id,
        row.label("row"),
        sa.cast(c[key], sa.String).label("key"),
        sa.cast(c[text], sa.String).label("text"),
        sa.cast(value, sa.Float(precision=53)).label("number"),
    ).where(c.trial_id.in_(sa.select(_TRIALS.c.trial_id).where(_WANTED)))


_PARTS = sa.union_all(
    _values(TrialParamModel, "param_name", "distribution_json", "param_value"),
    _values(TrialValueModel, "objective", "value_type", "value"),
    _values(TrialUserAttributeModel, "key", "value_json"),
    _values(TrialSystemAttributeModel, "key", "value_json"),
    _values(
        TrialIntermediateValueModel, "step", "intermediate_value_type", "intermediate_value"
    ),
).order_by("row")  # fmt: skip

_KEYS = TrialUserAttributeModel.__table__.c
_ATTRIBUTES = (
    sa.select(_TRIALS.c.number, _TRIALS.c.state, _KEYS.key, _KEYS.value_json)
    .join(_TRIALS, _TRIALS.c.trial_id == _KEYS.trial_id)
    .where(_TRIALS.c.study_id == sa.bindparam("study_id"))
    .where(_KEYS.key.in_(sa.bindparam("keys", expanding=True)))
    .order_by(_TRIALS.c.number)
)


def read_trials(
    db: Connection,
    study_id: int,
    states: Container[TrialState] | None,
    included: Iterable[int],
    above: int,
    drawn: Container[int] = (),
) -> list[FrozenTrial]:
    """A study's trials by id.

    Args:
        db: the transaction.
        study_id: the study.
        states: of the trials to return; None for all.
        included: ids of trials to read.
        above: all trials with a larger id are read as well.
        drawn: ids of trials that are left out while they run.

    Returns:
        The trials.
    """
    wanted = {"study_id": study_id, "above": above, "included": list(included)}
    rows = [r for r in db.execute(_TRIAL_ROWS, wanted) if states is None or r.state in states]
    rows = [r for r in rows if r.state != TrialState.RUNNING or r.trial_id not in drawn]
    wanted["included"] = [r.trial_id for r in rows if r.trial_id <= above]
    parts: defaultdict[int, Parts] = defaultdict(lambda: defaultdict(list))
    if rows:
        for kind, trial_id, _, key, text, number in db.execute(_PARTS, wanted):
            parts[trial_id][kind].append((key, text, number))
    return [frozen_trial(row, parts[row.trial_id]) for row in rows]


class TrialAttributes(NamedTuple):
    """Some user attributes of a trial, without its parameters and values."""

    number: int
    is_finished: bool
    attributes: dict[str, Any]


def read_attributes(db: Connection, study_id: int, keys: Iterable[str]) -> list[TrialAttributes]:
    """Some user attributes of all trials of a study that have any of them, by one statement.

    Of a trial's thirty values a reader of results needs one to three; `read_trials` reads all.

    Args:
        db: the transaction.
        study_id: the study.
        keys: of the attributes.

    Returns:
        The trials by number.
    """
    trials: dict[int, TrialAttributes] = {}
    for number, state, key, text in db.execute(
        _ATTRIBUTES, {"study_id": study_id, "keys": [*keys]}
    ):
        trial = TrialAttributes(number, state.is_finished(), {})
        trials.setdefault(number, trial).attributes[key] = json.loads(text)
    return list(trials.values())


def frozen_trial(row: Any, parts: Parts | None = None) -> FrozenTrial:
    """The trial of a row of Optuna's table of trials.

    Args:
        row: of the table of trials.
        parts: rows of the other tables, by the table's name; None for a trial without any.

    Returns:
        The trial, as Optuna's own storage gives it.
    """
    values = defaultdict(list, parts or {})
    drawn = [(k, _distribution(t), v) for k, t, v in values[TrialParamModel.__tablename__]]
    numbers = {int(k): _number(t, v) for k, t, v in values[TrialValueModel.__tablename__]}
    steps = values[TrialIntermediateValueModel.__tablename__]
    return FrozenTrial(
        number=row.number,
        state=row.state,
        value=None,
        values=[numbers[n] for n in range(len(numbers))] or None,
        datetime_start=local_time(row.datetime_start),
        datetime_complete=local_time(row.datetime_complete),
        params={key: kind.to_external_repr(value) for key, kind, value in drawn},
        distributions={key: kind for key, kind, _ in drawn},
        user_attrs=_attributes(values[TrialUserAttributeModel.__tablename__]),
        system_attrs=_attributes(values[TrialSystemAttributeModel.__tablename__]),
        intermediate_values={int(key): _number(text, value) for key, text, value in steps},
        trial_id=row.trial_id,
    )


def _number(kind: str, value: float | None) -> float:
    return _NOT_STORED[kind] if value is None else value


def _attributes(rows: list[tuple[str, Any, Any]]) -> dict[str, Any]:
    return {key: json.loads(text) for key, text, _ in rows}
