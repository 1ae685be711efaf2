"""Candidates before their training: the input at its density, spikes inside at the assumed rate."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nas_service.evaluation.census import census
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.screening import Budgets, profile_of
from nas_service.samplers.greybox_cells import CellProblem
from nas_service.spaces.batch import batch_of_numbers
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.study.assumed_rates import AssumedRates
from nas_service.study.loading import parse_spec

RATE = 0.1
TREE = {
    "name": "x",
    "space": {
        "operations": "light3", "channels": 4, "head_pool": 4, "hidden": 16,
        "time_steps": [2, 3], "weight_bits": 8,
    },
    "data": {"name": "digits"},
    "training": {"epochs": 1, "batch_size": 64},
    "hardware": {"assumed_rate": RATE},
    "objectives": [{"metric": "accuracy", "direction": "maximize"}],
}  # fmt: skip


def spec(at_most=None):
    constraints = [] if at_most is None else [{"metric": "energy_uJ", "at_most": at_most}]
    return parse_spec(json.dumps(TREE | {"constraints": constraints}), "x")


def candidates(space):
    return batch_of_numbers(space, np.arange(space.size - 12, space.size))


@pytest.fixture(scope="module")
def digits():
    return Evaluator.open(spec(), Path())


@pytest.mark.parametrize("density", [InputDensity(0.25), InputDensity(0.5, frames=2), ASSUMED])
def test_one_candidate_and_many_have_the_same_rates(density):
    """Recordings in three time steps have two thirds of the bits in each."""
    budgets = Budgets.of(spec(), density)
    batch = candidates(budgets.workloads.space)
    costed = budgets.costed(batch).metrics["energy_uJ"]
    chip = profile_of(budgets.spec)
    for n in range(len(batch)):
        workload = budgets.workloads.workload(batch.architecture(budgets.workloads.space, n))
        rates = AssumedRates.of(budgets.spec, density).of_workload(workload)
        stem, *inside = (x.spike_rate for x in rates.layers)
        by_hand = density.share * (density.frames / workload.time_steps if density.frames else 1)
        assert stem == pytest.approx(min(by_hand, 1.0))
        assert set(inside) == {RATE}
        assert chip.estimate(rates).metrics()["energy_uJ"] == pytest.approx(costed[n], rel=1e-12)


def test_digits_are_measured_when_they_are_read(digits):
    """By hand from their pixels, 0 to 16 in bytes."""
    pixels = digits.images.data.train.stock.pixels[digits.images.data.train.rows]
    bits = sum((pixels >> b & 1).mean() for b in range(8)) / 8
    assert digits.density.measured
    assert digits.density.share == pytest.approx(bits)
    assert 0.1 < bits < 0.15


def test_screening_names_what_it_assumed(digits):
    a = candidates(digits.workloads.space).architecture(digits.workloads.space, 0)
    (inside,) = digits.screen(a, 1).hardware.assumed
    assert (inside.figure, inside.value) == ("spike_rate", RATE)
    assert "stem" not in inside.layers
    unknown = replace(digits, density=ASSUMED).screen(a, 1)
    assert [(x.value, x.layers[0]) for x in unknown.hardware.assumed] == [
        (1.0, "stem"),
        (RATE, inside.layers[0]),
    ]
    assert "stem (--data says it)" in unknown.hardware.assumed[0].text


def test_training_counts_the_input_as_the_screening_did(digits):
    """The stem costs the same before and after, so only spikes inside can differ."""
    a = candidates(digits.workloads.space).architecture(digits.workloads.space, 0)
    screened = digits.screen(a, 1)
    trained = digits.train(screened)
    assert trained.spike_rates["stem"] == digits.density.share
    assert trained.hardware.assumed == ()
    stem = [x.hardware.energy_J.values[0].sum() for x in (screened, trained)]
    assert stem[0] == pytest.approx(stem[1], rel=1e-12)


def test_studies_of_earlier_releases_count_as_their_trainings_did(digits):
    """Their trainings took every pixel that is not 0 after the scaling as all of its bits."""
    old = replace(digits, density=digits.images.density(counts_bits=False))
    a = candidates(digits.workloads.space).architecture(digits.workloads.space, 0)
    trained = old.train(screened := old.screen(a, 1))
    assert trained.spike_rates["stem"] == 1.0
    stem = [x.hardware.energy_J.values[0].sum() for x in (screened, trained)]
    assert stem[0] == pytest.approx(stem[1], rel=1e-12)


def test_the_sampler_and_the_census_cost_as_the_screening_does(digits):
    space = digits.workloads.space
    batch = candidates(space)
    architectures = [batch.architecture(space, n) for n in range(len(batch))]
    screened = [digits.screen(a, 1).hardware_metrics["energy_uJ"] for a in architectures]
    bounded = spec(at_most=float(np.median(screened)))
    problem = CellProblem(bounded, digits.density)
    costs = problem.costs(problem.columns([space.parameters(a) for a in architectures]))
    assert costs["energy_uJ"] == pytest.approx(screened, rel=1e-12)
    known, unknown = (census(bounded, 300, density=d) for d in (digits.density, ASSUMED))
    assert unknown.feasible < known.feasible < 1


def test_a_known_input_rejects_what_would_be_over_budget_after_its_training(digits):
    """At the assumed rate the input seemed cheap, so that such a candidate was trained."""
    a = candidates(digits.workloads.space).architecture(digits.workloads.space, 0)
    costs = {
        share: replace(digits, density=InputDensity(share)).screen(a, 1).hardware_metrics
        for share in (RATE, 1.0)
    }
    budget = (costs[RATE]["energy_uJ"] + costs[1.0]["energy_uJ"]) / 2
    bounded = Evaluator.open(spec(at_most=budget), Path(), density=InputDensity(1.0))
    assert bounded.screen(a, 1).rejected
    assert not replace(bounded, density=InputDensity(RATE)).screen(a, 1).rejected
