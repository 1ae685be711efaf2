"""The contract of both kinds of store: a study is deleted or renamed whole, or not at all."""

import json

import pytest
import sqlalchemy as sa
from optuna.storages._rdb.models import BaseModel
from optuna.study import StudyDirection
from trial_queues import ID, OTHER, claim, claimed, evaluation, opened, queue_of, trained

from nas_service.errors import StudyError
from nas_service.searches.optuna_trial import TRAINABLE
from nas_service.store.tables import tables


@pytest.fixture
def store(store_url):
    made = opened(store_url)
    yield made
    made.close()


def other_study(store, name, **search):
    number = store.optuna.create_new_study([StudyDirection.MAXIMIZE], name)
    store.studies.add(number, json.dumps({"name": name, "search": search}), "data", trainings=4)
    return number


def rows(store):
    """Number of rows in every table, Optuna's and ours."""
    every = [*BaseModel.metadata.sorted_tables, *tables.sorted_tables]
    with store.engine.connect() as db:
        return {
            t.name: db.execute(sa.select(sa.func.count()).select_from(t)).scalar() for t in every
        }


def fill(store):
    """A row of the study `s` in every table but that of Optuna's heartbeats."""
    trained(store, 0, channels=4)
    trial = store.optuna.create_new_trial(ID)
    store.optuna.set_trial_user_attr(trial, "digest", "x")
    store.optuna.set_trial_system_attr(trial, f"constraints:{TRAINABLE}", 1.0)
    store.optuna.set_trial_intermediate_value(trial, 1, 0.5)
    e = evaluation(4)
    store.repeats(ID).add(0, e)
    store.studies.advance_clock(ID)


def test_a_deleted_study_leaves_no_row_and_others_keep_theirs(store):
    before = rows(store)
    keeper = other_study(store, "keeper")
    alone = rows(store)
    fill(store)
    with store.studies.deleting("s"):
        pass
    assert store.studies.names() == ["keeper"]
    left = rows(store)
    assert left == {t: alone[t] - before[t] + (t == "version_info") for t in left}
    assert store.studies.get("keeper").id == keeper
    with pytest.raises(StudyError, match="no study 's'"), store.studies.deleting("s"):
        pass


def test_what_fails_in_the_block_is_as_if_nothing_had_been_deleted_or_renamed(store):
    fill(store)
    before = rows(store)
    for change in (store.studies.deleting("s"), store.studies.renaming("s", "new")):
        with pytest.raises(OSError, match="full"), change:
            raise OSError("full")
    assert (rows(store), store.studies.names()) == (before, ["s"])


def test_a_running_study_is_neither_deleted_nor_renamed(store):
    lease = claim(store)
    for change in (store.studies.deleting("s"), store.studies.renaming("s", "new")):
        with pytest.raises(StudyError, match="running: 1 worker has a trial of it, on elsewhere"):
            change.__enter__()
    with store.studies.renaming("s", "new", force=True):
        pass
    queue_of(store).release(lease)
    with store.studies.deleting("new"):
        pass
    with pytest.raises(StudyError, match="was deleted"):
        claimed(store)


def test_a_renamed_study_has_the_new_name_wherever_it_is_stored(store):
    learner = other_study(store, "learner", warm_start_from=["x", "s"])
    with store.studies.renaming("s", "new") as learners:
        assert learners == ["learner"]
    assert store.studies.names() == ["learner", "new"]
    for number, name in ((ID, "new"), (learner, "learner")):
        spec = json.loads(store.studies.get(name).spec)
        assert spec["name"] == name
        assert json.loads(store.optuna.get_study_user_attrs(number)["spec"]) == spec
    assert spec["search"]["warm_start_from"] == ["x", "new"]
    with pytest.raises(StudyError, match="already has a study 'learner'"):
        store.studies.renaming("new", "learner").__enter__()


def test_what_others_learn_from_is_not_deleted(store):
    other_study(store, "learner", warm_start_from=["s"])
    with pytest.raises(StudyError, match=r"study 'learner' learns from 's' .* first"):
        store.studies.deleting("s").__enter__()


def test_a_late_result_of_a_deleted_study_changes_no_other(store):
    """SQLite gives ids again: the lease of the same number is another study's."""
    queue, lease = queue_of(store), claim(store)
    with store.studies.deleting("s", force=True):
        pass
    number = store.optuna.create_new_study([StudyDirection.MAXIMIZE], "next")
    store.studies.add(number, "{}", "data", trainings=4)
    if number == ID:
        trained(store, 0, channels=4, worker="another/boot/1/1")
    assert queue.archive_result(lease, evaluation(8)) is None
    assert OTHER not in {row.worker for row in attempts_of(store)}
    assert "late" not in {row.result_kind for row in attempts_of(store)}


def attempts_of(store):
    with store.engine.connect() as db:
        return db.execute(sa.select(tables.tables["nas_attempts"])).all()
