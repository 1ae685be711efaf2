"""Trials that somebody enqueued through Optuna, with parameters that the space does not have."""

import json
import logging
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from nas_service.errors import StudyError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.searches.creation import check, create
from nas_service.searches.enqueued import ImpossibleTrial, check_enqueued
from nas_service.searches.session import open_search
from nas_service.study.loading import parse_spec
from nas_service.worker.worker import Worker

TREE = {
    "name": "x",
    "space": {
        "operations": "light3", "channels": [4, 8, 12], "head_pool": [2, 4], "hidden": [16, 32],
        "time_steps": 2,
    },
    "data": {"name": "digits", "train_samples": 64, "validation_samples": 32},
    "training": {"epochs": 0},
    "proxies": {"names": ["convolutions"]},
    "search": {"trainings": 2, "sampler": "random"},
    "objectives": [
        {"metric": "proxy_convolutions", "direction": "maximize", "reference": 0, "ideal": 12},
    ],
    "constraints": [{"metric": "area_mm2", "at_most": 1e6}],
}  # fmt: skip
IMPOSSIBLE = [
    (
        {"cell0_edge01": "conv9x9"},
        "cell0_edge01 = 'conv9x9': one of zeroize, skip, conv3x3 is possible",
    ),
    ({"channels": 10**9}, "channels = 1000000000: 4..12 in steps of 4 is possible"),
    ({"channels": 6}, "channels = 6: 4..12 in steps of 4 is possible"),
    ({"channels": "8"}, "channels = '8': 4..12 in steps of 4 is possible"),
    ({"channels": True}, "channels = True: 4..12 in steps of 4 is possible"),
    ({"channels": None}, "channels = None: 4..12 in steps of 4 is possible"),
    ({"hidden": [16]}, "hidden = [16]: 16..32 in steps of 16 is possible"),
    (
        {"cell0_egde01": "skip"},
        "'cell0_egde01' is no parameter of the space, did you mean 'cell0_edge01'?",
    ),
    (
        {"channels": 5, "lr": 0.1},
        "channels = 5: 4..12 in steps of 4 is possible; 'lr' is no parameter of the space",
    ),
]


def spec(**tables):
    return parse_spec(json.dumps(TREE | tables), "x")


@pytest.mark.parametrize(("parameters", "message"), IMPOSSIBLE)
def test_impossible_parameters(parameters, message):
    with pytest.raises(ImpossibleTrial) as caught:
        check_enqueued(spec().build_space(), parameters)
    assert str(caught.value) == f"enqueued with {message}"


def test_possible_parameters():
    space = spec().build_space()
    for parameters in ({}, {"channels": 8}, {"channels": 8.0}, {"cell0_edge01": "skip"}):
        check_enqueued(space, parameters)


def test_an_impossible_trial_fails_by_one_line(store, caplog):
    study_spec, lines = spec(), []
    evaluator = Evaluator.open(study_spec, Path())
    create(store, check(study_spec), evaluator.data_digest)
    study = optuna.load_study(storage=store.address, study_name="x")
    study.enqueue_trial({"channels": 10**9})  # Optuna would train it
    study.enqueue_trial({"cell0_edge01": "conv9x9"})  # and would end this one by a traceback
    study.enqueue_trial({"channels": 8})
    with caplog.at_level(logging.WARNING, logger="nas_service"):
        Worker(open_search(store, "x"), evaluator, lines.append).run()
    states = [trial.state for trial in study.get_trials()]
    assert states == [TrialState.FAIL, TrialState.FAIL, TrialState.COMPLETE, TrialState.COMPLETE]
    assert study.trials[2].params["channels"] == 8
    for number, (_, message) in enumerate((IMPOSSIBLE[1], IMPOSSIBLE[0])):
        assert f"trial {number} failed: enqueued with {message}" in lines
    assert caplog.records == []


def test_another_search_of_the_same_name_shows_what_differs(store):
    first = spec()
    create(store, check(first), "data")
    budgets = [{"metric": "area_mm2", "at_most": 2.5}, {"metric": "parameters", "at_most": 900}]
    for tables, shown in (
        ({"constraints": budgets[:1]}, "constraints.0.at_most = 1000000.0, not 2.5"),
        (
            {"constraints": [*TREE["constraints"], budgets[1]]},
            "constraints.1.at_most = none, not 900.0, constraints.1.metric = none, "
            'not "parameters"',
        ),
        ({"constraints": []}, "constraints.0.at_most = 1000000.0, not none"),
        ({"seed": 3}, "seed = 0, not 3"),
        ({"space": TREE["space"] | {"hidden": 16}}, "space.hidden = [16, 32], not [16]"),
    ):
        with pytest.raises(StudyError) as caught:
            create(store, check(spec(**tables)), "data")
        assert f"study 'x' is in the store with other values: {shown}" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_many_differences_are_counted(store):
    create(store, check(spec()), "data")
    network = {"votes": 2, "dropout": 0.1, "tau": 2.0, "surrogate": "triangle", "reset": "subtract"}
    with pytest.raises(StudyError, match=r"network\.tau = .*, and 1 more; give this one a --name"):
        create(store, check(spec(network=network, seed=9)), "data")
