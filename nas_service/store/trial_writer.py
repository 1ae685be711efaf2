"""Values of Optuna's trials, written together: by one statement on PostgreSQL.

A worker waits for the answer to each statement, and other workers wait for its locks meanwhile.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from optuna.storages._rdb.models import (
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.engine import Connection

Rows = Mapping[Any, Sequence[Mapping[str, Any]]]
"""New rows by Optuna's model: of parameters, attributes and objective values."""

_KEYS: dict[Any, str] = {  # which of a trial's rows in a table one is
    TrialParamModel: "param_name",
    TrialUserAttributeModel: "key",
    TrialSystemAttributeModel: "key",
    TrialValueModel: "objective",
}


def write_rows(db: Connection, rows: Rows) -> None:
    """Writes rows of trials, attributes and values in place of those with the same key.

    Args:
        db: the transaction.
        rows: with all columns of their tables but the primary key.

    Raises:
        sqlalchemy.exc.IntegrityError: a trial has the parameter already.
    """
    rows = {model: rows[model] for model in _KEYS if rows.get(model)}
    if not rows:
        return
    if db.dialect.name == "postgresql":
        columns = [(model, column) for model in _KEYS for column in _columns(model)]
        arrays = {_array(m, c): _values(rows.get(m, ()), c) for m, c in columns}
        db.execute(_all_tables(), arrays)
        return
    for model, of_model in rows.items():
        db.execute(_upsert(model, db.dialect.name), of_model)


def write_together(db: Connection, *writes: Any) -> None:
    """Executes writes to different tables: on PostgreSQL as one statement, else one by one.

    Args:
        db: the transaction.
        writes: INSERT and UPDATE statements. None sees what another one writes.
    """
    if db.dialect.name != "postgresql":
        for write in writes:
            db.execute(write)
        return
    *others, last = writes
    db.execute(last.add_cte(*(write.cte(f"write_{n}") for n, write in enumerate(others))))


@cache
def _upsert(model: Any, dialect: str) -> Any:
    """The statement that writes rows of one table."""
    return _replacing(
        model, import_module(f"sqlalchemy.dialects.{dialect}").insert(model.__table__)
    )


def _replacing(model: Any, insert: Any) -> Any:
    """With new values where the row is there, except for parameters, which are written once."""
    if model is TrialParamModel:
        return insert
    index = ["trial_id", _KEYS[model]]
    new = {c.name: insert.excluded[c.name] for c in _columns(model) if c.name not in index}
    return insert.on_conflict_do_update(index_elements=index, set_=new)


@cache
def _all_tables() -> Any:
    """The statement that writes rows of all tables, from one array for each column."""
    *others, last = (_from_arrays(model) for model in _KEYS)
    return last.add_cte(*(write.cte(f"write_{n}") for n, write in enumerate(others)))


def _from_arrays(model: Any) -> Any:
    columns = _columns(model)
    arrays = (sa.bindparam(_array(model, c), type_=ARRAY(c.type)) for c in columns)
    shape = [sa.column(c.name, c.type) for c in columns]
    rows = sa.func.unnest(*arrays).table_valued(*shape).render_derived()
    insert = import_module("sqlalchemy.dialects.postgresql").insert(model.__table__)
    return _replacing(model, insert.from_select([c.name for c in columns], sa.select(*rows.c)))


def _values(rows: Sequence[Mapping[str, Any]], column: Any) -> list[Any]:
    """One column of the rows; numbers are of one type, as psycopg asks of an array."""
    values = [row[column.name] for row in rows]
    if isinstance(column.type, sa.Float):
        return [None if value is None else float(value) for value in values]
    return values


def _columns(model: Any) -> list[Any]:
    return [column for column in model.__table__.c if not column.primary_key]


def _array(model: Any, column: Any) -> str:
    return f"{model.__tablename__}_{column.name}"
