"""What is read of many trials: no more than a reader of results needs, and all of it."""

import optuna
import pytest
import sqlalchemy as sa
from optuna.distributions import IntDistribution
from optuna.trial import TrialState
from trial_queues import ID, opened, trained

from nas_service.errors import StoreError
from nas_service.store.store import Store
from nas_service.store.tables import archive
from nas_service.store.trial_reader import read_attributes

KEYS = ("digest", "reason")


@pytest.fixture
def store(store_url):
    made = opened(store_url)
    yield made
    made.close()


def test_attributes_are_those_of_optunas_trials(store):
    """Finished or not, with other attributes or none, and only of this study."""
    study = optuna.load_study(study_name="s", storage=store.optuna)
    other = optuna.create_study(study_name="other", storage=store.optuna)
    rows = [{"digest": "a"}, {"digest": "b", "reason": "ö\n"}, {"noise": 1}, {}, {"digest": [1]}]
    for attributes in rows:
        for of in (study, other):
            trial = of.ask()
            for key, value in attributes.items():
                trial.set_user_attr(key, value)
    study.tell(1, state=TrialState.FAIL)
    with store.transactions.begin() as db:
        actual = read_attributes(db, ID, KEYS)
    trials = study.get_trials(deepcopy=False)
    expected = [(t.number, {k: v for k, v in t.user_attrs.items() if k in KEYS}) for t in trials]
    assert [(t.number, t.attributes) for t in actual] == [row for row in expected if row[1]]
    assert [t.number for t in actual if t.is_finished] == [1]


def test_a_worker_reads_a_running_trial_until_it_has_parameters_and_when_it_has_ended(store):
    other = Store(store.url.render_as_string(hide_password=False))
    statements = []
    sa.event.listen(other.engine, "before_cursor_execute", lambda *a: statements.append(a[2]))

    def read():
        other.optuna.drop_snapshot()
        statements.clear()
        return [(t.state, t.params, t.values) for t in other.optuna.take_snapshot(ID)]

    drawn, running = {"x": 2}, TrialState.RUNNING
    with store.exclusive(ID):
        first, last = (store.optuna.create_new_trial(ID) for _ in range(2))
    store.optuna.set_trial_state_values(last, TrialState.COMPLETE, [0.5])
    done = (TrialState.COMPLETE, {}, [0.5])
    assert read() == [(running, {}, None), done]
    store.optuna.set_trial_param(first, "x", 2, IntDistribution(1, 3))
    assert read() == [(running, drawn, None), done]
    assert read() == [(running, drawn, None), done]
    assert len(statements) == 1, "no values are read again"
    store.optuna.set_trial_state_values(first, TrialState.COMPLETE, [1.0])
    assert read() == [(TrialState.COMPLETE, drawn, [1.0]), done]
    other.close()


@pytest.mark.parametrize(
    ("metrics", "why"),
    [('{"accuracy": NaN}', "NaN is not finite"), ('{"accuracy": -Infinity}', "not finite"),
     ("{", "Expecting")],
)  # fmt: skip
def test_metrics_that_cannot_be_compared_are_refused_by_name(store, metrics, why):
    trained(store, 0, channels=1)
    with store.transactions.begin() as db:
        db.execute(archive.update().values(metrics=metrics))
    (digest,) = store.archive(ID).digests()
    with pytest.raises(StoreError, match=f"^candidate {digest}: its metrics in the store: .*{why}"):
        store.archive(ID).entries()
