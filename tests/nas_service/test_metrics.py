"""Evaluations: stored and read back, refused when damaged, complete with finite numbers only."""

import json
import math
from dataclasses import replace

import json_trees
import pytest

from hw_models import Layer, Workload, load_profile
from nas_service.errors import SpecError
from nas_service.metrics import METRICS, WORST_COUNT, Evaluation, measure, values_with_fallbacks
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell

A = Architecture((Cell(("skip",) * 6),), 4, 2, 16, 2, 8)
REPORT = load_profile("spikesim_rram").estimate(Workload((Layer("readout", "linear", 16, 10),), 2))
REJECTED = Evaluation(A, "rejected", REPORT, chance=0.1, seed=3, reason="over budget")
DIVERGED = replace(REJECTED, outcome="diverged", reason="loss nan", seconds=1.5)
TRAINED = Evaluation(
    A,
    "trained",
    REPORT,
    chance=0.1,
    seed=3,
    fidelity=6,
    accuracy=0.875,
    spike_rates={"stem": 1.0, "hidden": (0.25, 0.5)},
    on_chip=(0.75, 0.5),
    counted={"effective_acs": 120.5, "connection_sparsity": 0.25},
    bounds={"energy_uJ@0.9": 4.5},
    spike_rate=0.125,
    seconds=2.5,
    versions={"torch": "2"},
)
ALL = [REJECTED, DIVERGED, TRAINED]


@pytest.mark.parametrize("evaluation", ALL, ids=lambda e: e.outcome)
def test_json_round_trip(evaluation):
    again = Evaluation.from_json(json.loads(json.dumps(evaluation.to_json())))
    assert again == evaluation
    assert measure(again) == measure(evaluation)


@pytest.mark.parametrize("evaluation", ALL, ids=lambda e: e.outcome)
def test_values_are_finite_and_complete(evaluation):
    values = values_with_fallbacks(evaluation)
    assert set(values) == set(METRICS) | set(evaluation.bounds)
    assert all(math.isfinite(value) for value in values.values())


def test_unmeasured_metrics_have_a_pessimistic_value():
    """A rejected candidate guesses one class of ten and all its neurons fire."""
    assert "accuracy" not in measure(REJECTED)
    assert (
        values_with_fallbacks(REJECTED)["accuracy"],
        values_with_fallbacks(REJECTED)["spike_rate"],
    ) == (0.1, 1.0)
    assert (
        values_with_fallbacks(TRAINED)["accuracy"],
        values_with_fallbacks(TRAINED)["spike_rate"],
    ) == (0.875, 0.125)
    assert values_with_fallbacks(REJECTED)["parameters"] == REPORT.parameters


def test_a_value_that_is_not_finite_is_an_error():
    with pytest.raises(ValueError, match="accuracy"):
        values_with_fallbacks(replace(TRAINED, accuracy=math.nan))


def test_an_evaluation_of_an_earlier_version_has_no_counts():
    """Its other metrics are known, and nothing is taken for the missing ones."""
    old = json_trees.changed(TRAINED.to_json(), ("hardware", "operations"), ...)
    del old["counted"]
    known = measure(Evaluation.from_json(old))
    assert set(measure(TRAINED)) - set(known) == {
        *("dense_synaptic_operations", "dense_macs", "dense_acs", "footprint_B"),
        *("effective_acs", "connection_sparsity"),
    }
    assert values_with_fallbacks(Evaluation.from_json(old))["dense_acs"] == WORST_COUNT


def damaged(path, value):
    return json_trees.changed(TRAINED.to_json(), path, value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "damaged"),
        ([], "damaged"),
        ("text", "damaged"),
        ({}, "architecture"),
        (damaged(("architecture",), ...), "architecture"),
        (damaged(("architecture", "channels"), 0), "channels = 0"),
        (damaged(("architecture", "cells", 0, "01"), "skp"), "did you mean 'skip'"),
        (damaged(("hardware",), ...), "hardware"),
        (damaged(("hardware", "parameters"), -1), "-1 is not a whole number"),
        (damaged(("hardware", "energy_J"), None), "damaged"),
        (damaged(("outcome",), "finished"), "outcome 'finished'"),
        (damaged(("outcome",), ...), "outcome"),
        (damaged(("chance",), 1.5), "shares, 0..1"),
        (damaged(("accuracy",), -0.1), "shares, 0..1"),
        (damaged(("accuracy",), math.nan), "shares, 0..1"),
        (damaged(("accuracy",), "0.9"), "shares, 0..1"),
        (damaged(("accuracy",), None), "a trained candidate has an accuracy"),
        (damaged(("spike_rate",), None), "a trained candidate has an accuracy"),
        (damaged(("spike_rates", "stem"), 2.0), "shares, 0..1"),
        (damaged(("spike_rates",), [1.0]), "damaged"),
        (damaged(("counted", "connection_sparsity"), 1.5), "shares, 0..1"),
        (damaged(("counted", "effective_acs"), -1.0), "counted metrics are numbers >= 0"),
        (damaged(("counted", "effective_acs"), "many"), "counted metrics are numbers >= 0"),
        (damaged(("counted", "macs"), 1.0), "'macs' is none of"),
        (damaged(("hardware", "operations", "dense_acs"), "x"), "dense_acs = 'x'"),
        (damaged(("hardware", "operations", "acs"), 1.0), "operations: acs"),
        (damaged(("seeed",), 3), "seeed"),
    ],
)
def test_damaged_evaluations_are_refused(data, message):
    with pytest.raises(SpecError) as caught:
        Evaluation.from_json(data)
    assert message in str(caught.value)
