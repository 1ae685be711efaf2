"""The checks that rejected candidates, read from the reasons that revision 2 stored as text."""

import json

import sqlalchemy as sa
from sqlalchemy.engine import Connection


def checks_named(reason: str) -> tuple[str, ...]:
    """The checks that a reason of revision 2 names; empty for a reason that names none."""
    text = reason.partition(";")[0]
    if text == "no path from input to output":
        return ("connected",)
    if text.startswith(("training needs about", "too large to train")):
        return ("training.memory_GiB",)
    return tuple(part.split()[0] for part in text.split(", ") if part.endswith("over budget"))


def add_attributes(db: Connection) -> None:
    """Gives every rejected trial of Optuna's tables the attribute `rejected_by`."""
    names = ("trial_id", "key", "value_json")
    attributes = sa.table("trial_user_attributes", *map(sa.column, names))
    if not sa.inspect(db).has_table("trial_user_attributes"):
        return
    rows = db.execute(sa.select(attributes).where(attributes.c.key == "reason")).all()
    for trial_id, _, value_json in rows:
        if checks := checks_named(str(json.loads(value_json))):
            value = {"key": "rejected_by", "value_json": json.dumps(checks)}
            db.execute(attributes.insert().values(trial_id=trial_id, **value))
