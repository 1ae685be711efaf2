"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "1"
down_revision = None

tables = sa.MetaData()
sa.Table(
    "nas_studies",
    tables,
    sa.Column("study_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("spec", sa.Text, nullable=False),
    sa.Column("data_digest", sa.String(64), nullable=False),
    sa.Column("trainings", sa.Integer, nullable=False),
)
sa.Table(
    "nas_leases",
    tables,
    sa.Column("lease_id", sa.Integer, primary_key=True),
    sa.Column("study_id", sa.Integer, nullable=False, index=True),
    sa.Column("trial", sa.Integer),
    sa.Column("digest", sa.String(16)),
    sa.Column("state", sa.String(12), nullable=False),
    sa.Column("outcome", sa.String(12)),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("owner", sa.String(200), nullable=False),
    sa.Column("deadline", sa.Float, nullable=False),
    sa.Column("reason", sa.Text),
    sa.UniqueConstraint("study_id", "trial"),
)
sa.Table(
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
sa.Table(
    "nas_rungs",
    tables,
    sa.Column("study_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.String(16), primary_key=True),
    sa.Column("epochs", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("metrics", sa.Text, nullable=False),
)
sa.Table(
    "nas_repeats",
    tables,
    sa.Column("study_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.String(16), primary_key=True),
    sa.Column("repeat", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("evaluation", sa.Text, nullable=False),
    sa.Column("test_accuracy", sa.Float),
)
sa.Table(
    "nas_starts",
    tables,
    sa.Column("study_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("place", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("parameters", sa.Text, nullable=False),
)
sa.Table(
    "nas_clocks",
    tables,
    sa.Column("study_id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("spent_s", sa.Float, nullable=False),
    sa.Column("beat", sa.Float, nullable=False),
)


def upgrade() -> None:
    """Creates them."""
    tables.create_all(op.get_bind(), checkfirst=False)
