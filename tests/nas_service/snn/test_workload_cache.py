"""Costs of a space without networks: the same workloads as the trace, the same costs in batches."""

import functools
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_models import load_profile
from nas_service.evaluation.census import census, feasible
from nas_service.evaluation.screening import profile_of, workload_cache_of
from nas_service.snn.trace import trace
from nas_service.snn.workload_cache import WorkloadCache
from nas_service.spaces.batch import batch_of_numbers, sample_batch
from nas_service.spaces.cell import EDGE_NAMES
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.cell_table import CellTable
from nas_service.spaces.input_density import LEAST, InputDensity
from nas_service.spaces.operations import OPERATIONS, PRESETS
from nas_service.spaces.task import Task
from nas_service.study.assumed_rates import AssumedRates
from nas_service.study.loading import parse_spec

TASK = Task(1, 8, 10)
SPACE = CellSpace(
    ("zeroize", "skip", "conv1x1", "conv3x3", "avgpool3x3"),
    cells=2,
    channels=(4, 6),
    head_pool=(1, 2),
    hidden=(16, 32),
    time_steps=(2, 3),
    weight_bits=(4, 8),
)
COMPOSITION = WorkloadCache(SPACE, TASK, votes=2)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, SPACE.size - 1))
def test_composed_is_traced(number):
    architecture = batch_of_numbers(SPACE, np.array([number])).architecture(SPACE, 0)
    assert COMPOSITION.workload(architecture) == trace(architecture, TASK, 2)


@pytest.mark.parametrize("name", ["corrected", "spikesim_rram"])
@pytest.mark.parametrize(
    "changes", [{}, {"mapping": "im2col", "tile_sharing": True, "tile_contention": "serialised"}]
)
def test_a_batch_of_a_space_is_its_candidates(name, changes):
    chip = load_profile(name).with_values(changes)
    drawn = sample_batch(SPACE, 60, seed=1)
    batch = chip.estimate_batch(COMPOSITION.table(drawn)).metrics()
    for n in range(60):
        workload = COMPOSITION.workload(drawn.architecture(SPACE, n)).at_rate(0)
        alone = chip.estimate(workload).metrics()
        assert {k: v[n] for k, v in batch.items()} == pytest.approx(alone, rel=1e-12)


IMAGES, EVENTS = Task(1, 16, 10), Task(2, 16, 10, events=True)
WIDE = {
    "backward": (CellSpace(("zeroize", "skip", "conv1x1", "conv3x3", "avgpool3x3"), 2, (4, 6),
                           (1, 2), (16,), (2, 3), (4, 8), backward=True), IMAGES),
    "separable": (CellSpace(("zeroize", "skip", "sepconv3x3", "conv1x1", "maxpool3x3"), 2, (4, 6),
                            (0,), (16,), (2, 3), (4, 8), bits_of="layer", backward=True), EVENTS),
    "parts": (CellSpace(("zeroize", "conv3x3_th0.5", "conv3x3_th1.5"), 3, ((4, 6), (5, 8), (3, 7)),
                        (1, 2), (16, 24), (2, 3), (4, 5, 8), bits_of="part",
                        threshold=(0.5, 1.0)), IMAGES),
    "shared": (CellSpace(("zeroize", "skip", "sepconv3x3"), 2, ((4, 6), (8, 10)), (2, 0), (16,),
                         (2, 3), (4, 8), bits_of="layer", stem_stride=2, backward=True,
                         shared=True), EVENTS),
    "still": (CellSpace(("zeroize", "skip", "avgpool3x3"), 1, (4,), (2,), (16,), (2,), (8,),
                        backward=True), IMAGES),
}  # fmt: skip
COMPOSITIONS = {name: WorkloadCache(space, task) for name, (space, task) in WIDE.items()}


@pytest.mark.parametrize("name", WIDE)
def test_composed_is_traced_in_every_space(name):
    space, task = WIDE[name]
    drawn = sample_batch(space, 12, seed=2)
    looped = 0
    for n in range(12):
        a = drawn.architecture(space, n)
        result = COMPOSITIONS[name].workload(a)
        assert result == trace(a, task)
        looped += any(result.loops)
    assert looped or name in ("parts", "still"), "some have feedback"


