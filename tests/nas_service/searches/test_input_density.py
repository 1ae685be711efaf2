"""A study keeps the density of the data that it began with, and is costed at it everywhere."""

import json
import logging
from pathlib import Path

import pytest

from nas_service import api
from nas_service.errors import SpecError, StudyError
from nas_service.searches.creation import check, create
from nas_service.searches.input_density import DENSITY, record, recorded
from nas_service.searches.session import open_search
from nas_service.searches.study_data import open_evaluator
from nas_service.spaces.input_density import InputDensity
from nas_service.study.loading import parse_spec
from nas_service.worker import claiming
from nas_service.worker.training import train_in_children
from nas_service.worker.worker import Worker

TREE = {
    "name": "kept",
    "space": {"operations": "light3", "channels": 4, "head_pool": 4, "hidden": 16, "time_steps": 2},
    "data": {"name": "digits"},
    "training": {"epochs": 1},
    "hardware": {"profile": "corrected"},  # whose energy depends on the input's bits
    "search": {"trainings": 1, "sampler": "random"},
    "objectives": [{"metric": "accuracy", "direction": "maximize"}],
}


def spec(initial=(), **changes):
    search = TREE["search"] | {"initial": list(initial)}
    return parse_spec(json.dumps(TREE | {"search": search} | changes), "x")


def test_a_new_study_keeps_the_density_of_its_data(store):
    search, evaluator = api.prepare(spec(), lambda: store, Path())
    assert evaluator.density.measured
    assert 0.1 < evaluator.density.share < 0.15
    assert recorded(open_search(store, "kept")) == evaluator.density
    assert search.study.user_attrs[DENSITY]["data"] == evaluator.data_digest
    again = open_evaluator(open_search(store, "kept"), Path())
    assert again.density == evaluator.density


def test_two_that_create_a_study_at_once_keep_one_density(store):
    """What is kept for these data stays; what was kept for others is replaced."""
    search, evaluator = api.prepare(spec(), lambda: store, Path())
    record(search.study, InputDensity(0.5), evaluator.data_digest)
    assert recorded(open_search(store, "kept")) == evaluator.density
    record(search.study, InputDensity(0.5), "other")
    assert recorded(open_search(store, "kept")) == InputDensity(0.5)


def test_a_study_is_evaluated_at_the_density_that_it_keeps(store):
    create(store, check(spec()), api.Evaluator.open(spec(), Path()).data_digest, InputDensity(0.5))
    search = open_search(store, "kept")
    assert open_evaluator(search, Path()).density == InputDensity(0.5)
    assert api.prepare(spec(), lambda: store, Path())[1].density == InputDensity(0.5)


def test_a_study_of_an_earlier_release_goes_on_as_its_trainings_did(store, caplog):
    create(store, check(spec()), api.Evaluator.open(spec(), Path()).data_digest)
    search = open_search(store, "kept")
    with caplog.at_level(logging.WARNING):
        evaluator = open_evaluator(search, Path())
    assert evaluator.density == InputDensity(1.0, counts_bits=False)
    assert "study kept was begun by an earlier release: 100 % of the input's bits" in caplog.text
    assert recorded(open_search(store, "kept")) == evaluator.density  # for all that cost it
    prepared = api.prepare(spec(), lambda: store, Path())[1]
    assert prepared.density == evaluator.density


@pytest.mark.parametrize("kept", ["0.5", {"share": 2.0}, {**InputDensity().to_json(), "share": -1}])
def test_a_damaged_density_is_refused(store, kept):
    search, _ = api.prepare(spec(), lambda: store, Path())
    search.study.set_user_attr(DENSITY, kept)
    with pytest.raises(StudyError, match=r"study 'kept' in .*: input density"):
        open_evaluator(open_search(store, "kept"), Path())


def test_sampler_and_trainings_get_the_density(store, monkeypatch):
    search, evaluator = api.prepare(spec(), lambda: store, Path())
    made = []
    monkeypatch.setattr(claiming, "sampler_of", lambda *words: made.append(words))
    Worker(search, evaluator, print)
    assert made == [(search.spec, evaluator.density)]
    jobs = []

    class Client:
        def run(self, job, *rest):
            jobs.append(job.message())

    candidate = evaluator.screen(search.spec.build_space().draw(First()), 1)
    train_in_children(Client())(evaluator, candidate, Path("w"), lambda: None)
    assert InputDensity.from_json(jobs[0]["density"]) == evaluator.density


class First:
    """A trial that draws the last of all choices."""

    def suggest_categorical(self, name, choices):
        return choices[-1]

    def suggest_int(self, name, low, high, *, step=1):
        return high


def test_the_cheapest_is_chosen_at_the_density_of_the_data(store):
    """Before the data are read no budget on energy is called impossible that may be kept."""
    evaluator = api.Evaluator.open(spec(), Path())
    a = spec().build_space().draw(First())
    costs = evaluator.screen(a, 1).hardware_metrics["energy_uJ"]
    budget = [{"metric": "energy_uJ", "at_most": costs}]
    checked = check(spec(["cheapest"], constraints=budget))
    assert checked.initial.awaits_data
    with pytest.raises(SpecError, match="none of 5000 candidates keeps the budgets"):
        create(store, checked, "digest", InputDensity(1.0))
    assert not store.studies.has("kept")
    create(store, checked, "digest", evaluator.density)
    assert store.studies.initial_trials(open_search(store, "kept").id)
