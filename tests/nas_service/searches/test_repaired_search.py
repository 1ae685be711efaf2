"""`repair = true`: a rejected candidate is followed by its repair once, if workers are lost too."""

import json
import threading
from collections import Counter
from pathlib import Path

import pytest
import torch
from optuna.trial import FixedTrial, TrialState
from trial_queues import GONE

from nas_service.evaluation.evaluator import Evaluator
from nas_service.samplers import sampler_of
from nas_service.searches.creation import check, create
from nas_service.searches.results import read
from nas_service.searches.session import open_search
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.store.store import Store
from nas_service.study.loading import parse_spec
from nas_service.worker.claiming import REPAIRS
from nas_service.worker.worker import Worker

TREE = {
    "space": {
        "operations": "light3", "channels": [4, 8, 12], "head_pool": [2, 4], "hidden": [16, 32],
        "time_steps": [2, 3], "weight_bits": [4, 8],
    },
    "data": {"name": "digits", "train_samples": 128, "validation_samples": 64},
    "training": {"epochs": 0},
    "hardware": {"profile": "corrected"},
    "proxies": {"names": ["convolutions"]},
    "objectives": [
        {"metric": "proxy_convolutions", "direction": "maximize", "reference": 0, "ideal": 12},
        {"metric": "parameters", "direction": "minimize", "reference": 10000},
    ],
    "constraints": [
        {"metric": "area_mm2", "at_most": 2.9},
        {"metric": "parameters", "at_most": 3000},
    ],
}  # fmt: skip


def spec(**search):
    search_table = {
        "trainings": 8,
        "sampler": "random",
        "proposals_per_training": 6,
        "repair": True,
    }
    return parse_spec(json.dumps(TREE | {"name": "x", "search": search_table | search}), "x")


def begin(store, study_spec, name=None):
    evaluator = Evaluator.open(study_spec, Path())
    create(store, check(study_spec), evaluator.data_digest)
    return Worker(open_search(store, study_spec.name), evaluator, lambda text: None, name=name)


def followed(search):
    """By rejected trial with a repair: how often the repaired network was proposed or enqueued."""
    trials = search.study.get_trials(deepcopy=False)
    space = search.spec.build_space()
    archive = search.store.archive(search.id).entries()
    proposed = [
        space.draw(FixedTrial(t.system_attrs.get("fixed_params", t.params))).digest
        for t in trials
        if REPAIRS in t.user_attrs or t.user_attrs.get("outcome") == "scored"
    ]
    result = {}
    for t in trials:
        if t.user_attrs.get("outcome") == "rejected":
            assert archive[t.user_attrs["digest"]].trial == t.number
            evaluation = search.store.archive(search.id).evaluation(t.user_attrs["digest"])
            if evaluation.repair:
                digest = space.draw(FixedTrial(evaluation.repair)).digest
                result[t.number] = len({n for n, d in enumerate(proposed) if d == digest})
    return result


def digests_of(search, attribute, value=None):
    """The candidates of the trials with an attribute, of this value if one is given."""
    space = search.spec.build_space()
    return [
        space.draw(FixedTrial(t.system_attrs.get("fixed_params", t.params))).digest
        for t in search.study.get_trials(deepcopy=False)
        if attribute in t.user_attrs and value in (None, t.user_attrs[attribute])
    ]


@pytest.mark.parametrize("sampler", ["random", "tpe", "nsga2"])
def test_repairs_leave_more_to_train(store, sampler):
    """Without repairs few of the proposals are within the budgets."""
    shares = {}
    for repair in (False, True):
        study_spec = spec(sampler=sampler, repair=repair, trainings=20, proposals_per_training=1)
        study_spec = study_spec.model_copy(update={"name": f"{sampler}-{repair}"})
        worker = begin(store, study_spec)
        worker.run()
        counts = read(worker.search).counts
        shares[repair] = counts["trained"] / counts["complete"]
    assert shares[True] > 0.4 > 1.5 * shares[False]
    trials = worker.search.study.get_trials(deepcopy=False)
    repairs = [t for t in trials if REPAIRS in t.user_attrs and t.state == TrialState.COMPLETE]
    assert len(repairs) > 4
    assert all(t.user_attrs["outcome"] in ("scored", "cached") for t in repairs)
    for t in repairs:
        assert t.number > t.user_attrs[REPAIRS]
        assert trials[t.user_attrs[REPAIRS]].user_attrs["outcome"] == "rejected"
    if sampler == "nsga2":
        inner = sampler_of(study_spec).inner.inner
        population = {t.number for t in inner.get_population(worker.search.study, 0)}
        assert {t.number for t in repairs if t.number < 20} <= population


