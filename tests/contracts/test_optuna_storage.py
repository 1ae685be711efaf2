"""Optuna's contract for storages, kept by ours: plain, inside a transaction, and buffered."""

import contextlib
import gc
import json

import optuna
import pytest
import sqlalchemy as sa
from optuna.testing.pytest_storages import StorageTestCase
from optuna.trial import TrialState

from nas_service.store.store import Store


@pytest.fixture
def store(store_url, request):
    store = Store(store_url)
    yield store
    store.close()
    if "pickle" in request.node.name:
        gc.collect()  # the copy holds a connection


@pytest.fixture
def storage(store):
    return store.optuna


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestStorage(StorageTestCase):
    """SQLite and PostgreSQL."""


@contextlib.contextmanager
def counted(store):
    seen = []

    @sa.event.listens_for(store.engine, "before_cursor_execute")
    def statement(_, __, text, *rest):
        seen.append(text)

    @sa.event.listens_for(store.engine, "commit")
    def commit(_):
        seen.append("COMMIT")

    yield seen
    sa.event.remove(store.engine, "before_cursor_execute", statement)
    sa.event.remove(store.engine, "commit", commit)


def begin(store):
    study = optuna.create_study(
        storage=store.optuna, study_name="x", directions=["maximize", "minimize"]
    )
    store.studies.add(study._study_id, "{}", "data", trainings=4)
    return study


class RolledBack(Exception):
    """Ends a transaction so that it is rolled back."""


@contextlib.contextmanager
def rolled_back(store, study):
    with contextlib.suppress(RolledBack), store.exclusive(study._study_id):
        yield
        raise RolledBack


def drawn(study):
    """A trial as a worker reports it, with 20 parameters, 10 attributes and 4 constraints."""
    storage = study._storage
    storage.take_snapshot(study._study_id)
    with storage.buffering():
        trial = study.ask()
    for n in range(20):
        trial.suggest_categorical(f"p{n}", ["a", "b"])
    for n in range(10):
        trial.set_user_attr(f"u{n}", n)
    for n in range(4):
        trial.set_constraint(f"c{n}", -float(n))
    return trial


def test_buffered_values_are_stored_when_the_trial_is_reported(store, store_url):
    study = begin(store)
    trial = drawn(study)
    (before,) = store.optuna.backend.get_all_trials(study._study_id)
    assert (before.params, before.user_attrs) == ({}, {})
    study.tell(trial, [1.0, 2.0])
    store.optuna.drop_snapshot()
    other = Store(store_url)
    (result,) = optuna.load_study(study_name="x", storage=other.optuna).trials
    other.close()
    assert (result.state, result.values) == (TrialState.COMPLETE, [1.0, 2.0])
    assert result.params == trial.params
    assert list(result.user_attrs) == [f"u{n}" for n in range(10)]
    assert result.constraints == {f"c{n}": -float(n) for n in range(4)}


def test_a_trial_is_reported_in_one_transaction(store):
    study = begin(store)
    trial = drawn(study)
    with counted(store) as seen, store.exclusive(study._study_id):
        study.tell(trial, [1.0, 2.0])
    assert seen.count("COMMIT") == 1
    assert len(seen) < 20, seen


def test_a_report_that_was_rolled_back_can_be_repeated(store):
    study = begin(store)
    trial = drawn(study)

    with rolled_back(store, study):
        study.tell(trial, [1.0, 2.0])
    assert study.get_trials(states=(TrialState.COMPLETE,)) == []
    with store.exclusive(study._study_id):
        study.tell(trial, [3.0, 4.0])
    store.optuna.drop_snapshot()
    (result,) = study.trials
    assert (result.values, len(result.params), len(result.constraints)) == ([3.0, 4.0], 20, 4)


def test_a_trial_of_a_rolled_back_transaction_does_not_exist(store):
    study = begin(store)

    with rolled_back(store, study), store.optuna.buffering():
        study.ask()
    store.optuna.drop_snapshot()
    assert study.trials == []
    assert study.ask().number == 0


def test_a_waiting_trial_is_taken_once_with_its_given_parameters(store):
    study = begin(store)
    study.enqueue_trial({"p0": "b"})
    store.optuna.take_snapshot(study._study_id)
    with store.exclusive(study._study_id), store.optuna.buffering():
        trial = study.ask()
    assert trial.suggest_categorical("p0", ["a", "b"]) == "b"
    assert not [t for t in store.optuna.backend.get_all_trials(1) if t.state == TrialState.WAITING]


