"""Counts of what keeps budgets, against every candidate; and the two facts that they rest on."""

import json
from pathlib import Path

import numpy as np
import pytest

from nas_service.evaluation.census import census
from nas_service.evaluation.feasible_set import Classes, counted
from nas_service.evaluation.screening import Budgets
from nas_service.metrics import METRICS
from nas_service.spaces.batch import batch_of_codes, batch_of_numbers, sample_batch
from nas_service.study.loading import parse_spec

STUDIES = Path(__file__).parents[3] / "studies"
OPERATIONS = ["zeroize", "skip", "conv1x1", "conv3x3", "sepconv3x3", "avgpool3x3", "maxpool3x3"]
COUNTED = tuple(name for name, metric in METRICS.items() if metric.counts_operations)
GROWING = (*COUNTED, "latency_ms", "energy_uJ", "energy_dense_uJ", "power_mW", "energy_delay_nJs")


def spec_of(constraints=(), operations=OPERATIONS, profile="corrected", settings=(), **space):
    sizes = {"channels": [4, 8], "head_pool": 2, "hidden": [16, 32], "time_steps": [2, 3],
             "weight_bits": [4, 8]}  # fmt: skip
    tree = {
        "name": "x",
        "space": {"operations": operations, **sizes, **space},
        "data": {"name": "digits"},
        "training": {"epochs": 1},
        "hardware": {"profile": profile, "overrides": dict(settings), "assumed_rate": 0.1},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        "constraints": list(constraints),
    }
    return parse_spec(json.dumps(tree), "x")


CHIPS = {
    "corrected": {},
    "script": {"profile": "spikesim_rram"},
    "steps": {"settings": {"order": "time_first"}},
    "split": {"settings": {"mapping": "kernel_split", "tile_contention": "serialised"}},
    "leaks": {"settings": {"leakage": 1.0}},
}


def at_most(share, metrics=("parameters",), **space):
    """Budgets that this share of the connected candidates keeps, each of them."""
    budgets = Budgets.of(spec_of(**space))
    drawn = sample_batch(budgets.workloads.space, 3000, 0)
    costed = budgets.costed(drawn)
    known = {m: costed.metrics[m][costed.connected] for m in metrics}
    return [{"metric": m, "at_most": 1.000001 * np.quantile(x, share)} for m, x in known.items()]


def drawn_codes(space, count, seed, empty=0.4):
    """Candidates with many empty edges, so that edges become dead and live."""
    rng = np.random.default_rng(seed)
    counts = [len(v) for v in space.choices.values()]
    rows = rng.integers(counts, size=(count, len(counts)))
    edges = 6 * space.drawn_cells
    rows[:, :edges] *= rng.random((count, edges)) > empty
    return rows, rng


@pytest.mark.parametrize("mode", ["forward", "backward"])
@pytest.mark.parametrize("chip", CHIPS)
def test_no_cost_falls_when_an_empty_edge_gets_an_operation(chip, mode):
    budgets = Budgets.of(spec_of(mode=mode, **CHIPS[chip]))
    space = budgets.workloads.space
    below, rng = drawn_codes(space, 600, seed=1)
    at = np.arange(len(below)), rng.integers(12, size=len(below))
    below[at] = space.states.index("zeroize")
    above = below.copy()
    above[at] = rng.integers(1, len(space.states), size=len(below))
    less, more = (budgets.costed(batch_of_codes(space, rows)) for rows in (below, above))
    names = [*COUNTED, "latency_ms", "energy_uJ", "energy_dense_uJ"]
    changed = [(more.metrics[n] > less.metrics[n] * (1 + 1e-12)).mean() for n in names]
    whole = {n: less.connected | (n in COUNTED) for n in names}  # else nothing is read
    fallen = [(more.metrics[n] < less.metrics[n] * (1 - 1e-12))[whole[n]].any() for n in names]
    assert not any(fallen)
    assert min(x for n, x in zip(names, changed, strict=True) if n != "dense_macs") > 0.02
    assert (more.memory_GiB >= less.memory_GiB).all()


def test_a_backward_skip_may_lower_a_cost():
    """So only an empty edge is a bound: turned back, the edge leaves a path and others are dead."""
    budgets = Budgets.of(spec_of(mode="backward"))
    space = budgets.workloads.space
    cell = [space.states.index(s) for s in
            ("skip", "zeroize", "zeroize", "zeroize", "conv3x3", "zeroize")]  # fmt: skip
    rows = np.array([[*cell, *cell, *[0] * (len(space.choices) - 12)]] * 2)
    rows[1, 0] = space.states.index("back:conv3x3")
    parameters = budgets.costed(batch_of_codes(space, rows)).metrics["parameters"]
    assert parameters[1] < parameters[0]