@pytest.mark.parametrize(
    ("profile", "changes"),
    [
        ("corrected", {"order": "layer_first"}),
        ("corrected", {"order": "time_first"}),
        ("corrected", {"tile_sharing": True, "tile_contention": "serialised", "mapping": "im2col"}),
        ("spikesim_rram", {}),
        ("spikesim_sram", {}),
    ],
)
@pytest.mark.parametrize("name", WIDE)
def test_a_batch_of_every_space_is_its_candidates(name, profile, changes):
    space, _ = WIDE[name]
    chip, workloads = load_profile(profile).with_values(changes), COMPOSITIONS[name]
    numbers = np.random.default_rng(0).integers(min(space.size, 2**62), size=12)
    for drawn in (sample_batch(space, 12, seed=5), batch_of_numbers(space, numbers)):
        batch = chip.estimate_batch(workloads.table(drawn)).metrics()
        for n in range(12):
            workload = workloads.workload(drawn.architecture(space, n)).at_rate(0)
            alone = chip.estimate(workload).metrics()
            assert {k: v[n] for k, v in batch.items()} == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize(
    "operations",
    [PRESETS["snasnet5"], ("zeroize", "skip", "sepconv3x3", "maxpool3x3", "conv1x1")],
    ids=["snasnet5", "separable"],
)
@pytest.mark.parametrize("backward", [False, True])
def test_arrays_of_cells_agree_with_each_cell(operations, backward):
    """Live edges, order, what is read, loops, additions: against the cell's own methods."""
    space = CellSpace(operations, 1, (4,), (2,), (16,), (2,), (8,), backward=backward)
    slots = WorkloadCache(space, IMAGES).slots
    numbers = np.random.default_rng(3).integers(space.cell_count, size=400)
    table = CellTable.of(numbers, space.states, slots)
    recurrent = 0
    for c, number in enumerate(numbers.tolist()):
        live = space.cell(number).live()
        recurrent += live.recurrent
        held = {
            s: n for s, n in zip(slots, table.operations[c], strict=True) if n < len(operations)
        }
        expected = {e.name: e for e in live.edges}
        for slot, n in held.items():
            assert OPERATIONS[operations[n]] == expected[slot.name].operation
        weighted = [e for e in live.edges if e.operation.weighted]
        assert [s.name for s in held if s.matrix == 0] == [n for n in live.wiring() if n != "out"]
        assert len(held) == sum(len(e.operation.matrices) for e in weighted)
        assert table.additions[c] == live.additions
        assert table.connected[c] == live.connected
        assert named_reads(table, slots, c) == {
            name: set(read.now) for name, read in live.wiring().items()
        }
    assert recurrent > 100 or not backward


def named_reads(table, slots, c):
    """What each edge's first matrix, and the output, reads: names of edges."""
    names = ["in", *(s.name for s in slots)]
    result = {}
    for i, slot in enumerate((*slots, None)):
        read = [r for r in table.reads[c, i] if r >= 0]
        if slot is None:
            result["out"] = {names[r] for r in read}
        elif slot.matrix == 0 and table.operations[c, i] < table.operations.max():
            result[slot.name] = {names[r] for r in read}
        elif slot.matrix and table.operations[c, i] < table.operations.max():
            assert read == [i], "the matrix before it"
        else:
            assert not slot.matrix or not read
    return result


def test_numbers_encode_channels_by_cell():
    """In the order of the space, whatever the order of their names."""
    space = CellSpace(("skip", "conv1x1"), 2, ((4, 6), (5, 8, 9)), (1,), (16,), (2,), (4, 8),
                      bits_of="part", shared=True)  # fmt: skip
    listed = list(space)
    drawn = batch_of_numbers(space, np.arange(space.size))
    assert [drawn.architecture(space, n) for n in range(0, space.size, 41)] == listed[::41]
    assert list(drawn.sizes) == list(space.sizes)


@pytest.mark.parametrize("name", WIDE)
def test_every_drawn_number_is_in_range(name):
    space, _ = WIDE[name]
    drawn = sample_batch(space, 200, seed=0)
    assert all((values >= 0).all() for values in drawn.sizes.values())
    for size, values in space.sizes.items():
        assert set(drawn.sizes[size].tolist()) == set(values)
    assert drawn.cells.shape == (200, space.cells)
    assert ((drawn.cells >= 0) & (drawn.cells < space.cell_count)).all()
    if space.shared:
        assert (drawn.cells == drawn.cells[:, :1]).all()
    result = COMPOSITIONS[name].connected(drawn)
    assert result.tolist() == [drawn.architecture(space, n).connected for n in range(200)]


