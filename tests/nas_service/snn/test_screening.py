"""Screening on the digits: why a candidate is rejected before it is trained, or is not."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from nas_service.errors import SpecError
from nas_service.evaluation import Bench, training_memory_B, violations
from nas_service.metrics import Evaluation, measure
from nas_service.spaces.architecture import Architecture, Cell
from nas_service.study import parse_spec

SKIP = Cell(("skip",) * 6)
DEAD = Cell(("skip", "skip", "zeroize", "zeroize", "zeroize", "zeroize"))
SMALL = Architecture((SKIP, SKIP), 4, 4, 16, 2, 8)
# stem 36 + 8, reduction 8 + 288 + 16, hidden 16 + 8 * 16, readout 160 + 10
PARAMETERS = 44 + 312 + 144 + 170


def bench(constraints=(), **training):
    tree = {
        "name": "x",
        "space": {"channels": 4, "head_pool": 4, "hidden": 16, "time_steps": 2},
        "data": {"name": "digits"},
        "training": {"epochs": 1, "batch_size": 64, **training},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        "constraints": list(constraints),
    }
    return Bench.open(parse_spec(json.dumps(tree), "x"), Path())


def test_a_sound_candidate_has_no_reason():
    found = bench([{"metric": "parameters", "at_most": PARAMETERS}]).screen(SMALL, seed=5)
    assert (found.outcome, found.reason, found.seed, found.chance) == ("rejected", "", 5, 0.1)
    assert found.hardware.parameters == PARAMETERS
    assert (found.accuracy, found.fidelity, found.spike_rates) == (None, 0, {})
    assert "torch" in found.versions


def test_no_path():
    for cells in ((SKIP, DEAD), (DEAD, SKIP)):
        candidate = Architecture(cells, 4, 4, 16, 2, 8)
        assert bench().screen(candidate, seed=0).reason == "no path from input to output"


def test_over_budget_says_by_how_much():
    """670 parameters of 335 are 100 % too many."""
    budgets = [{"metric": "parameters", "at_most": PARAMETERS / 2}]
    found = bench(budgets).screen(SMALL, seed=0)
    assert found.reason == "parameters 100 % over budget"
    assert violations(bench(budgets).spec, found) == {"parameters": 1.0}


def test_every_broken_budget_is_told():
    budgets = [
        {"metric": "parameters", "at_most": 1},
        {"metric": "area_mm2", "at_most": 1000},
        {"metric": "latency_ms", "at_most": 1e-6},
    ]
    reason = bench(budgets).screen(SMALL, seed=0).reason
    assert [part.split()[0] for part in reason.split(", ")] == ["parameters", "latency_ms"]


def test_unmeasured_budgets_reject_nobody():
    budgets = [{"metric": "accuracy", "at_least": 0.99}, {"metric": "spike_rate", "at_most": 0.01}]
    assert bench(budgets).screen(SMALL, seed=0).reason == ""


def test_memory():
    """Four numbers a parameter, six copies of 256 + 512 + 16 + 10 outputs, 2 steps of 64 images."""
    small = bench(memory_GiB=1e-4)
    assert small.screen(SMALL, seed=0).reason == "training needs about 0.0 GiB of 0.0001"
    need = training_memory_B(small.workload(SMALL), 64)
    assert need == 4 * (4 * PARAMETERS + 6 * 794 * 2 * 64)
    assert bench(memory_GiB=need / 2**30).screen(SMALL, seed=0).reason == ""


def test_no_path_comes_before_budgets():
    candidate = Architecture((DEAD, DEAD), 4, 4, 16, 2, 8)
    found = bench([{"metric": "parameters", "at_most": 1}], memory_GiB=1e-9).screen(candidate, 0)
    assert found.reason == "no path from input to output"


def test_unknown_data_set_names_the_known():
    tree = json.loads(bench().spec.model_dump_json())
    tree["data"]["name"] = "digit"
    with pytest.raises(SpecError, match="did you mean 'digits'"):
        Bench.open(parse_spec(json.dumps(tree), "x"), Path())


def hardware(constraints=(), **changes):
    tree = json.loads(bench(constraints).spec.model_dump_json())
    tree["hardware"] |= changes
    return Bench.open(parse_spec(json.dumps(tree), "x"), Path())


def test_the_drawn_chip_is_the_one_that_is_costed():
    chips = hardware(space={"crossbar_size": [32, 128]})
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
    """The estimate keeps the budget, but not nine in ten of the chips that it could be."""
    estimate = hardware().screen(SMALL, 1).hardware.metrics()["energy_uJ"]
    loose = {"metric": "energy_uJ", "at_most": 1.05 * estimate}
    assert hardware([loose]).screen(SMALL, 1).reason == ""
    sure = hardware([{**loose, "confidence": 0.9}]).screen(SMALL, 1)
    assert "energy_uJ@0.9" in sure.reason
    assert sure.bounds["energy_uJ@0.9"] > 1.05 * estimate
    assert Evaluation.from_json(json.loads(json.dumps(sure.to_json()))).bounds == sure.bounds
    assert violations(hardware([{**loose, "confidence": 0.9}]).spec, sure)["energy_uJ"] > 0


def test_a_trained_candidate_is_tried_on_chips():
    few = hardware(chips=3)
    trained = few.train(few.screen(SMALL, 1))
    assert len(trained.on_chip) == 3
    assert all(0 <= x <= 1 for x in trained.on_chip)
    told = measure(trained)
    assert told["accuracy_on_chip"] == pytest.approx(sum(trained.on_chip) / 3)
    assert told["accuracy_on_chip_spread"] >= 0
    assert len(trained.spike_rates["readout"]) == SMALL.time_steps