def lose_first_repair(worker, moment, monkeypatch):
    """The worker is lost before or after it has enqueued its first repair."""
    enqueue = worker.reporter.enqueue_repair

    def lost(parameters, rejected):
        if moment == "after":
            enqueue(parameters, rejected)
        raise KeyboardInterrupt

    monkeypatch.setattr(worker.reporter, "enqueue_repair", lost)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_lost_worker_neither_loses_nor_repeats_a_repair(store, moment, monkeypatch):
    study_spec = spec()
    lost = begin(store, study_spec, name=GONE)
    lose_first_repair(lost, moment, monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        lost.run()
    worker = begin(store, study_spec)
    worker.run()
    trials = worker.search.study.get_trials(deepcopy=False)
    assert all(t.state in (TrialState.COMPLETE, TrialState.WAITING) for t in trials)
    result = followed(worker.search)
    assert len(result) > 2
    assert set(result.values()) == {1}
    finished = [t for t in trials if t.state == TrialState.COMPLETE]
    outcomes = worker.search.store.leases(worker.search.id).outcomes()
    assert set(outcomes) == {t.number for t in finished}


def test_a_repair_of_a_lost_worker_is_claimed_again(store):
    """Its worker was killed between taking the trial from Optuna and getting its lease."""
    study_spec = spec()
    worker = begin(store, study_spec)
    while not any(t.state == TrialState.WAITING for t in
                  worker.search.study.get_trials(deepcopy=False)):  # fmt: skip
        worker.run(max_trials=1)
    taken = worker.search.study.ask()
    assert REPAIRS in taken.user_attrs
    begin(store, study_spec).run()
    trial = worker.search.study.get_trials(deepcopy=False)[taken.number]
    assert trial.state == TrialState.COMPLETE
    assert trial.user_attrs["outcome"] == "scored"
    assert set(followed(worker.search).values()) == {1}


def test_initial_trials_are_followed_by_their_repairs(store):
    """A repair does not take the position of an initial trial."""
    dear = {"cells": ["0222 0022 0002 0000"] * 2, "head_pool": 2, "hidden": 32, "time_steps": 3,
            "weight_bits": 8}  # fmt: skip
    study_spec = spec(initial=[dear | {"channels": 12}, dear | {"channels": 8}], trainings=4)
    worker = begin(store, study_spec)
    worker.run()
    trials = worker.search.study.get_trials(deepcopy=False)
    own = [t for t in trials if REPAIRS not in t.user_attrs]
    assert [t.params["channels"] for t in own[:2]] == [12, 8]
    assert [t.user_attrs["outcome"] for t in own[:2]] == ["rejected", "rejected"]
    assert set(followed(worker.search).values()) == {1}


def test_two_workers_at_once_enqueue_a_repair_once(store_url):
    """The second one read the study before the first one enqueued."""
    first_store, second_store = Store(store_url), Store(store_url)
    first = begin(first_store, spec())
    second = Worker(open_search(second_store, "x"), first.evaluator, lambda text: None)
    candidate = Architecture((Cell(("skip",) * 6),) * 2, 4, 4, 16, 2, 4)
    repair = spec().build_space().parameters(candidate)
    ready, looked = threading.Event(), threading.Event()

    def propose_second():
        second_store.optuna.take_snapshot(second.search.id)
        looked.set()
        ready.wait()
        with second_store.transactions.writing():
            second.reporter.enqueue_repair(repair, 1)

    thread = threading.Thread(target=propose_second)
    thread.start()
    looked.wait()
    with first_store.transactions.writing():
        first.reporter.enqueue_repair(repair, 0)
        ready.set()
        thread.join(0.3)  # the second one waits, or has enqueued it too
    thread.join()
    first_store.optuna.drop_snapshot()
    (enqueued,) = first.search.study.get_trials(states=(TrialState.WAITING,))
    assert enqueued.user_attrs == {REPAIRS: 0}
    first_store.close()
    second_store.close()


def test_many_workers_share_the_queue(store_url):
    torch.set_num_threads(1)
    store = Store(store_url)
    study_spec = spec(trainings=8)
    first = begin(store, study_spec)
    others = [Store(store.url.render_as_string(hide_password=False)) for _ in range(2)]
    workers = [
        Worker(
            open_search(s, "x"), first.evaluator, lambda text: None, name=f"elsewhere/boot/{n}/1"
        )
        for n, s in enumerate(others)
    ]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    search = open_search(store, "x")
    outcomes = list(store.leases(search.id).outcomes().values())
    assert outcomes.count("scored") == 8
    assert set(outcomes) <= {"scored", "rejected", "cached"}
    assert set(followed(search).values()) <= {1, 2}  # a sampler may draw a repair that waits
    for attribute, value in ((REPAIRS, None), ("outcome", "scored")):
        times = Counter(digests_of(search, attribute, value))
        assert set(times.values()) == {1}  # enqueued once, and evaluated once
    for one in (store, *others):
        one.close()
