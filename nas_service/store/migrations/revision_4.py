"""Trials whose times earlier versions wrote are marked: their zone is unknown.

Those versions wrote the start as local time where Optuna reads UTC. The times stay as they are.
"""

import json

import sqlalchemy as sa
from alembic import op

revision = "4"
down_revision = "3"

MARK = {"key": "time_zone", "value_json": json.dumps("unknown")}


def upgrade() -> None:
    """Gives every trial of ours that has a time an attribute; one that waits has none yet."""
    db = op.get_bind()
    if not sa.inspect(db).has_table("trial_user_attributes"):
        return
    trials = sa.table("trials", *map(sa.column, ("trial_id", "study_id", "datetime_start")))
    ours = sa.select(sa.table("nas_studies", sa.column("study_id")).c.study_id)
    attributes = sa.table("trial_user_attributes", *map(sa.column, ("trial_id", *MARK)))
    marked = sa.select(trials.c.trial_id, *map(sa.literal, MARK.values())).where(
        trials.c.study_id.in_(ours), trials.c.datetime_start.is_not(None)
    )
    db.execute(attributes.insert().from_select(["trial_id", *MARK], marked))
