"""Layer lists: what is right comes back from JSON, what is wrong names layer, key and remedy."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_models import Layer, Workload, WorkloadError

SIZES = {"in_size": 1, "out_size": 1}
CONV = {"kind": "conv", "in_channels": 3, "out_channels": 8, "kernel": 3} | SIZES
LAYERS = st.builds(
    lambda kernel, in_size, kind, **values: Layer(
        kind=kind,
        **values,
        **({"kernel": kernel, "in_size": in_size, "out_size": in_size} if kind == "conv" else {}),
    ),
    name=st.just(""),
    kind=st.sampled_from(["conv", "linear"]),
    in_channels=st.integers(1, 512),
    out_channels=st.integers(1, 512),
    kernel=st.integers(1, 7),
    in_size=st.integers(1, 64),
    weight_bits=st.integers(1, 32),
    input_bits=st.integers(1, 8),
    once=st.booleans(),
    neurons=st.none() | st.integers(0, 99),
    input_adds=st.integers(0, 99),
    spike_rate=st.floats(0, 1),
    sources=st.just(()),
)


def of(*layers, **top):
    return {"time_steps": 4, "layers": list(layers)} | top


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(LAYERS, min_size=1, max_size=4), st.integers(1, 2**16))
def test_json_round_trip(layers, steps):
    named = tuple(Layer(**{**vars(x), "name": f"l{i}"}) for i, x in enumerate(layers))
    workload = Workload(named, steps)
    assert Workload.from_json(json.loads(json.dumps(workload.to_json()))) == workload


def test_a_linear_layer_by_its_features():
    linear = {"kind": "linear", "in_features": 32, "out_features": 10}
    (layer,) = Workload.from_json(of(linear)).layers
    assert layer == Layer("layer0", "linear", 32, 10)
    assert (layer.rows, layer.weights) == (32, 320)


def test_sizes_by_hand():
    """3 x 3 x 3 inputs, 8 outputs, 8x8 pixels pooled to 4x4."""
    layer = Layer("a", "conv", 3, 8, kernel=3, in_size=8, out_size=8, pool=2)
    assert (layer.rows, layer.weights, layer.map_size) == (27, 216, 4)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "layer list: a table is needed"),
        ([], "layer list: a table is needed"),
        ({"layers": []}, "missing ['time_steps']"),
        ({"time_steps": 4}, "missing ['layers']"),
        (of(CONV, timesteps=4), "unknown key 'timesteps', did you mean 'time_steps'?"),
        (of(), "0 layers"),
        (of(layers={}), "layers: a list"),
        (of(layers=[CONV] * 10_001), "layers: a list of 1..10000"),
        (of(CONV, time_steps=0), "time_steps = 0"),
        (of(CONV, time_steps=2**16 + 1), "time_steps = 65537"),
        (of(CONV, time_steps=True), "time_steps = True"),
        (of(CONV, time_steps="4"), "time_steps = '4'"),
        (of(CONV, time_steps=2.0), "time_steps = 2.0"),
        (of(7), "layer0: a table is needed, not 7"),
        (of(CONV, {"in_channels": 1}), "layer1: missing ['kind']"),
        (of({"kind": "conv", "in_channels": 1}), "layer0: missing ['out_channels']"),
        (of({**CONV, "kind": "pool"}), "kind = 'pool', one of conv, linear"),
        (of({**CONV, "kind": 1}), "kind and name must be text"),
        (of({**CONV, "name": 1}), "kind and name must be text"),
        (of({**CONV, "kernal": 3}), "did you mean 'kernel'"),
        (of({**CONV, "in_features": 3}), "unknown key 'in_features'"),
        (of({**CONV, "in_channels": 0}), "in_channels = 0"),
        (of({**CONV, "out_channels": -1}), "out_channels = -1"),
        (of({**CONV, "out_channels": None}), "out_channels = None"),
        (of({**CONV, "kernel": 2.0}), "kernel = 2.0"),
        (of({**CONV, "stride": "1"}), "stride = '1'"),
        (of({**CONV, "in_size": 2**24 + 1}), "in_size = 16777217"),
        (of({**CONV, "out_size": [8]}), "out_size = [8]"),
        (of({**CONV, "pool": 2}), "pool = 2, a whole number in 1..1"),
        (of({**CONV, "weight_bits": 33}), "weight_bits = 33"),
        (of({**CONV, "spike_rate": 1.5}), "spike_rate = 1.5, a share"),
        (of({**CONV, "spike_rate": float("nan")}), "spike_rate = nan"),
        (of({**CONV, "spike_rate": True}), "spike_rate = True"),
        (of({**CONV, "spike_rate": "0.5"}), "spike_rate = '0.5'"),
        (of({**CONV, "parameters": 215}), "parameters = 215, a whole number in 216.."),
        (of({**CONV, "groups": 2}), "groups = 2, a whole number in 1..1"),
        (of({**CONV, "in_channels": 4, "groups": 3}), "groups = 3, a divisor"),
        (of({**CONV, "out_size": 4}), "out_size = 4, a whole number in 1..3"),
        (of({**CONV, "input_bits": 0}), "input_bits = 0"),
        (of({**CONV, "once": 1}), "once = 1, true or false"),
        (of({**CONV, "neurons": -1}), "neurons = -1"),
        (of({**CONV, "input_adds": 0.5}), "input_adds = 0.5"),
        (of({**CONV, "spike_rate": []}), "spike_rate = ()"),
        (of({**CONV, "spike_rate": [0.1, 2]}), "spike_rate = (0.1, 2)"),
        (of({**CONV, "spike_rate": [0.1, 0.2]}), "spike_rate = (0.1, 0.2), one rate, or 4"),
        (of({**CONV, "sources": [1]}), "sources = (1,)"),
        (of({**CONV, "sources": ["b"]}), "names of layers before it, not 'b'"),
        (of(CONV, CONV), "layer 'layer1': in_channels = 3, 8, the channels of 'layer0'"),
        (of(CONV, {**CONV, "in_channels": 8, "in_size": 2}), "in_size = 2, 1, the map of 'layer0'"),
        (of(CONV, {"kind": "linear", "in_features": 12, "out_features": 2}), "in_channels = 12"),
        (of(CONV, {"kind": "linear", "in_features": 32, "out_features": 2}), "in_channels = 32"),
        (of({**CONV, "name": "a"}, {**CONV, "name": "a"}), "layer name 'a' is given twice"),
    ],
)
def test_wrong_layer_lists_name_the_key(data, message):
    with pytest.raises(WorkloadError) as caught:
        Workload.from_json(data)
    assert message in str(caught.value)


def test_spike_rates_by_name():
    next_ = {**CONV, "in_channels": 8}
    workload = Workload.from_json(of(CONV, next_)).with_spike_rates({"layer1": 0.25})
    assert [layer.spike_rate for layer in workload.layers] == [1.0, 0.25]
    assert [layer.spike_rate for layer in workload.at_rate(0).layers] == [0, 0]
    with pytest.raises(WorkloadError, match=r"spike rates for \['layer2'\]"):
        workload.with_spike_rates({"layer2": 0.5})
    with pytest.raises(WorkloadError, match="spike_rate = 2"):
        workload.at_rate(2)


def conv(name, c_in, c_out, size, *sources, **more):
    return Layer(
        name, "conv", c_in, c_out, kernel=3, in_size=size, out_size=size, sources=sources, **more
    )


def test_only_what_never_changes_is_multiplied_once():
    """A layer that reads spikes is multiplied in every time step, whatever its list says."""
    still = conv("a", 3, 8, 4, once=True)
    assert Workload((still, conv("b", 8, 8, 4, "a", once=True)), 2).layers[1].once
    for layers in (
        (conv("a", 3, 8, 4), conv("b", 8, 8, 4, "a", once=True)),
        (still, replace(still, name="b", in_channels=8, feedback=("a",))),
    ):
        with pytest.raises(WorkloadError, match="layer 'b': once = True, false for a layer that"):
            Workload(layers, 2)


def test_branches_meet_by_sum_or_by_concatenation():
    """Two maps of 8 channels are read as 8 (added) or as 16 (side by side), and as nothing else."""
    a, b = conv("a", 3, 8, 4), conv("b", 3, 8, 4)
    for channels in (8, 16):
        graph = Workload((a, b, conv("c", channels, 2, 4, "a", "b")), 1)
        assert graph.predecessors == ((), (), (0, 1))
    with pytest.raises(WorkloadError, match="in_channels = 9, 8 or 16"):
        Workload((a, b, conv("c", 9, 2, 4, "a", "b")), 1)
    wide = conv("b", 3, 12, 4)
    with pytest.raises(WorkloadError, match="in_channels = 8, 20, the channels"):
        Workload((a, wide, conv("c", 8, 2, 4, "a", "b")), 1)


def test_an_unstated_pooling_is_reported():
    graph = Workload((conv("a", 3, 8, 8), conv("b", 8, 8, 4, "a")), 1)
    assert graph.unnamed_poolings == [
        "b reads 16 of the 64 pixels of a: a pooling that no layer names costs nothing"
    ]
    assert Workload((conv("a", 3, 8, 8, pool=2), conv("b", 8, 8, 4, "a")), 1).unnamed_poolings == []


def test_a_linear_layer_reads_a_square_of_the_map():
    """8 channels on 6x6 pixels, pooled to any smaller square."""
    for side in (1, 2, 3, 6):
        Workload((conv("a", 3, 8, 6), Layer("f", "linear", 8 * side**2, 10)), 1)
    for features in (7, 16, 8 * 49):
        with pytest.raises(WorkloadError, match=f"in_channels = {features}"):
            Workload((conv("a", 3, 8, 6), Layer("f", "linear", features, 10)), 1)


def test_a_depthwise_convolution_by_hand():
    """Eight groups of one channel: nine inputs an output, 72 weights."""
    layer = Layer("d", "conv", 8, 8, kernel=3, groups=8, in_size=4, out_size=4)
    assert (layer.rows, layer.weights) == (9, 72)
