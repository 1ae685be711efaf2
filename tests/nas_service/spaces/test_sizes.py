"""What is searched beside the operations: bits by part or layer, channels by cell, thresholds."""

import itertools
import json
import math
import random
from dataclasses import fields, replace

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_service.errors import SpecError
from nas_service.spaces.architecture import GLOBAL, Architecture, layers_of, parts_of
from nas_service.spaces.cell import EDGE_NAMES, Cell
from nas_service.spaces.cell_space import CellSpace, _draw_ordered
from nas_service.spaces.operations import PRESETS
from nas_service.spaces.task import Task

SKIPS = Cell(("skip",) * 6)
CONVS = Cell(("zeroize", "zeroize", "conv3x3", "conv1x1", "zeroize", "zeroize"))  # 12 is dead
QUICK = settings(max_examples=40, deadline=None, derandomize=True)


def architecture(*cells, **sizes):
    default = {"channels": 4, "head_pool": 2, "hidden": 16, "time_steps": 2, "weight_bits": 8}
    return Architecture(cells or (CONVS, SKIPS), **(default | sizes))


def by(names, **changed):
    """8 bits each except for the given ones; `cell0_edge03` means `cell0.edge03`."""
    other = {name.replace("_edge", ".edge"): bits for name, bits in changed.items()}
    assert other.keys() <= set(names)
    return tuple((name, other.get(name, 8)) for name in names)


def test_names_of_parts_and_layers():
    parts = ("stem", "cell0", "reduction0", "cell1", "hidden", "readout")
    assert parts_of(2) == parts
    assert parts_of(1) == ("stem", "cell0", "hidden", "readout")
    edges = tuple(f"cell0.edge{e}" for e in EDGE_NAMES)
    assert layers_of(1) == ("stem", *edges, "hidden", "readout")
    assert len(layers_of(2)) == 2 * 6 + 4


def test_bits_of_parts_by_hand():
    a = architecture(weight_bits=by(parts_of(2), stem=2, cell0=3, reduction0=4, readout=5))
    blocks = ("stem", "cell0.edge03", "cell0.edge30", "cell0.edge12.depthwise", "reduction0",
              "cell1.edge01", "hidden", "readout")  # fmt: skip
    assert [a.bits(block) for block in blocks] == [2, 3, 3, 3, 4, 8, 8, 5]
    assert a.all_bits == (2, 3, 4, 8, 8, 5)


def test_bits_of_layers_by_hand():
    """Both directions of a pair, and both matrices of a separable convolution, share theirs."""
    a = architecture(weight_bits=by(layers_of(2), stem=2, cell0_edge03=3, cell1_edge13=4))
    blocks = ("stem", "cell0.edge03", "cell0.edge30", "cell0.edge03.pointwise", "cell1.edge03",
              "cell1.edge31.depthwise", "hidden")  # fmt: skip
    assert [a.bits(block) for block in blocks] == [2, 3, 3, 3, 8, 4, 8]


@pytest.mark.parametrize("names", [parts_of(2), layers_of(2)], ids=["part", "layer"])
def test_bits_survive_a_json_round_trip(names):
    throw = random.Random(1)
    a = architecture(weight_bits=tuple((name, throw.randint(2, 8)) for name in names))
    again = Architecture.from_json(json.loads(json.dumps(a.to_json())))
    assert again == a
    in_other_order = json.loads(json.dumps(a.to_json(), sort_keys=True))
    assert Architecture.from_json(in_other_order) == a
    assert Architecture.from_json(in_other_order).digest == a.digest


def test_bits_of_live_weights_alone_count_in_the_digest():
    pools = Cell(("avgpool3x3", "zeroize", "maxpool3x3", "zeroize", "skip", "zeroize"))
    base = architecture(CONVS, pools, weight_bits=by(layers_of(2)))
    dead, weightless = {"cell0_edge12": 4}, ("cell1_edge01", "cell1_edge03", "cell1_edge13")
    for change in (dead, *({edge: 4} for edge in weightless)):
        assert replace(base, weight_bits=by(layers_of(2), **change)).digest == base.digest
    live = ({"cell0_edge03": 4}, {"stem": 4}, {"reduction0": 4}, {"hidden": 4}, {"readout": 4})
    digests = [replace(base, weight_bits=by(layers_of(2), **c)).digest for c in live]
    assert len({base.digest, *digests}) == len(live) + 1


