"""Rows of Optuna's tables that are written together read as Optuna would have written them."""

import math

import numpy as np
import optuna
import pytest
import sqlalchemy as sa
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from sqlalchemy.exc import IntegrityError
from trial_queues import ID, opened

from nas_service.store.tables import leases, rungs
from nas_service.store.trial_writer import write_together

PARAMS = {  # value in the table, distribution
    "whole": (3, IntDistribution(1, 9)),
    "share": (0.25, FloatDistribution(0, 1)),
    "of numpy": (np.float64(0.5), FloatDistribution(0, 1)),
    "word": (1, CategoricalDistribution(("a", "ö'\\\n\u2028"))),
}
ATTRIBUTES = {"text": "ö'\"\\{}\n", "none": None, "list": [1, {"a": [math.pi]}], "empty": ""}


@pytest.fixture
def store(store_url):
    made = opened(store_url)
    yield made
    made.close()


def write(storage, study_id, values):
    """One trial with everything that a trial can have."""
    trial = storage.create_new_trial(study_id)
    for name, (value, distribution) in PARAMS.items():
        storage.set_trial_param(trial, name, value, distribution)
    for key, value in ATTRIBUTES.items():
        storage.set_trial_user_attr(trial, key, "before")
        storage.set_trial_user_attr(trial, key, value)
        storage.set_trial_system_attr(trial, key, value)
    storage.set_trial_state_values(trial, TrialState.COMPLETE, values)
    return trial


@pytest.mark.parametrize("values", [[1], [math.inf], [-math.inf], [1e-300]])
def test_a_trial_reads_as_if_optuna_had_written_it(store, values):
    with store.exclusive(ID):
        ours = write(store.optuna, ID, values)
    plain = RDBStorage(store.url.render_as_string(hide_password=False))
    other = optuna.create_study(storage=plain, direction="maximize")
    theirs = plain.get_trial(write(plain, other._study_id, values))
    actual = plain.get_trial(ours)
    for name in ("params", "distributions", "user_attrs", "system_attrs", "values", "state"):
        assert getattr(actual, name) == getattr(theirs, name), name
    plain.engine.dispose()


def test_several_trials_are_written_in_one_transaction(store):
    with store.exclusive(ID):
        trials = [write(store.optuna, ID, [n]) for n in range(3)]
    assert [store.optuna.get_trial(t).values for t in trials] == [[0.0], [1.0], [2.0]]


def test_a_second_value_of_a_parameter_rolls_everything_back(store):
    trial = store.optuna.create_new_trial(ID)
    store.optuna.set_trial_param(trial, "whole", *PARAMS["whole"])

    def again():
        with store.exclusive(ID):
            store.studies.set_budget(ID, 9)
            store.optuna.set_trial_user_attr(trial, "late", 1)
            store.optuna.set_trial_param(trial, "whole", *PARAMS["whole"])

    with pytest.raises(IntegrityError):
        again()
    assert (store.studies.budget(ID), store.optuna.get_trial(trial).user_attrs) == (4, {})


def test_writes_to_different_tables_are_one_statement_on_postgresql(store):
    lease = {"study_id": ID, "state": "pending", "attempt": 0, "worker": "", "deadline": 0.0}
    rung = {"study_id": ID, "digest": "a", "epochs": 1, "metrics": "{}"}
    statements = []
    sa.event.listen(store.engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    with store.transactions.begin() as db:
        write_together(db, leases.insert().values(**lease, trial=0), rungs.insert().values(**rung))
        assert len(statements) == (1 if db.dialect.name == "postgresql" else 2)
        assert db.execute(sa.select(rungs.c.digest)).scalars().all() == ["a"]
    assert store.leases(ID).outcomes() == {0: "pending"}
