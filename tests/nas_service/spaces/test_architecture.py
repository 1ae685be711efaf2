"""Cells and their canonical form: every cell of SNASNet's space, and the laws one by one."""

import itertools
import random

import optuna
import pytest

from hw_models import load_profile
from nas_service.errors import SpecError
from nas_service.snn.trace import trace
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGE_NAMES, Cell
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.operations import OPERATIONS, PRESETS
from nas_service.spaces.task import Task

DIGITS = Task(1, 8, 10)
ALL = [Cell(ops) for ops in itertools.product(PRESETS["snasnet5"], repeat=6)]
SPACE = CellSpace(PRESETS["snasnet5"], 2, (4, 8), (1, 2, 4), (16, 24), (2,), (4, 8))


def cell(**edges):
    return Cell(tuple(edges.get(f"e{name}", "zeroize") for name in EDGE_NAMES))


def architecture(*cells, **sizes):
    default = {"channels": 4, "head_pool": 2, "hidden": 16, "time_steps": 2, "weight_bits": 8}
    return Architecture(cells, **(default | sizes))


class Die:
    def __init__(self, seed):
        self.throw = random.Random(seed)

    def suggest_categorical(self, name, choices):
        return self.throw.choice(choices)

    def suggest_int(self, name, low, high, *, step=1):
        return self.throw.randrange(low, high + 1, step)


def test_counts_over_all_cells():
    """15 625 genotypes; shapes alone would merge a convolution used twice with two of them."""
    assert len(ALL) == 15625
    assert sum(not c.connected for c in ALL) == 341
    assert len({c.live() for c in ALL}) == 9445
    assert len({c.shape() for c in ALL}) == 4660
    assert len({c.shape(linear=False) for c in ALL}) == 4930
    assert len({c.canonical() for c in ALL}) == 5044
    assert len({c.canonical(linear=False) for c in ALL}) == 5260


def test_one_convolution_twice_is_not_two_convolutions():
    """conv(x) + conv(x) with the same weights has half the parameters of two convolutions."""
    twice = cell(e01="conv3x3", e12="skip", e13="skip", e23="skip")
    two = cell(e01="conv3x3", e02="conv3x3", e13="skip", e23="skip")
    assert twice.shape() == two.shape()
    assert twice.canonical() != two.canonical()
    parameters = [trace(architecture(c, c), DIGITS).parameters for c in (twice, two)]
    assert parameters[1] - parameters[0] == (4 * 4 * 9 + 2 * 4) + (8 * 8 * 9 + 2 * 8)


def test_skips_are_copies_and_average_pooling_is_linear():
    direct = cell(e03="conv3x3")
    assert cell(e01="skip", e13="conv3x3").canonical() == direct.canonical()
    pooled_sum = cell(e01="skip", e02="conv1x1", e12="skip", e23="avgpool3x3")
    sum_of_pooled = cell(e01="conv1x1", e13="avgpool3x3", e03="avgpool3x3")
    assert pooled_sum.canonical() == sum_of_pooled.canonical()
    assert pooled_sum.canonical(linear=False) != sum_of_pooled.canonical(linear=False)


def test_equal_digests_cost_the_same():
    chip, seen, compared = load_profile("spikesim_rram"), {}, 0
    throw = random.Random(5)
    for c in throw.sample(ALL, 800):
        a = architecture(c, cell(e03="skip"))
        if a.digest in seen and compared < 20:
            costs = [chip.estimate(trace(x, DIGITS)).metrics() for x in (a, seen[a.digest])]
            assert costs[0] == pytest.approx(costs[1], rel=1e-12)
            compared += c != seen[a.digest].cells[0]
        seen.setdefault(a.digest, a)
    assert compared == 20


def test_round_trip_and_draw():
    for seed in range(50):
        a = SPACE.draw(Die(seed))
        assert Architecture.from_json(a.to_json()) == a
    params = {f"cell{k}_edge{e}": "skip" for k in (0, 1) for e in EDGE_NAMES}
    params |= {"channels": 8, "head_pool_index": 2, "hidden": 24, "weight_bits": 4}
    drawn = SPACE.draw(optuna.trial.FixedTrial(params))
    assert (drawn.head_pool, drawn.hidden, drawn.time_steps) == (4, 24, 2)


def test_size_counts_every_genotype_once():
    small = CellSpace(("zeroize", "skip"), 1, (4, 8), (1,), (16,), (2, 3), (8,))
    every = list(small)
    assert small.size == len(every) == len(set(every)) == 2**6 * 4


GOOD = architecture(cell(e03="skip")).to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": 0}, "channels = 0"),
        ({"channels": True}, "channels = True"),
        ({"weight_bits": 9}, "weight_bits = 9"),
        ({"hidden": 1.5}, "hidden = 1.5"),
        ({"cells": []}, "cells"),
        ({"cells": "skip"}, "cells"),
        ({"cells": [{"01": "skip"}]}, "missing"),
        ({"cells": [dict.fromkeys(EDGE_NAMES, "scip")]}, "did you mean 'skip'"),
        ({"cells": [dict.fromkeys(EDGE_NAMES, 3)]}, "cell edge 01 = 3"),
        ({"chanels": 4}, "did you mean 'channels'"),
    ],
)
def test_hostile_architectures_are_refused(change, message):
    with pytest.raises(SpecError, match=message):
        Architecture.from_json(GOOD | change)


def test_an_unknown_operation_gets_a_suggestion():
    with pytest.raises(SpecError, match="conv3x3"):
        Cell(("conv33", *["skip"] * 5))
    assert "conv5x5" in OPERATIONS