def test_bits_of_a_cell_without_weights_do_not_count():
    base = architecture(weight_bits=by(parts_of(2)))
    assert replace(base, weight_bits=by(parts_of(2), cell1=3)).digest == base.digest
    assert replace(base, weight_bits=by(parts_of(2), cell0=3)).digest != base.digest


def test_bits_distinguish_mirrored_cells():
    """Two branches that are alike but for their bits: exchanged they are the same network."""
    ways = Cell(("conv3x3", "conv3x3", "zeroize", "zeroize", "conv1x1", "conv1x1"))

    def digest(**bits):
        return architecture(ways, weight_bits=by(layers_of(1), **bits)).digest

    assert digest(cell0_edge01=4) == digest(cell0_edge02=4) != digest()
    one_branch = digest(cell0_edge01=4, cell0_edge13=4)
    assert one_branch == digest(cell0_edge02=4, cell0_edge23=4)
    assert one_branch != digest(cell0_edge01=4, cell0_edge23=4)


def test_channels_of_cells():
    assert architecture(channels=6).widths == (6, 12)
    assert architecture(channels=(6, 5)).widths == (6, 5)
    a = architecture(channels=(6, 5))
    assert a.to_json()["channels"] == [6, 5]
    assert Architecture.from_json(json.loads(json.dumps(a.to_json()))) == a
    assert a.digest != architecture(channels=(5, 6)).digest


def test_default_values_are_not_written():
    """So old digests stay, and new settings count."""
    plain = architecture()
    keys = {"cells", "channels", "head_pool", "hidden", "time_steps", "weight_bits"}
    assert plain.to_json().keys() == keys
    assert plain.digest == "d193d67bdc1186de"
    changed = [{"threshold": 0.5}, {"stem_stride": 2}, {"head_pool": GLOBAL},
               {"chip": (("adc_bits", 4),)}]  # fmt: skip
    others = [architecture(**change) for change in changed]
    assert len({plain.digest, *(a.digest for a in others)}) == 5
    for a in others:
        assert Architecture.from_json(json.loads(json.dumps(a.to_json()))) == a


GOOD = architecture(SKIPS).to_json()
HUGE = 10**400


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": None}, "channels = None"),
        ({"channels": ""}, "channels = ''"),
        ({"channels": {}}, "channels = {}"),
        ({"channels": 4.0}, "channels = 4.0"),
        ({"channels": []}, "one for each cell"),
        ({"channels": [4, 4]}, "one for each cell"),
        ({"channels": [[4]]}, "channels = [4]"),
        ({"channels": [True]}, "channels = True"),
        ({"head_pool": -1}, "head_pool = -1"),
        ({"head_pool": "global"}, "head_pool = 'global'"),
        ({"weight_bits": {}}, "one number for each of cell0, hidden"),
        ({"weight_bits": {"stem": 8}}, "one number for each of"),
        ({"weight_bits": dict.fromkeys(parts_of(2), 8)}, "one number for each of"),
        ({"weight_bits": dict.fromkeys(parts_of(1), 9)}, "weight_bits = 9"),
        ({"weight_bits": dict.fromkeys(parts_of(1), True)}, "weight_bits = True"),
        ({"weight_bits": [8, 8]}, "weight_bits = [8, 8]"),
        ({"threshold": 0}, "threshold = 0.0"),
        ({"threshold": math.nan}, "threshold = nan"),
        ({"threshold": math.inf}, "threshold = inf"),
        ({"threshold": True}, "threshold = True"),
        ({"threshold": HUGE}, "threshold = 1000"),
        ({"threshold": "1"}, "threshold = '1'"),
        ({"stem_stride": 0}, "stem_stride = 0"),
        ({"stem_stride": None}, "stem_stride = None"),
        ({"chip": []}, "chip = []"),
        ({"chip": {"adc_bits": 4.5}}, "chip = "),
        ({"chip": {"adc_bits": True}}, "chip = "),
    ],
)
def test_wrong_sizes_are_named(change, message):
    with pytest.raises(SpecError) as caught:
        Architecture.from_json(GOOD | change)
    assert message in str(caught.value)