def test_a_waiting_trial_that_another_worker_reported_meanwhile_is_skipped(store, store_url):
    study = begin(store)
    study.enqueue_trial({"p0": "b"})
    store.optuna.take_snapshot(study._study_id)
    other = Store(store_url)
    its = optuna.load_study(study_name="x", storage=other.optuna)
    its.tell(its.ask(), [1.0, 2.0])
    other.close()
    with store.exclusive(study._study_id), store.optuna.buffering():
        assert study.ask().number == 1


def test_a_snapshot_does_not_change(store, store_url):
    study = begin(store)
    seen = store.optuna.take_snapshot(study._study_id)
    other = Store(store_url)
    optuna.load_study(study_name="x", storage=other.optuna).ask()
    other.close()
    with counted(store) as arguments:
        assert study.get_trials() == seen == []
    assert arguments == []
    store.optuna.drop_snapshot()
    assert len(study.get_trials()) == 1


def test_an_attribute_keeps_its_last_value(store):
    study = begin(store)
    trial = drawn(study)
    with store.exclusive(study._study_id):
        for value in (1, [2], {"three": 3}):
            trial.set_user_attr("u0", value)
        study.tell(trial, [1.0, 2.0])
    with store.transactions.begin() as db:
        query = "SELECT value_json FROM trial_user_attributes WHERE key = 'u0'"
        assert [json.loads(v) for v in db.execute(sa.text(query)).scalars()] == [{"three": 3}]


def of_all_kinds(study):
    """Trials of every state, with every kind of value that Optuna stores."""
    storage, inf = study._storage, float("inf")
    for state, values in (
        (TrialState.COMPLETE, [1.5, -2.0]),
        (TrialState.COMPLETE, [inf, -inf]),
        (TrialState.PRUNED, None),
        (TrialState.FAIL, None),
    ):
        trial = study.ask()
        trial.suggest_float("x", 1e-9, 1.0, log=True)
        trial.suggest_int("n", 0, 8, step=2)
        trial.suggest_categorical("c", ["a", None, 3, True, 0.5])
        trial.set_user_attr("text", 'a "b" \u2028')
        trial.set_user_attr("tree", {"k": [1, 2.5, None]})
        trial.set_constraint("over", -0.25)
        for step, value in enumerate((0.1, inf, -inf, float("nan"))):
            storage.set_trial_intermediate_value(trial._trial_id, 3 - step, value)
        storage.set_trial_state_values(trial._trial_id, state, values)
    study.enqueue_trial({"n": 4})
    study.ask({"n": optuna.distributions.IntDistribution(0, 8, step=2)})
    study.enqueue_trial({"n": 2})


def facts(trial):
    """All fields of a trial; only parameters keep their order."""
    result = {
        key: sorted(v.items()) if isinstance(v, dict) else v for key, v in vars(trial).items()
    }
    return {key: repr(value) for key, value in result.items()}


def test_trials_are_read_as_optuna_itself_reads_them(store, store_url):
    begin(store)
    other = optuna.create_study(storage=store.optuna, study_name="other", direction="minimize")
    other.ask()
    study = optuna.load_study(storage=store.optuna, study_name="x")
    of_all_kinds(study)
    url = sa.engine.make_url(store_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    plain = optuna.storages.RDBStorage(url.render_as_string(hide_password=False))
    ours = store.optuna.backend._backend
    for states, included, above in (
        (None, set(), -1),
        (None, {2, 4}, 5),
        ((TrialState.FAIL, TrialState.RUNNING), {3}, 2),
        (None, set(), 10**6),
    ):
        arguments = (study._study_id, states, included, above)
        result, expected = ours._get_trials(*arguments), plain._get_trials(*arguments)
        assert [facts(t) for t in result] == [facts(t) for t in expected], arguments
        assert [list(t.params) for t in result] == [list(t.params) for t in expected]
    assert {t.state for t in study.trials} == set(TrialState)
    assert len(study.trials) == 6
    with pytest.raises(KeyError):
        ours._get_trials(99, None, set(), -1)
    plain.engine.dispose()
