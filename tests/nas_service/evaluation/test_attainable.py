"""The best values of a space for each budget, against all of its candidates."""

import json

import numpy as np
import pytest

from nas_service.evaluation.attainable import exact_attainable, prospects
from nas_service.evaluation.remaining import enumerated
from nas_service.evaluation.screening import Budgets
from nas_service.metrics import METRICS
from nas_service.spaces.batch import batch_of_codes, batch_of_numbers
from nas_service.study.loading import parse_spec

COUNTED = [name for name, metric in METRICS.items() if metric.counts_operations]
CONVOLUTIONS = ["zeroize", "conv1x1", "conv3x3"]


def spec_of(constraints=(), hardware=(), training=(), **space):
    sizes = {"cells": 1, "operations": CONVOLUTIONS, "channels": [4, 6], "head_pool": [1, 2],
             "hidden": [8, 16], "time_steps": [2, 3], "weight_bits": [4, 8]}  # fmt: skip
    tree = {
        "name": "x",
        "space": sizes | space,
        "data": {"name": "digits"},
        "training": {"epochs": 1, **dict(training)},
        "hardware": {"assumed_rate": 0.1, **dict(hardware)},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        "constraints": list(constraints),
    }
    return parse_spec(json.dumps(tree), "x")


def budgets_on(metrics, **sides):
    return [{"metric": m, key: limit} for m in metrics for key, limit in sides.items()]


SPACES = {
    "convolutions": {"weight_bits": 4},
    "skips": {
        "operations": ["zeroize", "skip", "conv3x3", "maxpool3x3"],
        "head_pool": 2,
        "hidden": 8,
        "time_steps": 2,
    },
    "no empty edge": {"operations": ["skip", "sepconv3x3", "conv1x1"]},
    "weights alone": {"operations": ["conv1x1", "conv3x3"], "channels": [[3, 5]]},
    "backward": {"operations": ["zeroize", "conv3x3"], "mode": "backward", "head_pool": 2},
    "bits": {"operations": ["zeroize", "conv3x3"], "bits_of": "part", "time_steps": 2},
    "chips": {"operations": ["zeroize", "conv3x3"], "head_pool": 2},
}
CHIPS = {"chips": {"search_space": {"crossbar_size": [32, 64], "adc_bits": [4, 5]}}}


@pytest.mark.parametrize("side", [{"at_most": 1e9}, {"at_least": 1e-9}], ids=["least", "most"])
@pytest.mark.parametrize("name", SPACES)
def test_exact_values_are_those_of_all_candidates(name, side):
    spec = spec_of(budgets_on(COUNTED, **side), CHIPS.get(name, ()), **SPACES[name])
    budgets = Budgets.of(spec)
    space = budgets.workloads.space
    costed = budgets.costed(batch_of_numbers(space, np.arange(space.size)))
    known = exact_attainable(budgets)
    assert [x.constraint for x in known] == list(spec.constraints)
    for x in known:
        values = costed.metrics[x.constraint.metric][costed.connected]
        best = values.min() if x.constraint.at_most is not None else values.max()
        assert x.value == pytest.approx(best, rel=1e-12), x.constraint


def test_a_budget_below_the_least_cannot_be_kept():
    spec = spec_of([{"metric": "parameters", "at_most": 100}, {"metric": "area_mm2", "at_most": 9}])
    parameters, area = exact_attainable(Budgets.of(spec))
    assert str(parameters) == f"least {parameters.value:.0f}, cannot be kept"
    assert (parameters.is_impossible, area.is_kept) == (True, True)
    assert parameters.to_json()["kept"] is False


def test_other_budgets_are_left_to_a_census():
    """Wiring, confidences, and what only a training measures; a space without a smallest cell."""
    limits = [*budgets_on(["latency_ms", "energy_uJ", "accuracy_on_chip_spread"], at_most=0.9),
              {"metric": "area_mm2", "at_most": 5, "confidence": 0.9}]  # fmt: skip
    assert exact_attainable(Budgets.of(spec_of(limits, {"monte_carlo_chips": 2}))) == ()
    most = budgets_on(["parameters"], at_most=100)
    odd = spec_of(most, operations=["conv1x1", "conv3x3"], mode="backward")
    assert exact_attainable(Budgets.of(odd)) == ()


def test_a_small_space_is_costed_whole():
    limits = [{"metric": "latency_ms", "at_most": 0.001}, {"metric": "energy_uJ", "at_most": 9}]
    spec = spec_of(limits, head_pool=2, weight_bits=8)
    known, budgets = prospects(spec), Budgets.of(spec)
    space = budgets.workloads.space
    costed = budgets.costed(batch_of_numbers(space, np.arange(space.size)))
    for x in known.attainable:
        least = costed.metrics[x.constraint.metric][costed.connected].min()
        assert (x.value, x.is_exact) == (pytest.approx(least), True)
    assert known.is_impossible
    assert known.together == f"together kept by none of all {space.size:,} candidates"