WORDS = st.sampled_from(
    ["", "0", "0302 0030 3003 0000", "skip", "back:skip", "back:zeroize", "stem", "cell0", "01"]
)
NUMBERS = st.sampled_from([0, 1, 2, 4, -1, HUGE, -HUGE, 2**63, math.nan, math.inf, 1.5, 1.0])
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | WORDS | st.text(max_size=5),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(WORDS | st.text(max_size=3), x, max_size=3),
    max_leaves=6,
)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    st.dictionaries(
        st.sampled_from([f.name for f in fields(Architecture)]), VALUES, min_size=1, max_size=2
    )
)
def test_hostile_values_are_refused_or_restored(change):
    """SpecError alone; what is taken has a digest and comes back."""
    try:
        a = Architecture.from_json(GOOD | change)
    except SpecError:
        return
    assert Architecture.from_json(a.to_json()) == a
    assert len(a.digest) == 16


# --- the space -----------------------------------------------------------------------------------

LIGHT = PRESETS["light3"]
SPACES = {
    "plain": CellSpace(("zeroize", "skip"), 1, (4, 8), (2,), (16,), (2,), (8,)),
    "backward": CellSpace(("zeroize", "skip"), 1, (4,), (2,), (16,), (2, 4), (8,), backward=True),
    "shared": CellSpace(("zeroize", "skip"), 3, (4,), (1, 2), (16,), (2,), (8,), shared=True),
    "channels": CellSpace(("skip", "conv1x1"), 2, ((4, 8), (6,)), (2,), (16,), (2,), (8,),
                          shared=True),
    "part": CellSpace(("skip", "conv1x1"), 1, (4,), (2,), (16,), (2,), (4, 8), bits_of="part"),
    "layer": CellSpace(("skip", "conv1x1"), 1, (4,), (2,), (16,), (2,), (8,), bits_of="layer"),
    "thresholds": CellSpace(("zeroize", "skip"), 1, (4,), (2, GLOBAL), (16,), (2,), (8,),
                            threshold=(0.5, 1.0, 1.5)),
    "strided": CellSpace(("zeroize", "skip"), 1, (4,), (2,), (16,), (2,), (8,), stem_stride=2,
                         chip=(("adc_bits", (4, 5)), ("order", ("layer_first", "time_first")))),
}  # fmt: skip
SIZES = {
    "plain": 2**6 * 2, "backward": 3**6 * 2, "shared": 2**6 * 2, "channels": 2**6 * 2,
    "part": 2**6 * 2**4, "layer": 2**6, "thresholds": 2**6 * 2 * 3, "strided": 2**6 * 4,
}  # fmt: skip


@pytest.mark.parametrize("name", SPACES)
def test_size_counts_what_iteration_gives(name):
    space = SPACES[name]
    every = list(space)
    assert space.size == len(every) == len(set(every)) == SIZES[name]
    assert all(len(set(a.cells)) == 1 for a in every) or not space.shared
    assert {a.stem_stride for a in every} == {space.stem_stride}


class RandomTrial:
    """Random suggestions, recorded by name."""

    def __init__(self, seed):
        self.throw, self.suggested = random.Random(seed), {}

    def suggest_categorical(self, name, choices):
        assert name not in self.suggested
        self.suggested[name] = self.throw.choice(choices)
        return self.suggested[name]

    def suggest_int(self, name, low, high, *, step=1):
        assert name not in self.suggested
        self.suggested[name] = self.throw.randrange(low, high + 1, step)
        return self.suggested[name]


@pytest.mark.parametrize("name", SPACES)
def test_draws_are_valid_and_suggest_the_same_parameters(name):
    space = SPACES[name]
    inside = set(space)
    trials = [RandomTrial(seed) for seed in range(60)]
    drawn = [space.draw(trial) for trial in trials]
    assert set(drawn) <= inside
    assert len({tuple(trial.suggested) for trial in trials}) == 1, "every parameter is always there"
    for trial, a in zip(trials, drawn, strict=True):
        assert space.draw(optuna.trial.FixedTrial(trial.suggested)) == a
        if name != "thresholds":
            assert Architecture.from_json(json.loads(json.dumps(a.to_json()))) == a


