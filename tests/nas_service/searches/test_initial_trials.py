"""The candidates that a search begins with, by name, and the first trials that they become."""

import json
import logging
import math
import re
import threading
from pathlib import Path

import optuna
import pytest
import torch
from click.testing import CliRunner
from optuna.trial import TrialState

from nas_service.cli.main import main
from nas_service.errors import SpecError, StudyError
from nas_service.evaluation import census
from nas_service.evaluation.evaluator import Evaluator
from nas_service.samplers import sampler_of
from nas_service.searches.creation import check, create
from nas_service.searches.initial_trials import COSTED, NAMED, PUBLISHED, SAMPLE, resolve
from nas_service.searches.results import read
from nas_service.searches.session import CONTINUES, open_search
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.store.store import Store
from nas_service.store.trial_queue import TrialQueue
from nas_service.study.fields import INITIAL
from nas_service.study.loading import load_spec, parse_spec
from nas_service.worker.worker import Worker

TREE = {
    "name": "x",
    "space": {
        "channels": [4, 8, 12], "head_pool": [2, 4], "hidden": [16, 32], "time_steps": [2, 3],
        "mode": "backward",
    },
    "data": {"name": "digits", "train_samples": 256, "validation_samples": 128},
    "training": {"epochs": 0},
    "search": {"trainings": 4, "sampler": "random"},
    "proxies": {"names": ["convolutions"]},
    "objectives": [
        {"metric": "proxy_convolutions", "direction": "maximize", "reference": 0, "ideal": 12},
        {"metric": "parameters", "direction": "minimize", "reference": 40000},
    ],
}  # fmt: skip
TABLE = {
    "cells": ["0303 0030 2002 0200", "0300 0010 0003 0000"],
    "channels": 12, "head_pool": 2, "hidden": 32, "time_steps": 3, "weight_bits": 8,
}  # fmt: skip


def resolved(study_spec):
    return resolve(study_spec, study_spec.build_space())


def spec(*start, space=(), search=(), **changes):
    tree = TREE | changes
    tree = tree | {"space": tree["space"] | dict(space)}
    tree = tree | {"search": tree["search"] | {"initial": list(start)} | dict(search)}
    return parse_spec(json.dumps(tree), "x")


def drawn(study_spec):
    """The architectures of the resolved initial trials."""
    space = study_spec.build_space()
    return [space.draw(optuna.trial.FixedTrial(p)) for p in resolved(study_spec).parameters]


# --- what the names mean


def test_names_are_the_ones_of_the_study_file():
    assert (NAMED | COSTED).keys() == set(INITIAL)


def test_published_cells_fill_all_places_with_middle_sizes():
    resolution = drawn(spec("published"))
    assert [a.cells[0].text(TREE_OPERATIONS) for a in resolution] == list(PUBLISHED)
    for a in resolution:
        assert a.cells[0] == a.cells[1]
        assert (a.channels, a.head_pool, a.hidden, a.time_steps) == (8, 2, 16, 2)


TREE_OPERATIONS = spec().build_space().operations


@pytest.mark.parametrize("space", [{"mode": "forward"}, {"operations": "light3"}])
def test_published_cells_that_do_not_fit_are_named(space):
    resolution = resolved(spec("published", space=space))
    assert len(resolution.parameters) == 2
    assert len(resolution.notes) == 1
    assert "2 of 4 left out of published: cell0_edge0" in resolution.notes[0]


def test_published_forward_cells():
    """ResNet's block: two convolutions in a row, and the input added to them."""
    study_spec = spec("published", space={"mode": "forward"})
    dense, residual = (a.cells[0].operations for a in drawn(study_spec))
    conv, skip, zero = "conv3x3", "skip", "zeroize"
    assert residual == (conv, zero, skip, conv, zero, skip)
    assert dense == (conv, conv, skip, conv, conv, conv)


def test_extremes():
    small, large = drawn(spec("extremes"))
    zero = "zeroize"
    assert small.cells == (Cell((zero, zero, "conv1x1", zero, zero, zero)),) * 2
    assert large.cells == (Cell(("conv3x3",) * 6),) * 2
    sizes = [(a.channels, a.head_pool, a.hidden, a.time_steps) for a in (small, large)]
    assert sizes == [(4, 4, 16, 2), (12, 2, 32, 3)]  # a larger pool is cheaper
    pools = {"operations": ["zeroize", "avgpool3x3"], "mode": "forward"}
    assert drawn(spec("extremes", space=pools))[0].cells[0].connected


