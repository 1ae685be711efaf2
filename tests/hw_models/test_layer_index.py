"""Workloads as choices among distinct layers: the same tables, and the same costs."""

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_models import Layer, LayerIndex, LayerTable, Workload, known_profiles, load_profile, lookup
from hw_models.lookup import COUPLED, can_look_up

ALIKE = Layer("a", "conv", 8, 8, kernel=3, in_size=8, out_size=8, spike_rate=0.1)
HEAD = Layer("fc", "linear", 512, 10, spike_rate=0.2, sources=("a", "b"))
WORKLOADS = [
    Workload((ALIKE, replace(ALIKE, name="b", sources=("a",)), HEAD), 4),
    Workload((ALIKE, replace(ALIKE, name="b", weight_bits=4, sources=("a",)), HEAD), 4),
    Workload((ALIKE, replace(HEAD, sources=("a",))), 2),
    Workload((ALIKE, replace(ALIKE, name="b", spike_rate=0.3, feedback=("b",)), HEAD), 3),
    Workload((replace(ALIKE, groups=2),), 4),
]
TABLE = LayerTable.stack(WORKLOADS)
INDEX = LayerIndex.of(TABLE)


def test_equal_layers_are_one():
    assert len(INDEX.distinct) == len(np.unique(INDEX.which)) < INDEX.which.size
    assert INDEX.which[0, 0] == INDEX.which[0, 1] == INDEX.which[1, 0]
    assert INDEX.which[0, 0] != INDEX.which[2, 0], "other time steps"
    assert len({*INDEX.which[:, 1].tolist()}) == 5


def test_the_table_of_an_index_is_the_table_it_is_of():
    again = INDEX.table()
    for f in fields(LayerTable):
        assert np.array_equal(getattr(again, f.name), getattr(TABLE, f.name)), f.name


@pytest.mark.parametrize("name", known_profiles())
@pytest.mark.parametrize("changes", [{}, {"order": "layer_first"}, {"leakage": 1}], ids=str)
def test_costs_that_are_looked_up_are_those_of_each_workload(name, changes):
    chip = load_profile(name).with_values(changes)
    batch = chip.estimate_batch(INDEX).metrics()
    for n, workload in enumerate(WORKLOADS):
        alone = chip.estimate(workload).metrics()
        assert {k: v[n] for k, v in batch.items()} == pytest.approx(alone, rel=1e-12)


@pytest.mark.parametrize("defect", COUPLED)
def test_a_defect_that_ties_layers_together_is_never_looked_up(defect):
    chip = load_profile("corrected").with_values({defect: True})
    assert not can_look_up(chip.chip)
    looked_up, computed = chip.estimate_batch(INDEX).totals, chip.estimate_batch(TABLE).totals
    assert all(np.array_equal(looked_up[name], computed[name]) for name in computed)


def test_many_layers_are_costed_some_at_a_time(monkeypatch):
    chip = load_profile("rram_28nm")
    whole = chip.estimate_batch(INDEX).totals
    monkeypatch.setattr(lookup, "CHUNK", 4)
    parts = chip.estimate_batch(INDEX).totals
    assert all(np.array_equal(parts[name], whole[name]) for name in whole)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    rows=st.lists(st.integers(0, len(WORKLOADS) - 1), min_size=1, max_size=40),
    name=st.sampled_from(["corrected", "rram_28nm"]),
)
def test_costs_are_the_same_to_the_last_bit_in_every_batch(rows, name):
    chip = load_profile(name)
    whole = chip.estimate_batch(INDEX).totals
    part = chip.estimate_batch(LayerIndex.of(TABLE.part(np.array(rows)))).totals
    for total, values in whole.items():
        assert np.array_equal(part[total], values[rows]), total