@pytest.mark.parametrize("name", SPACES)
def test_optuna_draws_inside(name):
    space = SPACES[name]
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(15)]
    drawn = [space.draw(trial) for trial in trials]
    assert set(drawn) <= set(space)
    assert len(set(drawn)) > 5
    assert len({tuple(sorted(trial.params)) for trial in trials}) == 1


def test_names_of_parameters():
    trial = RandomTrial(0)
    CellSpace(LIGHT, 2, ((4, 8), (8, 12, 20)), (1, 2, GLOBAL), (16,), (2, 4), (4, 8),
              bits_of="part", threshold=(0.5, 1.0), shared=True).draw(trial)  # fmt: skip
    assert list(trial.suggested) == [
        *(f"cell_edge{e}" for e in EDGE_NAMES),
        "channels_cell0", "channels_cell1_index", "head_pool_index", "time_steps",
        *(f"weight_bits_{part}" for part in parts_of(2)), "threshold_index",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "name"),
    [
        ((0.5, 1.0), "x_index"),
        ((1.0, 2.0, 3.0), "x_index"),
        ((2, GLOBAL), "x_index"),
        ((4, 2, GLOBAL), "x_index"),
        ((1, 2, GLOBAL), "x_index"),
        ((1, GLOBAL), "x_index"),
        ((2, 4, 6), "x"),
        ((GLOBAL,), None),
        ((0.5,), None),
    ],
)
def test_every_value_can_be_drawn_and_keeps_its_type(values, name):
    values_drawn, suggested = set(), set()
    for seed in range(60):
        trial = RandomTrial(seed)
        value = _draw_ordered(trial, "x", values)
        values_drawn.add((type(value), value))
        suggested |= trial.suggested.keys()
    assert values_drawn == {(type(v), v) for v in values}
    assert suggested == ({name} if name else set())


@QUICK
@given(st.integers(0, 9**6 - 1))
def test_a_cell_by_its_number(number):
    space = CellSpace(PRESETS["snasnet5"], 1, (4,), (2,), (16,), (2,), (8,), backward=True)
    assert space.cell_count == 9**6
    digits = [space.states.index(state) for state in space.cell(number).operations]
    assert sum(d * 9**k for k, d in enumerate(reversed(digits))) == number


def test_chips_by_their_number():
    space = SPACES["strided"]
    assert [space.chip_at(n) for n in range(space.chip_count)] == list(space.chips())


# --- maps ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "cells", "stride", "side"),
    [(32, 2, 1, 16), (32, 2, 2, 8), (28, 1, 3, 10), (33, 1, 2, 17), (31, 2, 2, 8), (8, 4, 1, 1)],
)
def test_sides_by_hand(size, cells, stride, side):
    task = Task(3, size, 10)
    assert task.last_side(cells, stride) == side
    assert task.head_side(cells, GLOBAL, stride) == 1
    assert task.head_side(cells, 1, stride) == side


@pytest.mark.parametrize(
    ("size", "cells", "stride", "message"),
    [(28, 4, 1, "3.5 pixels would be left"), (33, 2, 2, "8.5 pixels"), (7, 2, 1, "3.5 pixels")],
)
def test_odd_maps_are_not_halved(size, cells, stride, message):
    with pytest.raises(SpecError, match=message):
        Task(1, size, 10).last_side(cells, stride)


def test_products_of_all_options():
    """Every switch of a space together with every other."""
    for backward, shared, bits_of in itertools.product(
        (False, True), (False, True), ("network", "part", "layer")
    ):
        space = CellSpace(LIGHT, 2, ((4,), (4, 8)), (1, GLOBAL), (8,), (2, 3), (4, 8),
                          bits_of, backward=backward, shared=shared)  # fmt: skip
        a = space.draw(RandomTrial(7))
        assert Architecture.from_json(json.loads(json.dumps(a.to_json()))) == a
        assert len(a.all_bits) == {"network": 1, "part": 6, "layer": 16}[bits_of]
        assert (a.cells[0] == a.cells[1]) or not shared
