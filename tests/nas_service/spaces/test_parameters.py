"""The inverse of drawing: what a trial must have drawn for an architecture to come of it."""

import random

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_service.errors import SpecError
from nas_service.spaces.architecture import GLOBAL, Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.operations import PRESETS

QUICK = settings(max_examples=60, deadline=None, derandomize=True)


class Die:
    """A seeded trial."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def suggest_categorical(self, name, choices):
        return self.random.choice(choices)

    def suggest_int(self, name, low, high, step=1):
        return self.random.randrange(low, high + 1, step)


def ascending(low, high):
    many = st.lists(st.integers(low, high), min_size=1, max_size=4, unique=True)
    return many.map(lambda v: tuple(sorted(v)))


@st.composite
def spaces(draw):
    cells = draw(st.integers(1, 3))
    each = st.tuples(*[ascending(1, 64)] * cells)
    settings_of = {
        "crossbar_size": draw(ascending(16, 256)),
        "mapping": draw(st.sampled_from([("a",), ("a", "b"), ("a", "b", "c")])),
    }
    keys = draw(st.lists(st.sampled_from(sorted(settings_of)), unique=True))
    pools = draw(ascending(1, 8))
    return CellSpace(
        operations=PRESETS[draw(st.sampled_from(sorted(PRESETS)))],
        cells=cells,
        channels=draw(ascending(1, 64) | each),
        head_pool=draw(st.sampled_from([pools, (*pools, GLOBAL)])),
        hidden=draw(ascending(1, 300)),
        time_steps=draw(ascending(2, 9)),
        weight_bits=draw(ascending(2, 8)),
        bits_of=draw(st.sampled_from(["network", "part", "layer"])),
        threshold=draw(st.sampled_from([(1.0,), (0.5, 1.0), (0.5, 1.0, 1.5)])),
        stem_stride=draw(st.integers(1, 2)),
        backward=draw(st.booleans()),
        shared=draw(st.booleans()),
        chip=tuple((key, settings_of[key]) for key in keys),
    )


@QUICK
@given(spaces(), st.integers(0, 2**32))
def test_drawing_with_an_architectures_parameters_gives_it(space, seed):
    drawn = space.draw(Die(seed))
    parameters = space.parameters(drawn)
    assert space.draw(optuna.trial.FixedTrial(parameters)) == drawn


@QUICK
@given(spaces(), st.integers(0, 2**32))
def test_parameters_are_those_of_a_trial(space, seed):
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed % 2**31))
    trial = study.ask()
    assert space.parameters(space.draw(trial)) == trial.params


SPACE = CellSpace(PRESETS["light3"], 2, (4, 8), (2, GLOBAL), (16,), (2,), (4, 8))
CELL = Cell(("skip", "zeroize", "conv3x3", "zeroize", "zeroize", "skip"))
SIZES = {"channels": 4, "head_pool": 2, "hidden": 16, "time_steps": 2, "weight_bits": 8}


def test_parameters_by_hand():
    parameters = SPACE.parameters(Architecture((CELL, CELL), **SIZES | {"head_pool": GLOBAL}))
    edges = {f"cell{k}_edge{name}" for k in (0, 1) for name in ("01", "02", "03", "12", "13", "23")}
    sizes = {"channels": 4, "head_pool_index": 1, "weight_bits": 8}
    assert {k: v for k, v in parameters.items() if k not in edges} == sizes  # single sizes are none
    assert edges < parameters.keys()
    assert parameters["cell1_edge03"] == "conv3x3"


@pytest.mark.parametrize(
    ("cells", "sizes", "named"),
    [
        ((CELL,), {}, "cells = 1: the space has 2"),
        ((CELL, Cell(("conv1x1",) * 6)), {}, "cell1_edge01 = conv1x1: the space has zeroize"),
        ((CELL, Cell(("back:skip",) * 6)), {}, "cell1_edge01 = back:skip"),
        ((CELL, CELL), {"channels": 6}, "channels = 6: the space has 4, 8"),
        ((CELL, CELL), {"channels": (4, 8)}, "channels: "),
        ((CELL, CELL), {"head_pool": 4}, "head_pool = 4: the space has 2, global"),
        ((CELL, CELL), {"stem_stride": 2}, "stem_stride = 2"),
        ((CELL, CELL), {"threshold": 0.5}, "threshold = 0.5"),
        ((CELL, CELL), {"chip": (("crossbar_size", 64),)}, "chip: sets"),
        (
            (CELL, CELL),
            {"weight_bits": tuple((n, 8) for n in
             ("stem", "cell0", "reduction0", "cell1", "hidden", "readout"))},
            "weight_bits: ",
        ),
    ],
)  # fmt: skip
def test_values_outside_the_space_are_named(cells, sizes, named):
    with pytest.raises(SpecError, match=named.replace("[", r"\[")):
        SPACE.parameters(Architecture(cells, **SIZES | sizes))


def test_cells_that_are_one_must_be_alike():
    space = CellSpace(PRESETS["light3"], 2, (4,), (2,), (16,), (2,), (8,), shared=True)
    with pytest.raises(SpecError, match="all alike"):
        space.parameters(Architecture((CELL, Cell(("skip",) * 6)), **SIZES))
