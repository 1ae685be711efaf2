"""One transaction of a thread, which whatever it calls joins."""

import threading

import optuna
import pytest
import sqlalchemy as sa
from optuna.storages import RDBStorage
from optuna.trial import TrialState

from nas_service.store.database import optuna_storage
from nas_service.store.store import Store
from nas_service.store.tables import studies

ID = 1


@pytest.fixture
def store(store_url):
    made = Store(store_url, create=True)
    optuna.create_study(storage=made.optuna, study_name="s")
    made.studies.add(ID, "{}", "data", trainings=4)
    yield made
    made.close()


def test_a_nested_exclusive_transaction_joins(store):
    with store.exclusive(ID) as outer:
        with store.exclusive(ID) as inner, store.transactions.begin() as third:
            assert outer is inner is third
            store.studies.set_budget(ID, 7)
        assert not outer.closed
        assert store.studies.budget(ID) in (4, 7)
    assert store.studies.budget(ID) == 7


def test_an_error_rolls_back_joined_transactions(store):
    def act():
        with store.exclusive(ID):
            store.studies.set_budget(ID, 9)
            store.optuna.create_new_trial(ID)
            raise KeyError("late")

    with pytest.raises(KeyError, match="late"):
        act()
    assert store.studies.budget(ID) == 4
    assert store.optuna.get_all_trials(ID) == []


def test_a_failed_write_of_optuna_rolls_back_the_transaction(store):
    """A trial that is finished takes no attribute: nothing of the transaction stands."""
    trial = store.optuna.create_new_trial(ID)
    store.optuna.set_trial_state_values(trial, TrialState.COMPLETE, [1.0])

    def act():
        with store.exclusive(ID):
            store.studies.set_budget(ID, 9)
            store.optuna.set_trial_user_attr(trial, "late", 1)

    with pytest.raises(optuna.exceptions.UpdateFinishedTrialError):
        act()
    assert store.studies.budget(ID) == 4
    assert store.optuna.get_trial(trial).user_attrs == {}


def test_threads_have_separate_transactions(store):
    """Another one sees nothing of it before it is committed, and waits for the study's row."""
    order, inside = [], threading.Event()

    def other():
        inside.wait()
        with store.exclusive(ID) as db:
            order.append("second")
            result = db.execute(sa.select(studies.c.trainings)).scalar_one()
            order.append(result)

    thread = threading.Thread(target=other)
    thread.start()
    with store.exclusive(ID):
        inside.set()
        store.studies.set_budget(ID, 6)
        thread.join(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second", 6]


def test_optunas_storage_opens_without_its_version_check(store):
    """Ours sets every attribute that `RDBStorage` sets; the version manager is made when used."""
    ours = optuna_storage(store.url)
    reference = RDBStorage(store.url.render_as_string(hide_password=False))
    assert vars(reference).keys() - vars(ours).keys() == {"_version_manager"}
    assert ours.get_current_version() == reference.get_head_version()
    assert "_version_manager" in vars(ours)
    for storage in (ours, reference):
        storage.engine.dispose()