@pytest.mark.parametrize("mode", ["forward", "shared"])
@pytest.mark.parametrize("chip", CHIPS)
def test_cells_of_a_class_cost_alike(chip, mode):
    """Up to the rounding of sums in another order."""
    spec = spec_of(operations=OPERATIONS[:5], shared=mode == "shared", **CHIPS[chip])
    budgets = Budgets.of(spec)
    space = budgets.workloads.space
    classes, (rows, rng) = Classes.of(budgets.workloads), drawn_codes(space, 300, seed=2)
    digits = len(space.states) ** np.arange(6)[::-1]
    for _ in range(2):
        pairs = []
        for _ in range(2):
            for k in range(space.drawn_cells):
                which = np.random.default_rng(k).integers(len(classes.members), size=len(rows))
                cells = [classes.members[q][rng.integers(len(classes.members[q]))] for q in which]
                rows[:, 6 * k : 6 * k + 6] = np.array(cells)[:, None] // digits % len(space.states)
            pairs.append(budgets.costed(batch_of_codes(space, rows)).metrics)
        for name in COUNTED:
            assert pairs[0][name] == pytest.approx(pairs[1][name], rel=1e-12)
        if chip != "script":  # which knows no paths
            assert (pairs[0]["latency_ms"] != pairs[1]["latency_ms"]).any()


@pytest.mark.parametrize(
    ("cells", "operations"), [(1, OPERATIONS[:4]), (2, ["zeroize", "conv3x3"])]
)
@pytest.mark.parametrize("share", [0.02, 0.3])
def test_the_count_is_that_of_all_candidates(cells, operations, share):
    everything = Budgets.of(spec_of(operations=operations, cells=cells))
    space = everything.workloads.space
    all_of_it = batch_of_numbers(space, np.arange(space.size))
    costed = everything.costed(all_of_it)
    limits = at_most(share, ("parameters", "area_mm2"), operations=operations, cells=cells)
    spec = spec_of(limits, operations=operations, cells=cells)
    subset = counted(Budgets.of(spec))
    kept = costed.connected.copy()
    for c in spec.constraints:
        kept &= costed.metrics[c.metric] <= c.at_most
    assert subset.count == np.count_nonzero(kept)
    assert 0 < subset.count < 0.5 * space.size
    draws = subset.draw(20 * subset.count if subset.count < 300 else 3000, np.random.default_rng(0))
    numbers = np.ravel_multi_index(draws.T, [len(v) for v in space.choices.values()])
    assert kept[numbers].all()
    assert len(np.unique(numbers)) > 0.6 * min(subset.count, len(draws))


def test_all_draws_are_as_likely():
    space = {"operations": ["zeroize", "skip", "conv3x3"], "cells": 1, "hidden": 16,
             "time_steps": 2, "weight_bits": 8}  # fmt: skip
    spec = spec_of(at_most(0.2, **space), **space)
    subset = counted(Budgets.of(spec))
    rows = subset.draw(40 * subset.count, np.random.default_rng(0))
    _, times = np.unique(rows, axis=0, return_counts=True)
    assert len(times) == subset.count > 20
    assert 0.5 < times.var() / 40 < 2  # 1 for uniform draws


def test_only_the_given_sizes_are_drawn():
    """The smallest and the largest."""
    space = {"operations": OPERATIONS[:4], "cells": 1}
    spec = spec_of(at_most(0.9, **space), **space)
    budgets = Budgets.of(spec)
    counts = [len(v) for v in list(budgets.workloads.space.choices.values())[6:]]
    ends = [np.array([[0] * len(counts)]), np.array([[n - 1 for n in counts]])]
    small, large = (counted(budgets, end).count for end in ends)
    assert 0 < large < small <= 4**6
    assert small + large < counted(budgets).count


def test_other_metrics_and_backward_spaces_are_not_counted():
    assert counted(Budgets.of(spec_of([{"metric": "latency_ms", "at_most": 1}]))) is None
    most = [{"metric": "parameters", "at_most": 3000}]
    assert counted(Budgets.of(spec_of(most, operations=["skip", "conv3x3"]))) is None
    assert counted(Budgets.of(spec_of(most, mode="backward"))) is None


def test_a_census_of_a_large_space_counts_what_it_can():
    """Against the whole space, costed: draws among few survivors are worth more."""
    operations = ["zeroize", "conv1x1", "conv3x3"]
    space = {"operations": operations, "cells": 1}
    limits = at_most(0.1, **space) + at_most(0.05, ["energy_uJ"], **space)
    spec = spec_of(limits, **space)
    complete, part = census(spec, limit=10**6), census(spec, limit=400)
    assert (part.counted, part.candidates) == (("parameters",), 400)
    assert part.survivors == counted(Budgets.of(spec)).count
    assert 0.001 < complete.feasible < part.survivors / spec.build_space().size < 0.3
    assert part.feasible == pytest.approx(complete.feasible, rel=0.2)
    assert complete.survivors is None
    none = spec_of([{"metric": "parameters", "at_most": 1}], **space)
    assert census(none, limit=50).feasible == census(none, limit=50).survivors == 0
    assert census(none, limit=10).survivors is None  # not worth it
