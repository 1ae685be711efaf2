"""Layer lists: what is right comes back from JSON, what is wrong names layer, key and remedy."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_models import Layer, Workload, WorkloadError

CONV = {"kind": "conv", "in_channels": 3, "out_channels": 8, "kernel": 3}
LAYERS = st.builds(
    Layer,
    name=st.just(""),
    kind=st.sampled_from(["conv", "linear"]),
    in_channels=st.integers(1, 512),
    out_channels=st.integers(1, 512),
    kernel=st.integers(1, 7),
    in_size=st.integers(1, 64),
    out_size=st.integers(1, 64),
    weight_bits=st.integers(1, 32),
    spike_rate=st.floats(0, 1),
)


def of(*layers, **top):
    return {"time_steps": 4, "layers": list(layers)} | top


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.lists(LAYERS, min_size=1, max_size=4), st.integers(1, 2**16))
def test_comes_back_from_json(layers, steps):
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
    assert (layer.rows, layer.weights, layer.pooled_size) == (27, 216, 4)


@pytest.mark.parametrize(
    ("data", "said"),
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
        (of({**CONV, "kind": 1}), "kind and name are words"),
        (of({**CONV, "name": 1}), "kind and name are words"),
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
        (of({**CONV, "name": "a"}, {**CONV, "name": "a"}), "layer names ['a'] stand twice"),
    ],
)
def test_wrong_layer_lists_name_the_key(data, said):
    with pytest.raises(WorkloadError) as caught:
        Workload.from_json(data)
    assert said in str(caught.value)


def test_spike_rates_by_name():
    workload = Workload.from_json(of(CONV, CONV)).with_spike_rates({"layer1": 0.25})
    assert [layer.spike_rate for layer in workload.layers] == [1.0, 0.25]
    assert [layer.spike_rate for layer in workload.at_rate(0).layers] == [0, 0]
    with pytest.raises(WorkloadError, match=r"spike rates for \['layer2'\]"):
        workload.with_spike_rates({"layer2": 0.5})
    with pytest.raises(WorkloadError, match="spike_rate = 2"):
        workload.at_rate(2)
