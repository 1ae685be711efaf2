"""Screening on the digits: why a candidate is rejected before it is trained, or is not."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from nas_service.errors import SpecError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.training_memory import training_memory_B
from nas_service.metrics import Evaluation, measure
from nas_service.searches.optuna_trial import Measured
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.study.loading import parse_spec

SKIP = Cell(("skip",) * 6)
DEAD = Cell(("skip", "skip", "zeroize", "zeroize", "zeroize", "zeroize"))
SMALL = Architecture((SKIP, SKIP), 4, 4, 16, 2, 8)
# stem 36 + 8, reduction 8 + 288 + 16, hidden 16 + 8 * 16, readout 160 + 10
PARAMETERS = 44 + 312 + 144 + 170


def evaluator_of(constraints=(), **training):
    tree = {
        "name": "x",
        "space": {"channels": 4, "head_pool": 4, "hidden": 16, "time_steps": 2},
        "data": {"name": "digits"},
        "training": {"epochs": 1, "batch_size": 64, **training},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        "constraints": list(constraints),
    }
    return Evaluator.open(parse_spec(json.dumps(tree), "x"), Path())


def test_a_feasible_candidate_has_no_reason():
    screened = evaluator_of([{"metric": "parameters", "at_most": PARAMETERS}]).screen(SMALL, seed=5)
    assert (screened.outcome, screened.reason, screened.seed, screened.chance) == (
        "screened",
        "",
        5,
        0.1,
    )
    assert screened.hardware.parameters == PARAMETERS
    assert (screened.accuracy, screened.fidelity, screened.spike_rates) == (None, 0, {})
    assert "torch" in screened.versions


def test_no_path():
    for cells in ((SKIP, DEAD), (DEAD, SKIP)):
        candidate = Architecture(cells, 4, 4, 16, 2, 8)
        reason = evaluator_of().screen(candidate, seed=0).reason
        assert reason.startswith("no path from input to output; fits with cell")


def test_over_budget_says_by_how_much():
    """670 parameters of 335 are 100 % too many."""
    budgets = [{"metric": "parameters", "at_most": PARAMETERS / 2}]
    screened = evaluator_of(budgets).screen(SMALL, seed=0)
    assert screened.reason.partition(";")[0] == "parameters 100 % over budget"
    assert Measured.of(evaluator_of(budgets).spec, screened).violations == {"parameters": 1.0}


def test_every_broken_budget_is_named():
    budgets = [
        {"metric": "parameters", "at_most": 1},
        {"metric": "area_mm2", "at_most": 1000},
        {"metric": "latency_ms", "at_most": 1e-6},
    ]
    reason = evaluator_of(budgets).screen(SMALL, seed=0).reason.partition(";")[0]
    assert [part.split()[0] for part in reason.split(", ")] == ["parameters", "latency_ms"]


def test_unmeasured_budgets_reject_no_candidate():
    budgets = [{"metric": "accuracy", "at_least": 0.99}, {"metric": "spike_rate", "at_most": 0.01}]
    assert evaluator_of(budgets).screen(SMALL, seed=0).reason == ""


def test_memory():
    """By hand: 10 numbers a parameter; 4 of 256 + 512 + 16 + 10 outputs; 4 * 8 * 8 and 8 * 4 * 4
    neurons after the cells, each 6 times and twice for each of 6 skips; 2 steps of 160 images.
    """
    small = evaluator_of(memory_GiB=1e-4)
    reason = small.screen(SMALL, seed=0).reason
    assert reason.startswith("training needs about 0.013 GiB of 0.0001")
    need = training_memory_B(SMALL, small.workload(SMALL), 64)
    maps = 4 * 8 * 8 + 8 * 4 * 4
    assert need == 4 * (10 * PARAMETERS + (5 * 794 + maps * (6 + 12)) * 2 * 160)
    assert training_memory_B(SMALL, small.workload(SMALL), 320) > 1.9 * need
    assert evaluator_of(memory_GiB=need / 2**30).screen(SMALL, seed=0).reason == ""


def test_memory_of_maximum_poolings_and_backward_edges():
    """2 cells of 6 edges: 4 copies each instead of 2, or 8 where an edge leads back."""

    def need(*operations):
        a = replace(SMALL, cells=(Cell(operations),) * 2)
        return training_memory_B(a, evaluator_of().workload(a), 64)

    maps = 4 * 2 * 160 * (4 * 8 * 8 + 8 * 4 * 4)
    skips, skip = need(*["skip"] * 6), ["skip"] * 5
    assert need(*["maxpool3x3"] * 6) - skips == maps * 6 * 2
    assert need("skip", "skip", "skip", "back:skip", "skip", "skip") - skips == maps * 6 * 6
    assert need("maxpool3x3", *skip) - skips == maps * 2


def test_a_candidate_too_large_is_refused_before_it_is_made():
    """A petabyte: nothing of it is ever allocated."""
    wide = replace(SMALL, cells=(Cell(("conv3x3",) * 6),) * 2, channels=2**14)
    large = evaluator_of()
    assert training_memory_B(wide, large.workload(wide), 64) > 2**36
    assert large.screen(wide, seed=0).reason.startswith("training needs about ")


def test_too_little_memory_on_the_machine_is_logged(caplog):
    evaluator_of(memory_GiB=1e9)
    (message,) = caplog.messages
    assert message.startswith("training.memory_GiB = 1e+09, but this machine has ")
    caplog.clear()
    evaluator_of(memory_GiB=0.01)
    assert caplog.messages == []


PEAK = """
import os, resource, sys, torch
sys.path.insert(0, sys.argv[1])
torch.set_num_threads(1)
from test_screener import BIG, SMALL, evaluator_of, training_memory_B
from nas_service.data.batches import ImageTensors
from nas_service.snn.trace import trace
from nas_service.snn.training import Recipe, accuracy, fit

