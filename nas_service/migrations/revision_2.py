"""Places of leases, and a history of attempts."""

import sqlalchemy as sa
from alembic import op

revision = "2"
down_revision = "1"

leases = sa.table(
    "nas_leases", *(sa.column(name) for name in ("lease_id", "study_id", "place", "drawn"))
)


def upgrade() -> None:
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
    with op.batch_alter_table("nas_leases") as table:
        table.add_column(sa.Column("place", sa.Integer))
        table.add_column(sa.Column("drawn", sa.Integer))
    _number(op.get_bind())


def _number(db: sa.Connection) -> None:
    """Leases of a study in the order they were made, each as if its candidate had been drawn."""
    order = sa.func.row_number().over(partition_by=leases.c.study_id, order_by=leases.c.lease_id)
    rows = db.execute(sa.select(leases.c.lease_id, (order - 1).label("n"))).all()
    this = leases.c.lease_id == sa.bindparam("this")
    change = leases.update().where(this).values(place=sa.bindparam("n"), drawn=sa.bindparam("n"))
    if rows:
        db.execute(change, [{"this": lease_id, "n": n} for lease_id, n in rows])