def test_the_cheapest_is_within_the_budgets_and_costs_least():
    """Compared with every candidate of a space that is smaller than the sample."""
    sizes = {"operations": "light3", "mode": "forward", "shared": True, "channels": 8}
    sizes |= {"head_pool": 2, "hidden": 16, "time_steps": 2}
    budgets = [{"metric": "energy_uJ", "at_most": 0.33}, {"metric": "parameters", "at_least": 9000}]
    study_spec = spec("cheapest", space=sizes, constraints=budgets)
    assert study_spec.build_space().size < SAMPLE / 6
    evaluator = Evaluator.open(study_spec, Path())
    space = study_spec.build_space()
    (parameters,) = resolve(study_spec, space, density=evaluator.density).parameters
    resolution = space.draw(optuna.trial.FixedTrial(parameters))

    def cost(a):
        costs = evaluator.screen(a, 0).hardware_metrics
        return math.log(costs["parameters"]) + math.log(costs["energy_uJ"])

    feasible = list(census.feasible(study_spec, density=evaluator.density))
    assert 50 < len(feasible) < study_spec.build_space().size / 2
    assert resolution in feasible
    assert cost(resolution) == pytest.approx(min(cost(a) for a in feasible))


def test_the_cheapest_where_no_candidate_is_within_the_budgets():
    with pytest.raises(SpecError, match=r"search.initial.0: 'cheapest': none of 5000"):
        resolved(spec("cheapest", constraints=[{"metric": "parameters", "at_most": 10.0}]))


def test_cells_and_tables():
    cell, table = drawn(spec("0003 0000 0000 0000", TABLE))
    assert cell.cells[0].operations.count("conv3x3") == 1
    assert table == Architecture.from_json(TABLE)


def test_each_network_once():
    twice = resolved(spec(PUBLISHED[0], "published", TABLE, TABLE))
    assert len(twice.parameters) == 5


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (["publish"], "search.initial.0: 'publish', did you mean 'published'?"),
        (["front:../x"], "name '../x'"),
        (["published", "0300"], "search.initial.1: cell '0300'"),
        ([TABLE | {"channels": 6}], "search.initial.0: channels = 6: the space has 4, 8, 12"),
        ([TABLE | {"bits": 6}], "search.initial.0: architecture: unknown key 'bits'"),
        (["0005 0000 0000 0000"], "search.initial.0: cell .*: digit 5"),
        (["missing.json"], "search.initial.0: .*missing.json: cannot be read"),
    ],
)
def test_an_entry_that_does_not_fit_is_named(tmp_path, start, message):
    text = (Path(__file__).parents[3] / "studies" / "digits.toml").read_text()
    text = re.sub(r"channels = \[.*?\]", "channels = [4, 8, 12]", text)
    text = backward(text)
    words = ", ".join(_toml(entry) for entry in start)
    (tmp_path / "x.toml").write_text(text.replace("[search]", f"[search]\ninitial = [{words}]"))
    done = CliRunner().invoke(main, ["check", str(tmp_path / "x.toml")])
    assert done.exit_code == 2
    assert re.search(message, done.output), done.output


def backward(text):
    """A study whose edges may lead back, which takes two time steps or more."""
    text = re.sub(r"time_steps = \[.*?\]", "time_steps = [2, 3]", text)
    return text.replace('kind = "cells"', 'kind = "cells"\nmode = "backward"')


def _toml(entry):
    if isinstance(entry, str):
        return json.dumps(entry)
    return "{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in entry.items()) + "}"


def test_files_are_relative_to_the_study_file(tmp_path):
    text = (Path(__file__).parents[3] / "studies" / "digits.toml").read_text()
    text = text.replace("[search]", '[search]\ninitial = ["a.json", "b.json", "published"]')
    (tmp_path / "x.toml").write_text(text)
    (tmp_path / "a.json").write_text(json.dumps(TABLE))
    (tmp_path / "b.json").write_text(json.dumps({"trial": 3, "architecture": TABLE}))
    assert load_spec(tmp_path / "x.toml").search.initial == (TABLE, TABLE, "published")
    done = CliRunner().invoke(main, ["check", str(tmp_path / "x.toml")])
    assert "cell0_edge02 = back:conv1x1: the space has zeroize" in done.output
    (tmp_path / "x.toml").write_text(backward(text))
    done = CliRunner().invoke(main, ["check", str(tmp_path / "x.toml")])
    assert done.exit_code == 0, done.output


# --- the first trials of a study


def begin(store, study_spec):
    evaluator = Evaluator.open(study_spec, Path())
    return create(store, check(study_spec), evaluator.data_digest), evaluator


def run(store, study_spec, trials=None):
    search, evaluator = begin(store, study_spec)
    Worker(open_search(store, study_spec.name), evaluator, lambda text: None).run(trials)
    return search