def peak_B():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

def train(a, count):
    network = evaluator.network(a)
    images = ImageTensors(torch.rand(count, 1, 8, 8), torch.arange(count) % 10)
    list(fit(network, images, Recipe(1, 64, 0.01, 0.0), 0))
    accuracy(network, images)

evaluator = evaluator_of()
train(SMALL, 64)
for name in sys.argv[2:]:
    a = BIG[name]
    bound = training_memory_B(a, trace(a, evaluator.images.source.task), 64)
    if os.fork() == 0:
        train(SMALL, 64)  # touches the pages of all libraries
        before = peak_B()
        train(a, 128)
        print(name, peak_B() - before, bound, flush=True)
        os._exit(0)
    os.wait()
"""


def _big(*operations, channels=4, hidden=16, time_steps=2):
    return Architecture((Cell(operations),) * 2, channels, 4, hidden, time_steps, 8)


BIG = {
    "wide": _big("conv3x3", "zeroize", *["skip"] * 4, channels=48),
    "deep": _big(*["conv3x3"] * 6, channels=16),
    "long": _big("conv1x1", "skip", "zeroize", "zeroize", "skip", "skip", time_steps=24),
    "linear": _big(*["skip"] * 6, hidden=16384),
    "maxima": _big(*["maxpool3x3"] * 6, channels=24, time_steps=4),
    "means": _big(*["avgpool3x3"] * 6, channels=24, time_steps=4),
    "separable": _big(*["sepconv3x3"] * 6, channels=16),
    "backward": _big("conv3x3", "back:conv3x3", *["conv3x3"] * 4, channels=8, time_steps=6),
}

SOME = ("wide", "linear", "maxima", "backward")  # a bound for each part of a network


@pytest.mark.process
@pytest.mark.skipif(sys.platform != "linux", reason="a fork's peak of memory is Linux's")
@pytest.mark.parametrize(
    "names",
    [SOME, pytest.param(tuple(BIG), marks=pytest.mark.nightly)],
    ids=["some", "all"],
)
def test_the_bound_on_memory_holds(names):
    """Peaks of resident memory of real trainings, each in a separate process."""
    words = [sys.executable, "-c", PEAK, str(Path(__file__).parent), *names]
    ran = subprocess.run(words, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    peaks = {name: (float(used), float(bound)) for name, used, bound in
             map(str.split, ran.stdout.splitlines())}  # fmt: skip
    assert tuple(peaks) == names, ran.stderr
    assert {name: pair for name, pair in peaks.items() if pair[0] > pair[1]} == {}
    assert all(used > 0.1 * bound for used, bound in peaks.values())  # it was the training


def test_no_path_comes_before_budgets():
    candidate = Architecture((DEAD, DEAD), 4, 4, 16, 2, 8)
    screened = evaluator_of([{"metric": "parameters", "at_most": 1}], memory_GiB=1e-9).screen(
        candidate, 0
    )
    assert screened.reason.startswith("no path from input to output;")


def test_unknown_data_set_names_the_known():
    tree = json.loads(evaluator_of().spec.model_dump_json())
    tree["data"]["name"] = "digit"
    with pytest.raises(SpecError, match="did you mean 'digits'"):
        Evaluator.open(parse_spec(json.dumps(tree), "x"), Path())


def hardware(constraints=(), **changes):
    tree = json.loads(evaluator_of(constraints).spec.model_dump_json())
    tree["hardware"] |= changes
    return Evaluator.open(parse_spec(json.dumps(tree), "x"), Path())


def test_the_drawn_chip_is_the_one_that_is_costed():
    chips = hardware(search_space={"crossbar_size": [32, 128]})
    drawn = [replace(SMALL, chip=(("crossbar_size", size),)) for size in (32, 128)]
    small, large = (chips.screen(a, 1).hardware for a in drawn)
    assert small.crossbars > large.crossbars
    assert len({a.digest for a in (*drawn, SMALL)}) == 3


def test_an_assumed_rate_rejects_earlier():
    at_rest = hardware().screen(SMALL, 1).hardware.energy_J.total * 1e6
    budget = [{"metric": "energy_uJ", "at_most": 1.2 * at_rest}]
    assert hardware(budget).screen(SMALL, 1).reason == ""
    assert "energy_uJ" in hardware(budget, assumed_rate=0.2).screen(SMALL, 1).reason


def test_a_confidence_asks_for_a_margin():
    """The estimate is within the budget, but fewer than nine in ten of the possible chips are."""
    estimate = hardware().screen(SMALL, 1).hardware.metrics()["energy_uJ"]
    loose = {"metric": "energy_uJ", "at_most": 1.05 * estimate}
    assert hardware([loose]).screen(SMALL, 1).reason == ""
    sure = hardware([{**loose, "confidence": 0.9}]).screen(SMALL, 1)
    assert "energy_uJ@0.9" in sure.reason
    assert sure.bounds["energy_uJ@0.9"] > 1.05 * estimate
    assert Evaluation.from_json(json.loads(json.dumps(sure.to_json()))).bounds == sure.bounds
    assert (
        Measured.of(hardware([{**loose, "confidence": 0.9}]).spec, sure).violations["energy_uJ"] > 0
    )


def test_a_trained_candidate_is_scored_on_simulated_chips():
    few = hardware(monte_carlo_chips=3)
    trained = few.train(few.screen(SMALL, 1))
    assert len(trained.on_chip) == 3
    assert all(0 <= x <= 1 for x in trained.on_chip)
    metrics = measure(trained)
    assert metrics["accuracy_on_chip"] == pytest.approx(sum(trained.on_chip) / 3)
    assert metrics["accuracy_on_chip_spread"] >= 0
    assert len(trained.spike_rates["readout"]) == SMALL.time_steps
