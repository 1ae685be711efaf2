"""Our own tables in the study store, beside Optuna's. All times are the database's clock."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

SCHEMA_VERSION = 1

tables = sa.MetaData()
studies = sa.Table(
    "nas_studies",
    tables,
    sa.Column("study_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("data_digest", sa.String(64), nullable=False),
    sa.Column("trainings", sa.Integer, nullable=False),  # the budget
)
leases = sa.Table(
    "nas_leases",
    tables,
    sa.Column("lease_id", sa.Integer, primary_key=True),
    sa.Column("study_id", sa.Integer, nullable=False, index=True),
    sa.Column("trial", sa.Integer, nullable=False),  # number
    sa.Column("digest", sa.String(16)),
    sa.Column("state", sa.String(20), nullable=False),
    sa.Column("outcome", sa.String(12)),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("worker", sa.String(200), nullable=False),
    sa.Column("deadline", sa.Float, nullable=False),
    sa.Column("reason", sa.Text),
    sa.UniqueConstraint("study_id", "trial"),
    sa.Index("ix_nas_leases_study_id_state", "study_id", "state"),
)
attempts = sa.Table(
    "nas_attempts",
    tables,
    sa.Column("lease_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("study_id", sa.Integer, nullable=False, index=True),
    sa.Column("worker", sa.String(200), nullable=False),
    sa.Column("started_at", sa.Float, nullable=False),
    sa.Column("finished_at", sa.Float),
    sa.Column("result_kind", sa.String(12)),  # a ResultKind
    sa.Column("result", sa.String(64)),  # digest of the evaluation
    sa.Column("evaluation", sa.Text),  # of a late one, which counts nowhere
    sa.Column("reason", sa.Text),
)
archive = sa.Table(
    "nas_archive",
    tables,
    sa.Column("study_id", sa.Integer, primary_key=True),
    sa.Column("digest", sa.String(16), primary_key=True),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("outcome", sa.String(12), nullable=False),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("evaluation", sa.Text, nullable=False),
    sa.Column("test_accuracy", sa.Float),
)
rungs = sa.Table(
    "nas_rungs",
    tables,
    sa.Column("study_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.String(16), primary_key=True),
    sa.Column("epochs", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("metrics", sa.Text, nullable=False),
)
repeats = sa.Table(
    "nas_repeats",
    tables,
    sa.Column("study_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.String(16), primary_key=True),
    sa.Column("repeat", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("evaluation", sa.Text, nullable=False),
    sa.Column("test_accuracy", sa.Float),
)
initial_trials = sa.Table(
    "nas_initial_trials",
    tables,
    sa.Column("study_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("parameters", sa.Text, nullable=False),
)
clocks = sa.Table(
    "nas_clocks",
    tables,
    sa.Column("study_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("elapsed_s", sa.Float, nullable=False),
    sa.Column("last_beat", sa.Float, nullable=False),  # until when time is counted
)


def of_study(table: sa.Table, study_id: int) -> "sa.Select[Any]":
    """The rows of one study."""
    return sa.select(table).where(table.c.study_id == study_id)


def clock(dialect: str) -> "sa.ColumnElement[float]":
    """The database's time in seconds since 1970, as part of a statement in this dialect."""
    sqlite = dialect == "sqlite"
    julian = "(julianday('now') - 2440587.5) * 86400.0"
    # now() would be when the transaction began, before it waited for a lock
    text = julian if sqlite else "extract(epoch from clock_timestamp())"
    return sa.literal_column(text, sa.Float(asdecimal=False))


def now(db: Connection) -> float:
    """The database's time in seconds since 1970."""
    return float(db.execute(sa.select(clock(db.dialect.name))).scalar_one())
