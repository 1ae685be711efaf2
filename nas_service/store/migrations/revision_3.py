"""Columns, states, the table of initial trials and stored keys in the field's words."""

import sqlalchemy as sa
from alembic import op

from nas_service.store import rejected_checks, renamed_keys

revision = "3"
down_revision = "2"

COLUMNS = (
    ("nas_attempts", "owner", "worker"),
    ("nas_attempts", "began", "started_at"),
    ("nas_attempts", "ended", "finished_at"),
    ("nas_attempts", "ending", "result_kind"),
    ("nas_starts", "place", "position"),
    ("nas_clocks", "spent_s", "elapsed_s"),
    ("nas_clocks", "beat", "last_beat"),
)
STATES = {"told": "reported", "following": "awaiting_duplicate", "waiting": "pending"}


def upgrade() -> None:
    """Renames them. A lease without a trial, which has no result, is deleted."""
    db = op.get_bind()
    leases = sa.table("nas_leases", *map(sa.column, ("lease_id", "trial", "state")))
    attempts = sa.table("nas_attempts", *map(sa.column, ("lease_id", "result_kind", "reason")))
    unused = sa.select(leases.c.lease_id).where(leases.c.trial.is_(None))
    db.execute(attempts.delete().where(attempts.c.lease_id.in_(unused)))
    db.execute(leases.delete().where(leases.c.trial.is_(None)))
    with op.batch_alter_table("nas_leases") as batch:
        batch.alter_column("owner", new_column_name="worker", existing_type=sa.String(200))
        batch.alter_column("state", type_=sa.String(20), existing_type=sa.String(12))
        batch.alter_column("trial", nullable=False, existing_type=sa.Integer)
    for table, old, new in COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    op.rename_table("nas_starts", "nas_initial_trials")
    for old, new in STATES.items():
        db.execute(leases.update().where(leases.c.state == old).values(state=new))
    known = attempts.c.result_kind == "answered"
    db.execute(attempts.update().where(known).values(result_kind="from_archive"))
    oom = (attempts.c.result_kind == "crashed", attempts.c.reason.startswith("oom:"))
    db.execute(attempts.update().where(*oom).values(result_kind="oom"))
    renamed_keys.rewrite(db)
    rejected_checks.add_attributes(db)
