"""What the dashboard shows: constraints of every trial, the feasible front, and no more."""

import importlib
import json
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
import pytest
from dashboard_site import FRONT, TRIALS, Site, ask, fill, new_study, serving
from hypothesis import given
from hypothesis import strategies as st
from optuna.storages import BaseStorage, InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas_service.dashboard.server import make_app
from nas_service.dashboard.trials import DashboardStorage, front
from nas_service.errors import StoreError
from nas_service.searches.shown_trials import listed, results

ADD_TRIAL = """
import sys
import optuna
study = optuna.load_study(study_name="digits", storage=sys.argv[1])
trial = study.ask()
trial.set_constraint("memory_B", -0.5)
trial.set_constraint("energy_J", -0.5)
trial.set_user_attr("outcome", "trained")
study.tell(trial, [0.99, 0.1])
"""


def test_every_complete_trial_has_its_constraints(site: Site) -> None:
    trials = site.ask("/api/studies/1").json["trials"][: len(TRIALS)]
    shown = [trial["constraints"] for trial in trials]
    assert shown[:6] == [[energy, memory] for _, (memory, energy), _ in TRIALS[:6]]
    assert shown[6] == [-0.9, -0.9, 1.0]  # untrained: the page must not take it for a result


def test_best_trials_are_feasible_and_trained(site: Site) -> None:
    answer = site.ask("/api/studies/1")
    assert answer.status == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert [trial["number"] for trial in answer.json["best_trials"]] == FRONT


def test_single_objective(storage: RDBStorage) -> None:
    study = new_study(storage, "one", "maximize")
    app = make_app(storage, port=8080)

    def best() -> list[int]:
        app = make_app(storage, port=8080)
        return [t["number"] for t in ask(app, "/api/studies/1").json["best_trials"]]

    assert ask(app, "/api/studies/1").json["best_trials"] == []
    fill(study, [([0.9], (0.1, -1.0), "trained"), ([0.8], (0.1, 0.1), "rejected")])
    assert best() == []  # the dashboard itself would show trial 0
    fill(study, [([0.6], (-1.0, -1.0), "trained"), ([0.7], (0.0, -1.0), "trained")])
    assert best() == [3]


def test_foreign_studies_need_no_outcome(storage: RDBStorage) -> None:
    study = new_study(storage, "theirs", "minimize", "minimize")
    for values, violation in (([0.0, 0.0], 1.0), ([1.0, 2.0], -1.0), ([2.0, 2.0], -1.0)):
        study.add_trial(create_trial(values=values, constraints={"c": violation}))
    study.add_trial(create_trial(values=[0.0, 3.0], system_attrs={"constraints": [0.0, -1.0]}))
    study.add_trial(create_trial(values=[5.0, 0.0]))
    detail = ask(make_app(storage, port=8080), "/api/studies/1").json
    assert [trial["number"] for trial in detail["best_trials"]] == [1, 3, 4]
    assert [t["constraints"] for t in detail["trials"]] == [[1.0], [-1.0], [-1.0], [0.0, -1.0], []]


def test_a_foreign_outcome_attribute_is_ignored() -> None:
    foreign = create_trial(value=1.0, user_attrs={"outcome": "fine"})
    assert results([foreign]) == [foreign]
    assert listed(foreign) == []


def test_among_our_trials_one_without_outcome_is_no_result() -> None:
    ours = create_trial(value=1.0, user_attrs={"outcome": "trained"})
    assert results([ours, create_trial(value=0.0)]) == [ours]


def test_only_trials_at_the_last_epoch_are_results() -> None:
    """As in successive halving: three candidates at epoch 1, one of them continued to epoch 3."""
    outcomes = [("trained", 1.0), ("trained", 1.0), ("trained", 1.0)]
    first = [create_trial(value=n, user_attrs=attributes(*t)) for n, t in enumerate(outcomes)]
    assert results(first) == first
    further = create_trial(value=9.0, user_attrs=attributes("continued", 3.0))
    assert results([*first, further]) == [further]


def attributes(outcome: str, epochs: float) -> dict[str, str | float]:
    return {"outcome": outcome, "epochs": epochs}


small = st.integers(0, 3)


@given(st.lists(st.tuples(small, small, small, st.sampled_from([-1.0, 0.0, 1.0])), max_size=20))
def test_front_is_that_of_optuna(candidates: list[tuple[int, int, int, float]]) -> None:
    storage = InMemoryStorage()
    study = optuna.create_study(storage=storage, directions=["maximize", "minimize", "minimize"])
    for *values, violation in candidates:
        study.add_trial(create_trial(values=values, constraints={"c": violation}))
    shown = DashboardStorage(storage).get_all_trials(study._study_id)
    numbers = [trial.number for trial in front(shown, study.directions)]
    assert numbers == [trial.number for trial in study.best_trials]


def trial_with(system_attrs: dict[str, Any]) -> FrozenTrial:
    return FrozenTrial(
        0, TrialState.COMPLETE, 0.0, None, None, {}, {}, {}, system_attrs, {}, trial_id=1
    )


