"""All rows of a study, in Optuna's tables and ours: deleted, or given another name.

Every function runs in the caller's transaction, which excludes the study's workers.
"""

import json
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from optuna.storages import BaseStorage
from optuna.storages._rdb.models import BaseModel, StudyModel
from sqlalchemy.engine import Connection

from nas_service.errors import StudyError
from nas_service.store.leases import live_workers
from nas_service.store.process_id import host_of
from nas_service.store.tables import studies, tables
from nas_service.store.transactions import TRIALS

OPTUNA: sa.MetaData = BaseModel.metadata
NAMES: sa.Table = StudyModel.__table__


def demand_idle(db: Connection, study_id: int, name: str) -> None:
    """Refuses a study whose trials workers have.

    Args:
        db: the transaction.
        study_id: the study.
        name: of the study, for the message.

    Raises:
        StudyError: the study is running.
    """
    if workers := live_workers(db, study_id):
        hosts = ", ".join(sorted({host_of(worker) for worker in workers}))
        count = (
            f"{len(workers)} {'worker has a trial' if len(workers) == 1 else 'workers have trials'}"
        )
        raise StudyError(
            f"study {name!r} is running: {count} of it, on {hosts}; end them first (a lost one "
            "counts until its lease ends), or --force"
        )


def delete(db: Connection, storage: BaseStorage, study_id: int) -> None:
    """Deletes a study; its trials by one statement a table, not one by one as Optuna would.

    Args:
        db: the transaction.
        storage: Optuna's, which deletes the rest.
        study_id: the study.
    """
    trials = sa.select(TRIALS.c.trial_id).where(TRIALS.c.study_id == study_id)
    for table in reversed(OPTUNA.sorted_tables):
        if "trial_id" in table.c and table is not TRIALS:
            db.execute(table.delete().where(table.c.trial_id.in_(trials)))
    db.execute(TRIALS.delete().where(TRIALS.c.study_id == study_id))
    storage.delete_study(study_id)
    for table in tables.sorted_tables:
        db.execute(table.delete().where(table.c.study_id == study_id))


def rename(db: Connection, storage: BaseStorage, study_id: int, name: str) -> None:
    """Gives a study another name, which its specification has as well.

    Args:
        db: the transaction.
        storage: Optuna's, in which the name is not taken.
        study_id: the study.
        name: the new one.
    """
    db.execute(NAMES.update().where(NAMES.c.study_id == study_id).values(study_name=name))
    text = db.execute(sa.select(studies.c.spec).where(studies.c.study_id == study_id)).scalar_one()
    write_spec(db, storage, study_id, json.loads(text) | {"name": name})


def write_spec(db: Connection, storage: BaseStorage, study_id: int, spec: dict[str, Any]) -> None:
    """Writes a specification into our table and into the attribute of Optuna's study.

    Args:
        db: the transaction.
        storage: Optuna's.
        study_id: the study.
        spec: the specification as a JSON tree.
    """
    text = json.dumps(spec)
    db.execute(studies.update().where(studies.c.study_id == study_id).values(spec=text))
    storage.set_study_user_attr(study_id, "spec", text)


def learners(db: Connection, name: str) -> dict[int, dict[str, Any]]:
    """Studies that learn from a study.

    Args:
        db: the transaction.
        name: of the study they learn from.

    Returns:
        Id -> specification as a JSON tree.
    """
    specs = {row.study_id: _tree(row.spec) for row in db.execute(sa.select(studies))}
    return {number: spec for number, spec in specs.items() if name in sources(spec)}


def sources(spec: dict[str, Any]) -> Iterable[str]:
    """Names of the studies that a study with this specification learns from."""
    search = spec.get("search")
    listed = search.get("warm_start_from") if isinstance(search, dict) else ()
    return listed if isinstance(listed, list) else ()


def _tree(spec: str) -> dict[str, Any]:
    """A stored specification; an empty one where it is damaged."""
    try:
        tree = json.loads(spec)
    except (ValueError, RecursionError):
        return {}
    return tree if isinstance(tree, dict) else {}
