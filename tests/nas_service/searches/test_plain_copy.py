"""`nas studies --plain-copy`: what plain Optuna and a plain optuna-dashboard show of it."""

import importlib
import json

import optuna
import pytest
from click.testing import CliRunner
from dashboard_site import ask
from optuna.storages import RDBStorage
from optuna.trial import TrialState
from synthetic_study import synthetic_study

from nas_service.cli.main import main
from nas_service.searches.results import read
from nas_service.store.store import Store


@pytest.fixture
def store(store_url):
    store = Store(store_url, create=True)
    yield store
    store.close()


def copied(store, path):
    words = ["studies", "--plain-copy", str(path), "--storage", store.address, "--json"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def stock_dashboard(path, study_id):
    """The answer of optuna-dashboard as it is installed, without anything of ours."""
    app = importlib.import_module("optuna_dashboard._app").create_app(
        RDBStorage(f"sqlite:///{path}")
    )
    return ask(app, f"/api/studies/{study_id}").json


@pytest.mark.parametrize("epochs", [1, 3])
def test_plain_tools_show_the_copy_truly(store, tmp_path, epochs):
    search = synthetic_study(store, "many", 120, seed=epochs, epochs=epochs)
    theirs = optuna.create_study(storage=store.optuna, study_name="theirs")
    theirs.add_trial(optuna.trial.create_trial(value=1.0, constraints={"c": 1.0}))
    path = tmp_path / "plain.db"
    document = copied(store, path)
    assert [s["name"] for s in document["studies"]] == ["many", "theirs"]
    result = read(search)
    study = optuna.load_study(study_name="many", storage=f"sqlite:///{path}")
    before = {t.number: t for t in store.optuna.get_all_trials(search.id)}
    fronts = {c.digest for c in result.front}
    best = study.best_trials
    assert {t.user_attrs["digest"] for t in best} == fronts
    for trial in study.trials:
        earlier = before[trial.number]
        assert trial.user_attrs == earlier.user_attrs
        assert (trial.params, trial.values) == (earlier.params, earlier.values)
    rejected = [t for t in study.trials if t.user_attrs.get("outcome") in ("rejected", "diverged")]
    assert rejected
    assert all(max(t.constraints.values()) > 0 for t in rejected)
    assert all(max(t.system_attrs["constraints"]) > 0 for t in rejected)
    stock = stock_dashboard(path, study._study_id)
    assert {t["number"] for t in stock["best_trials"]} == {t.number for t in best}
    drawn = {t["number"] for t in stock["trials"]
             if t["state"] == "Complete" and all(x <= 0 for x in t["constraints"])}  # fmt: skip
    known = {c.trial: c for c in result.candidates}
    assert drawn
    assert all(known[n].feasible and not known[n].below_reference for n in drawn)
    other = optuna.load_study(study_name="theirs", storage=f"sqlite:///{path}")
    assert other.trials[0].system_attrs["constraints"] == [1.0]
    assert other.trials[0].state == TrialState.COMPLETE


def test_a_copy_replaces_nothing(store, tmp_path):
    synthetic_study(store, "few", 5)
    path = tmp_path / "plain.db"
    path.write_text("mine")
    for words, sentence in (
        ([str(path)], "it exists; the name of a new file is needed"),
        ([str(tmp_path / "nowhere" / "plain.db")], "it cannot be written (No such file"),
        ([str(tmp_path / "a?b.db")], "a path without '?' is needed"),
        ([str(tmp_path / "new.db"), "--yes"], "--plain-copy: only by itself"),
    ):
        done = CliRunner().invoke(
            main, ["studies", "--storage", store.address, "--plain-copy", *words]
        )
        assert (done.exit_code, done.stdout) == (2, "")
        assert sentence in done.stderr.replace("\n  ", " ")
    assert path.read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith((".", "new"))] == []
