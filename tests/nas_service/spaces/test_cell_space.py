"""Laws of the space on random candidates: canonical forms, JSON, drawing, sizes."""

import functools
import hashlib
import json
import random
from collections import defaultdict

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_models import load_profile
from nas_service.errors import SpecError
from nas_service.snn.trace import trace
from nas_service.spaces.architecture import SIZES, Architecture
from nas_service.spaces.cell import EDGE_NAMES, Cell
from nas_service.spaces.cell_space import CellSpace, _draw_ordered
from nas_service.spaces.operations import OPERATIONS, PRESETS
from nas_service.spaces.task import Task

DIGITS = Task(1, 8, 10)
CHIP = load_profile("spikesim_rram")
QUICK = settings(max_examples=40, deadline=None, derandomize=True)

CELLS = st.tuples(*[st.sampled_from(sorted(OPERATIONS))] * 6).map(Cell)
ARCHITECTURES = st.builds(
    Architecture,
    cells=st.lists(CELLS, min_size=1, max_size=4).map(tuple),
    channels=st.integers(1, 64),
    head_pool=st.integers(1, 8),
    hidden=st.integers(1, 256),
    time_steps=st.integers(1, 8),
    weight_bits=st.integers(2, 8),
)


def cell(**edges):
    return Cell(tuple(edges.get(f"e{name}", "zeroize") for name in EDGE_NAMES))


def small(*cells, **sizes):
    default = {"channels": 4, "head_pool": 2, "hidden": 16, "time_steps": 2, "weight_bits": 8}
    return Architecture(cells, **(default | sizes))


def mirrored(c):
    """The cell with nodes 1 and 2 exchanged, which needs an empty edge between them."""
    e = dict(zip(EDGE_NAMES, c.operations, strict=True))
    return cell(e01=e["02"], e02=e["01"], e03=e["03"], e13=e["23"], e23=e["13"])


@pytest.mark.parametrize(
    ("c", "text"),
    [
        (cell(), ""),
        (cell(e01="conv3x3"), ""),
        (cell(e03="skip"), "x"),
        (cell(e01="skip", e12="skip", e23="conv1x1"), "conv1x1(x)"),
        (cell(e01="skip", e02="skip", e13="skip", e23="skip"), "x + x"),
        (cell(e01="conv3x3", e13="conv1x1", e03="skip"), "conv1x1(conv3x3(x)) + x"),
        (cell(e01="conv3x3", e12="skip", e13="skip", e23="skip"), "conv3x3#0(x) + conv3x3#0(x)"),
        (cell(e01="skip", e02="skip", e12="skip", e23="maxpool3x3"), "maxpool3x3(x + x)"),
        (cell(e01="skip", e02="skip", e12="skip", e23="avgpool3x3"), "avgpool3x3(x)" * 2),
    ],
)
def test_canonical_forms_by_hand(c, text):
    assert c.canonical() == text.replace(")avg", ") + avg")


def test_digest_is_the_hash_of_the_canonical_form():
    """Stored results are looked up by this digest, so it must never change."""
    a = small(cell(e03="skip"), cell(e01="skip", e13="conv3x3"))
    text = (
        '{"cells": ["x", "conv3x3(x)"], "channels": 4, "head_pool": 2, "hidden": 16, '
        '"time_steps": 2, "weight_bits": 8}'
    )
    assert a.digest == hashlib.sha256(text.encode()).hexdigest()[:16]


@QUICK
@given(CELLS)
def test_dead_edges_change_nothing(c):
    live = c.live()
    assert live.live() == live
    assert live.canonical() == c.canonical()
    assert live.shape() == c.shape()
    assert c.connected == (c.canonical() != "")


@QUICK
@given(CELLS)
def test_order_of_the_inner_nodes_changes_nothing(c):
    names = dict(zip(EDGE_NAMES, c.operations, strict=True)) | {"12": "zeroize"}
    apart = Cell(tuple(names.values()))
    other = mirrored(apart)
    assert mirrored(other) == apart
    assert other.canonical() == apart.canonical()


@QUICK
@given(ARCHITECTURES)
def test_json_round_trip(a):
    again = Architecture.from_json(json.loads(json.dumps(a.to_json())))
    assert again == a
    assert again.digest == a.digest


@QUICK
@given(ARCHITECTURES, st.sampled_from(SIZES))
def test_every_size_counts_in_the_digest(a, name):
    value = getattr(a, name)
    other = value - 1 if name == "weight_bits" and value == 8 else value + 1
    assert Architecture(**{**vars(a), name: other}).digest != a.digest


@functools.cache
def families():
    """Cells of 3000 random genotypes that share their canonical form, at least two each."""
    throw, alike = random.Random(11), defaultdict(set)
    for _ in range(3000):
        c = Cell(tuple(throw.choice(PRESETS["snasnet5"]) for _ in EDGE_NAMES))
        alike[c.canonical()].add(c)
    return [sorted(cells, key=lambda c: c.operations) for cells in alike.values() if len(cells) > 1]


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_equal_digests_cost_the_same(data):
    pairs = []
    for _ in range(2):
        family = data.draw(st.sampled_from(families()))
        pairs.append(data.draw(st.permutations(family))[:2])
    a, b = (small(*cells) for cells in zip(*pairs, strict=True))
    assert a != b
    assert a.digest == b.digest
    costs = [CHIP.estimate(trace(x, DIGITS)).metrics() for x in (a, b)]
    assert costs[0] == pytest.approx(costs[1], rel=1e-12)