def test_numbers_follow_the_order_of_the_space():
    small = CellSpace(
        ("skip", "conv1x1"),
        1,
        (2,),
        (1, 2),
        (4,),
        (1, 3),
        (8,),
        chip=(("adc_bits", (4, 5)),),
    )
    listed = list(small)
    drawn = batch_of_numbers(small, np.arange(small.size))
    assert [drawn.architecture(small, n) for n in range(small.size)] == listed
    assert len(set(listed)) == small.size == 2**6 * 2 * 2 * 2


def test_connectedness_agrees_with_the_cells():
    drawn = sample_batch(SPACE, 300, seed=3)
    result = COMPOSITION.connected(drawn)
    assert result.tolist() == [drawn.architecture(SPACE, n).connected for n in range(300)]
    assert 0 < result.mean() < 1


def spec(**hardware):
    tree = {
        "name": "x",
        "space": {"cells": 1, "operations": ["zeroize", "conv3x3"], "channels": [2, 4],
                  "head_pool": 4, "hidden": 8, "time_steps": [1, 2]},
        "data": {"name": "digits"},
        "training": {"epochs": 1},
        "hardware": hardware,
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        "constraints": [{"metric": "parameters", "at_most": 700},
                        {"metric": "energy_uJ", "at_most": 0.03},
                        {"metric": "throughput_per_s", "at_least": 1000}],
    }  # fmt: skip
    return parse_spec(json.dumps(tree), "x")


@pytest.mark.parametrize(
    "hardware", [{}, {"assumed_rate": 0.1}, {"search_space": {"crossbar_size": [32, 64]}}]
)
def test_a_census_counts_every_candidate(hardware):
    """Against each candidate costed alone."""
    study = spec(**hardware)
    kept, connected, both, space = [], [], [], workload_cache_of(study)
    chip = functools.cache(lambda settings: profile_of(study, settings))
    for a in study.build_space():
        workload = AssumedRates.of(study, LEAST).of_workload(space.workload(a))
        metrics = chip(a.chip).estimate(workload).metrics()
        over = [c.violation(metrics[c.metric]) > 0 for c in study.constraints]
        kept.append(not over[1])
        connected.append(a.connected)
        both.append(a.connected and not any(over))
    result = census(study, limit=10**6, density=LEAST)
    assert (result.candidates, result.exhaustive) == (study.build_space().size, True)
    assert result.within["energy_uJ"] == pytest.approx(np.mean(kept))
    assert result.connected == pytest.approx(np.mean(connected))
    assert result.feasible == pytest.approx(np.mean(both))
    assert 0 < result.feasible < 1
    expected = [a for a, ok in zip(study.build_space(), both, strict=True) if ok]
    assert list(feasible(study, density=LEAST)) == expected


def test_a_large_space_is_sampled():
    study = spec()
    result = census(study, limit=200, seed=4)
    assert (result.candidates, result.exhaustive) == (200, False)
    exact = census(study, limit=10**6).feasible
    assert result.feasible == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 200) ** 0.5)
    assert census(study, limit=200, seed=4) == result


def test_every_cell_is_wired_as_its_live_edges():
    """OUT reads an edge exactly if a path of skips and poolings leads from it to the output."""
    for names in itertools.islice(itertools.product(SPACE.operations, repeat=6), 0, 15625, 97):
        cell = SPACE.cell(0).__class__(names)
        wiring = cell.live().wiring()
        weighted = {e for e, n in zip(EDGE_NAMES, cell.live().operations, strict=True)
                    if n.startswith("conv")}  # fmt: skip
        assert set(wiring) - {"out"} == weighted
        read = {edge for ends in wiring.values() for edge in ends.now}
        assert weighted <= read, "a live edge is read by something"


def test_shipped_studies_have_feasible_candidates():
    from nas_service.study.loading import load_spec

    densities = {"cifar10": 0.5, "digits": 0.2, "fashion_mnist": 0.3, "n_mnist": 0.02}  # about
    for path in sorted((Path(__file__).parents[3] / "studies").glob("*.toml")):
        density = InputDensity(densities[path.stem])
        assert 0.05 < census(load_spec(path), limit=2000, density=density).feasible < 0.5