@pytest.mark.parametrize(
    ("attrs", "constraints"),
    [
        ({}, []),
        ({"constraints:b": 1.0, "constraints:a": -1.0}, [-1.0, 1.0]),
        ({"constraints": [0.5, -0.5], "constraints:a": -1.0}, [0.5, -0.5, -1.0]),
        ({"constraints:a": float("-inf")}, [-sys.float_info.max]),
        ({"constraints:a": float("inf")}, [sys.float_info.max]),
        ({"constraints:a": 10**400}, [sys.float_info.max]),
        ({"constraints:a": float("nan")}, [sys.float_info.max]),
        ({"constraints:a": "<script>"}, [sys.float_info.max]),
        ({"constraints": "<script>"}, [sys.float_info.max]),
        ({"constraints": {"a": None}}, [sys.float_info.max]),
        ({"constraints": [None, [0.0]]}, [sys.float_info.max] * 2),
    ],
)
def test_listed_values_are_always_finite(attrs: dict[str, Any], constraints: list[float]) -> None:
    assert listed(trial_with(attrs)) == constraints
    assert json.loads(json.dumps(constraints, allow_nan=False)) == constraints


@pytest.mark.process
def test_a_trial_of_another_process_appears(tmp_path: Path) -> None:
    database = tmp_path / "store.db"
    storage = RDBStorage(f"sqlite:///{database}")
    fill(new_study(storage, "digits", "maximize", "minimize"))
    storage.engine.dispose()
    with serving(database) as site:
        assert len(site.ask("/api/studies/1").json["trials"]) == 7
        command = [sys.executable, "-c", ADD_TRIAL, f"sqlite:///{database}"]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
        until = time.monotonic() + 20  # the dashboard asks the store at most every 2 seconds
        while len(trials := site.ask("/api/studies/1").json["trials"]) == 7:
            assert time.monotonic() < until
            time.sleep(0.2)
        assert trials[7]["constraints"] == [-0.5, -0.5]
        best = site.ask("/api/studies/1").json["best_trials"]
        assert [trial["number"] for trial in best] == [7]


def test_every_writing_method_is_refused() -> None:
    storage = DashboardStorage(InMemoryStorage())
    writing = [n for n in dir(BaseStorage) if n.startswith(("create_", "delete_", "set_"))]
    assert len(writing) == 10
    for name in writing:
        with pytest.raises(StoreError, match=f"read-only: {name} is refused"):
            getattr(storage, name)(1, "key", "value")


def test_a_finished_trial_is_read_once(storage: RDBStorage) -> None:
    study = new_study(storage, "digits", "maximize", "minimize")
    fill(study)
    running = study.ask()
    view = DashboardStorage(storage)
    first = view.get_all_trials(1, deepcopy=False)
    running.set_user_attr("epoch", 1)
    second = view.get_all_trials(1, deepcopy=False)
    assert all(a is b for a, b in zip(first[:7], second[:7], strict=True))
    assert second[7].user_attrs == {"epoch": 1}


def test_the_trials_of_the_store_stay_as_they_are() -> None:
    storage = InMemoryStorage()
    fill(new_study(storage, "digits", "maximize", "minimize"))
    shown = DashboardStorage(storage).get_all_trials(0, deepcopy=False)
    assert shown[0].system_attrs["constraints"] == [-0.5, 0.5]
    assert "constraints" not in storage.get_all_trials(0)[0].system_attrs


def test_trials_are_copied_and_filtered_by_state(storage: RDBStorage) -> None:
    study = new_study(storage, "digits", "maximize", "minimize")
    fill(study)
    study.ask()
    view = DashboardStorage(storage)
    running = view.get_all_trials(1, states=(TrialState.RUNNING,))
    assert [trial.number for trial in running] == [7]
    assert view.get_all_trials(1)[0] is not view.get_all_trials(1)[0]
    assert view.get_trial(1).system_attrs["constraints"] == [-0.5, 0.5]


def test_a_recreated_study_with_the_same_id_is_read_again(storage: RDBStorage) -> None:
    view = DashboardStorage(storage)
    for accuracy in (0.1, 0.2):
        study = new_study(storage, "digits", "maximize", "minimize")
        assert study._study_id == 1
        fill(study, [([accuracy, 1.0], (-1.0, -1.0), "trained")])
        assert view.get_all_trials(1)[0].values == [accuracy, 1.0]
        optuna.delete_study(study_name="digits", storage=storage)


def test_the_page_gets_times_with_their_zone(
    storage: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser takes a time without one as its own local time."""
    study = new_study(storage, "one", "minimize")
    study.tell(study.ask(), 1.0)
    study.ask()
    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        document = ask(make_app(storage, port=8080), "/api/studies/1").json
    finally:
        monkeypatch.undo()
        time.tzset()
    trials = [*document["trials"], *document["best_trials"]]
    times = [t[key] for t in trials for key in ("datetime_start", "datetime_complete") if key in t]
    assert len(times) == 5
    for text in times:
        assert abs(datetime.fromisoformat(text) - datetime.now(UTC)) < timedelta(minutes=1)
    assert ask(make_app(storage, port=8080), "/api/studies/1/plot/timeline").status == 200


def test_clocks_that_are_set_back_hide_no_trial(
    storage: RDBStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dashboard keeps trials for two seconds, not for an hour and two seconds."""
    make_app(storage, port=8080)
    study = new_study(storage, "one", "minimize")
    cache = importlib.import_module("optuna_dashboard._inmemory_cache").InMemoryCache()
    get_trials = importlib.import_module("optuna_dashboard._storage").get_trials
    seen = []
    try:
        for zone in ("UTC-2", "UTC-1"):
            monkeypatch.setenv("TZ", zone)
            time.tzset()
            study.ask()
            seen.append(len(get_trials(cache, storage, 1)))
            cache._trials_last_fetched_at[1] -= timedelta(seconds=3)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert seen == [1, 2]