def test_first_trials_are_the_named_ones_and_later_ones_are_drawn(store):
    study_spec = spec("published", "extremes", search={"trainings": 8})
    search = run(store, study_spec)
    trials = search.study.get_trials(deepcopy=False)
    assert [t.params for t in trials[:6]] == list(resolved(study_spec).parameters)
    assert len(trials) >= 8
    assert all(t.state == TrialState.COMPLETE for t in trials)
    plain = run(store, spec(name="plain", search={"trainings": 8}))
    after = plain.study.get_trials(deepcopy=False)
    assert [t.params for t in trials[6:8]] == [t.params for t in after[6:8]]  # by their numbers


def test_nsga2_takes_initial_trials_as_parents(store):
    study_spec = spec("published", "extremes", search={"trainings": 22, "sampler": "nsga2"})
    search = run(store, study_spec)
    sampler = sampler_of(study_spec).inner.inner
    population = {t.number for t in sampler.get_population(search.study, 0)}
    assert {0, 1, 2, 3} < population
    assert len(population) == 20
    parents = {t.number for t in sampler.get_parent_population(search.study, 1)}
    assert parents & {0, 1, 2, 3}


def test_workers_that_start_together_propose_each_initial_trial_once(store_url):
    torch.set_num_threads(1)
    store = Store(store_url, create=True)
    study_spec = spec("published", "extremes", TABLE, search={"trainings": 9})
    _, evaluator = begin(store, study_spec)
    others = [Store(store.url.render_as_string(hide_password=False)) for _ in range(4)]
    workers = [  # as if of as many processes
        Worker(open_search(s, "x"), evaluator, lambda text: None, name=f"elsewhere/boot/{n}/1")
        for n, s in enumerate(others)
    ]
    threads = [threading.Thread(target=worker.run) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    trials = open_search(store, "x").study.get_trials(deepcopy=False)
    first = list(resolved(study_spec).parameters)
    assert [t.params for t in trials[: len(first)]] == first
    assert len([t for t in trials if t.state == TrialState.COMPLETE]) == len(trials)
    for one in (store, *others):
        one.close()


def test_a_worker_lost_before_it_drew_loses_no_initial_trial(store):
    study_spec = spec(*PUBLISHED[:2], "extremes")
    search, _ = begin(store, study_spec)
    search.study.ask()  # and killed: no lease is bound to trial 0
    search.study.ask()
    run(store, study_spec)
    trials = search.study.get_trials(deepcopy=False)
    assert [t.params for t in trials[:6]] == list(resolved(study_spec).parameters)


def test_trials_that_continue_others_are_no_initial_trials(store):
    study_spec = spec("extremes", *PUBLISHED[:2])
    search = run(store, study_spec, trials=1)
    first = search.study.get_trials(deepcopy=False)[0]
    again = optuna.trial.create_trial(
        state=TrialState.RUNNING, params=first.params, distributions=first.distributions,
        user_attrs={CONTINUES: 0},
    )  # fmt: skip
    storage = search.study._storage
    number = storage.get_trial_number_from_id(
        storage.create_new_trial(search.study._study_id, template_trial=again)
    )
    TrialQueue(store, search.id).enqueue(number, first.user_attrs["digest"])
    run(store, study_spec)
    params = [t.params for t in search.study.get_trials(deepcopy=False)]
    assert [params[0], *params[2:5]] == list(resolved(study_spec).parameters)


def test_the_front_of_an_earlier_study(store, caplog):
    earlier = run(store, spec(name="earlier", search={"trainings": 12}))
    front = [read(earlier).evaluation(c).architecture for c in read(earlier).front]
    narrow = spec("front:earlier", space={"channels": [4, 8]})
    fit = [a for a in front if a.channels < 12]
    assert 0 < len(fit) < len(front)
    with caplog.at_level(logging.WARNING):
        search = run(store, narrow, trials=len(fit))
    left = len(front) - len(fit)
    assert f"{left} of {len(front)} left out of front:earlier: channels = 12" in caplog.text
    assert [read(search).evaluation(c).architecture for c in read(search).candidates] == fit
    with pytest.raises(StudyError, match="no study 'nowhere'"):
        begin(store, spec("front:nowhere", name="other"))
    assert "other" not in store.studies.names()


def test_initial_trials_of_a_study_stay(store):
    study_spec = spec("published")
    search, _ = begin(store, study_spec)
    before = store.studies.initial_trials(search.id)
    begin(store, study_spec)
    assert store.studies.initial_trials(search.id) == before
    with pytest.raises(StudyError, match=r"other values: search\.initial = "):
        begin(store, spec("extremes"))
