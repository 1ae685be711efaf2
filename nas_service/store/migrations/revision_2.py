"""A history of attempts, and an index of leases by state."""

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"


def upgrade() -> None:
    """Adds both."""
    op.create_table(
        "nas_attempts",
        sa.Column("lease_id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("attempt", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("study_id", sa.Integer, nullable=False, index=True),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("began", sa.Float, nullable=False),
        sa.Column("ended", sa.Float),
        sa.Column("ending", sa.String(12)),
        sa.Column("result", sa.String(64)),
        sa.Column("evaluation", sa.Text),
        sa.Column("reason", sa.Text),
    )
    op.create_index("ix_nas_leases_study_id_state", "nas_leases", ["study_id", "state"])