def test_a_sample_is_named_and_improved_by_a_descent():
    """The least seen of a sample of 20 is that of the whole space, or close to it."""
    spec = spec_of([{"metric": "energy_uJ", "at_most": 9}])
    part, whole = prospects(spec, limit=20), prospects(spec)
    (least,), (exact,) = part.attainable, whole.attainable
    assert str(least).startswith("least seen ")
    assert exact.value <= least.value <= 1.05 * exact.value
    assert not part.is_impossible
    assert "of 20 sampled candidates" in part.together


def test_a_kept_set_that_a_sample_misses_is_seen_near_it():
    spec = spec_of([{"metric": "energy_uJ", "at_most": 9}])
    least = prospects(spec).attainable[0].value
    rare = spec_of([{"metric": "energy_uJ", "at_most": 1.001 * least}])
    known = prospects(rare, limit=20)
    assert known.census.feasible == 0
    assert (
        known.together == "together kept by none of 20 sampled candidates, but by others near them"
    )


def test_two_budgets_that_exclude_each_other_are_no_more_impossible_than_known():
    """Each is kept by some; together by none: exact for a whole space only."""
    limits = [{"metric": "parameters", "at_most": 700}, {"metric": "memory_KiB", "at_least": 5}]
    known = prospects(spec_of(limits))
    assert all(x.is_kept for x in known.attainable)
    assert known.is_impossible
    assert not prospects(spec_of(limits), limit=10).is_impossible


# --- what a search can exhaust


def test_the_candidates_within_budgets_of_a_small_space():
    spec = spec_of([{"metric": "parameters", "at_most": 1000}],
                   operations=["zeroize", "conv3x3"], head_pool=2, time_steps=2)  # fmt: skip
    known = enumerated(spec)
    budgets = Budgets.of(spec)
    everything = {a.digest: a for a in budgets.workloads.space}
    kept = {d for d, a in everything.items()
            if a.connected and budgets.workloads.workload(a).parameters <= 1000}  # fmt: skip
    assert known.everything == everything.keys()
    assert known.within == kept
    assert 0 < len(kept) < len(everything)
    assert known.is_spent(kept)
    assert not known.is_exhausted(kept)
    assert not known.is_spent(set(list(kept)[1:]))


def test_a_space_that_is_costed_whole_needs_no_counted_budget():
    """Of 5832 genotypes, by their energy; not with a confidence, whose draws are slow."""
    space = {"head_pool": 2, "time_steps": 2}
    limit = {"metric": "energy_uJ", "at_most": 0.02}
    least = prospects(spec_of([limit], **space)).attainable[0].value
    few = spec_of([limit | {"at_most": 1.01 * least}], **space)
    known, budgets = enumerated(few), Budgets.of(few)
    batch = batch_of_numbers(budgets.workloads.space, np.arange(budgets.workloads.space.size))
    kept = np.flatnonzero(budgets.excess(budgets.costed(batch)) <= 0)
    digests = {batch.architecture(budgets.workloads.space, n).digest for n in kept.tolist()}
    assert (known.everything, known.within) == (frozenset(), digests)
    drawn = spec_of([limit | {"confidence": 0.9}], **space)
    assert enumerated(drawn).within == frozenset()


def test_the_few_candidates_within_budgets_of_a_large_space():
    """Of 729^2 cells with three numbers of bits: a 1x1 convolution in each cell, small."""
    space = {"cells": 2, "weight_bits": [4, 6, 8], "head_pool": 1}
    small = spec_of(budgets_on(["parameters"], at_most=1e9), **space)
    least = exact_attainable(Budgets.of(small))[0].value
    spec = spec_of(budgets_on(["parameters"], at_most=least), **space)
    known = enumerated(spec)
    budgets = Budgets.of(spec)
    assert (known.everything, len(known.within)) == (frozenset(), 2 * 3)  # time steps, bits
    codes = np.zeros((1, len(budgets.workloads.space.choices)), dtype=np.intp)
    codes[0, [2, 8]] = 1  # a 1x1 convolution from input to output, in both cells
    a = batch_of_codes(budgets.workloads.space, codes).architecture(budgets.workloads.space, 0)
    assert a.digest in known.within


@pytest.mark.parametrize("limits", [[], budgets_on(["parameters"], at_most=4000),
                                    budgets_on(["parameters"], at_most=1)])  # fmt: skip
def test_a_large_space_with_many_or_none_within_is_not_enumerated(limits):
    known = enumerated(spec_of(limits, cells=2))
    assert not known.is_spent(set())
    assert not known.is_exhausted(set())