GOOD = small(cell(e03="skip"), cell(e03="skip")).to_json()
FULL = dict.fromkeys(EDGE_NAMES, "skip")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "architecture: a table"),
        ([GOOD], "architecture: a table"),
        ({}, "missing ['cells', 'channels'"),
        ({k: v for k, v in GOOD.items() if k != "hidden"}, "missing ['hidden']"),
        (GOOD | {"hiden": 1}, "unknown key 'hiden', did you mean 'hidden'?"),
        (GOOD | {"time_steps": -1}, "time_steps = -1"),
        (GOOD | {"time_steps": None}, "time_steps = None"),
        (GOOD | {"head_pool": "2"}, "head_pool = '2'"),
        (GOOD | {"weight_bits": 1}, "weight_bits = 1"),
        (GOOD | {"weight_bits": 4.0}, "weight_bits = 4.0"),
        (GOOD | {"channels": [4]}, "channels = [4]"),
        (GOOD | {"cells": None}, "cells: a list of 1..16"),
        (GOOD | {"cells": [FULL] * 17}, "cells: a list of 1..16"),
        (GOOD | {"cells": [3]}, "cell: a table"),
        (GOOD | {"cells": ["skip"]}, "cell 'skip': four rows of four digits"),
        (GOOD | {"cells": [FULL | {"30": "skip"}]}, "cell: unknown key '30'"),
        (GOOD | {"cells": [{"03": "skip"}]}, "cell: missing ['01'"),
        (GOOD | {"cells": [FULL | {"23": None}]}, "cell edge 23 = None"),
        (GOOD | {"cells": [FULL | {"23": ["skip"]}]}, "cell edge 23 = ['skip']"),
        (GOOD | {"cells": [FULL | {"23": "maxpol3x3"}]}, "did you mean 'maxpool3x3'?"),
    ],
)
def test_wrong_json_names_the_key(data, message):
    with pytest.raises(SpecError) as caught:
        Architecture.from_json(data)
    assert message in str(caught.value)


@pytest.mark.parametrize("n", [0, 5, 7])
def test_a_cell_has_six_edges(n):
    with pytest.raises(SpecError, match=f"6 edges, not {n}"):
        Cell(("skip",) * n)


class Recorder:
    """Suggests the largest value and records the suggestions."""

    def __init__(self):
        self.suggested = {}

    def suggest_categorical(self, name, choices):
        self.suggested[name] = tuple(choices)
        return choices[-1]

    def suggest_int(self, name, low, high, *, step=1):
        self.suggested[name] = (low, high, step)
        return high


@pytest.mark.parametrize(
    ("values", "suggested"),
    [
        ((7,), {}),
        ((4, 8), {"hidden": (4, 8, 4)}),
        ((8, 12, 16), {"hidden": (8, 16, 4)}),
        ((1, 2, 4), {"hidden_index": (0, 2, 1)}),
        ((1, 2, 3, 5), {"hidden_index": (0, 3, 1)}),
    ],
)
def test_sizes_are_suggested_in_their_order(values, suggested):
    trial = Recorder()
    assert _draw_ordered(trial, "hidden", values) == values[-1]
    assert trial.suggested == suggested


SPACE = CellSpace(PRESETS["light3"], 2, (4, 8), (1, 2, 4), (16,), (2, 3, 5), (4, 6, 8))


def test_a_draw_suggests_every_parameter():
    trial = Recorder()
    drawn = SPACE.draw(trial)
    edges = {f"cell{k}_edge{e}" for k in (0, 1) for e in EDGE_NAMES}
    sizes = {"channels", "head_pool_index", "time_steps_index", "weight_bits"}
    assert set(trial.suggested) == edges | sizes
    assert drawn == Architecture((Cell(("conv3x3",) * 6),) * 2, 8, 4, 16, 5, 8)


def test_a_fixed_trial_names_what_it_lacks():
    edges = {f"cell{k}_edge{e}": "skip" for k in (0, 1) for e in EDGE_NAMES}
    sizes = {"channels": 4, "head_pool_index": 1, "time_steps_index": 0, "weight_bits": 6}
    drawn = SPACE.draw(optuna.trial.FixedTrial(edges | sizes))
    assert drawn == Architecture((Cell(("skip",) * 6),) * 2, 4, 2, 16, 2, 6)
    with pytest.raises(ValueError, match="weight_bits"):
        SPACE.draw(
            optuna.trial.FixedTrial({k: v for k, v in (edges | sizes).items() if k[0] != "w"})
        )


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    st.sampled_from([("zeroize", "skip"), PRESETS["light3"]]),
    st.lists(st.integers(1, 9), min_size=1, max_size=3, unique=True).map(sorted).map(tuple),
    st.lists(st.integers(2, 8), min_size=1, max_size=2, unique=True).map(sorted).map(tuple),
)
def test_size_counts_what_iteration_gives(operations, channels, bits):
    space = CellSpace(operations, 1, channels, (1,), (16,), (2,), bits)
    every = list(space)
    assert space.size == len(every) == len(set(every))
    assert space.size == len(operations) ** 6 * len(channels) * len(bits)


def test_size_of_two_cells():
    """Twelve edges with two operations and one size."""
    space = CellSpace(("zeroize", "conv1x1"), 2, (4,), (1,), (16,), (2,), (8,))
    assert space.size == sum(1 for _ in space) == 4096
