"""Traces: layers, shapes and parameters of small networks, counted by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_service.errors import SpecError
from nas_service.snn.network import Network
from nas_service.snn.trace import recorded_inputs, spike_rates, trace
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGE_NAMES, Cell
from nas_service.spaces.operations import OPERATIONS
from nas_service.spaces.task import Task


def cell(**edges):
    return Cell(tuple(edges.get(f"e{name}", "zeroize") for name in EDGE_NAMES))


def test_coloured_network_by_hand():
    """RGB 12x12, one cell of 6 channels: 5x5 and 3x3 convolution; 6 x 3 x 3 inputs, 2 x 4 votes."""
    c = cell(e01="conv5x5", e13="conv3x3", e03="maxpool3x3")
    a = Architecture((c,), channels=6, head_pool=4, hidden=20, time_steps=7, weight_bits=5)
    workload = trace(a, Task(3, 12, 4), votes=2)
    result = [
        (x.name, x.kind, x.in_channels, x.out_channels, x.kernel, x.in_size, x.out_size)
        for x in workload.layers
    ]
    assert result == [
        ("stem", "conv", 3, 6, 3, 12, 12),
        ("cell0.edge01", "conv", 6, 6, 5, 12, 12),
        ("cell0.edge13", "conv", 6, 6, 3, 12, 12),
        ("hidden", "linear", 54, 20, 1, 1, 1),
        ("readout", "linear", 20, 8, 1, 1, 1),
    ]
    own = [162 + 12, 900 + 12, 324 + 12, 12 + 1080, 160 + 8]
    assert [x.parameters for x in workload.layers] == own
    assert workload.parameters == sum(own)
    assert workload.time_steps == 7
    assert workload.unnamed_poolings == []  # the hidden layer is charged for the pooling
    assert {x.weight_bits for x in workload.layers} == {5}


def test_reductions_double_channels_and_halve_maps():
    a = Architecture((cell(e03="skip"),) * 3, 4, 1, 16, 2, 8)
    layers = {x.name: x for x in trace(a, Task(1, 8, 10)).layers}
    assert list(layers) == ["stem", "reduction0", "reduction1", "hidden", "readout"]
    shapes = [(x.in_channels, x.out_channels, x.in_size, x.map_size) for x in layers.values()]
    assert shapes[1:3] == [(4, 8, 8, 4), (8, 16, 4, 2)]
    assert layers["hidden"].in_channels == 16 * 2 * 2


def test_dead_edges_hold_nothing():
    alive = cell(e03="conv1x1")
    dead = cell(e03="conv1x1", e01="conv5x5", e23="conv3x3")
    counts = [
        trace(Architecture((c,), 4, 2, 16, 2, 8), Task(1, 8, 10)).parameters for c in (alive, dead)
    ]
    assert counts[0] == counts[1] == (36 + 8) + (16 + 8) + (8 + 64 * 16) + 170


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.lists(st.tuples(*[st.sampled_from(sorted(OPERATIONS))] * 6), min_size=1, max_size=3))
def test_parameters_are_the_network_s(cells):
    a = Architecture(tuple(map(Cell, cells)), 3, 2, 8, 2, 8)
    network = Network(a, Task(1, 8, 10))
    assert trace(a, Task(1, 8, 10)).parameters == sum(p.numel() for p in network.parameters())


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(SpecError, match="head_pool = 3"):
        trace(Architecture((cell(e03="skip"),), 4, 3, 16, 2, 8), Task(1, 8, 10))


LIVELY = cell(e01="conv3x3", e02="sepconv3x3", e12="back:conv1x1", e13="conv3x3_dilated2")


@pytest.mark.parametrize("events", [False, True])
def test_recorded_inputs_have_the_spike_rates(events):
    """With a backward edge, whose first step is empty, a dilated one, and pooling by 2."""
    torch.manual_seed(1)
    a = Architecture((LIVELY,), 4, 2, 16, 3, 8, threshold=0.1)
    network = Network(a, Task(1, 8, 10, events=events))
    pixels = torch.randint(0, 300, (3, 3, 1, 8, 8) if events else (3, 1, 8, 8))
    images = pixels / 100
    rates = spike_rates(network, images)
    recorded = recorded_inputs(network, images, pixels.numpy())
    assert rates.keys() == recorded.keys()
    assert rates["cell0.edge21"][0] == 0 < rates["cell0.edge21"][2] < 1
    for name, x in recorded.items():
        assert x.maps == (9 if events or name != "stem" else 3)
        any_bit = np.bitwise_or.reduce(x.bits)
        values = np.moveaxis(np.unpackbits(any_bit, axis=-1, count=x.maps), -1, 0)
        own = values.reshape(-1, 3, *values.shape[1:]).mean((1, 2, 3, 4))
        assert own.tolist() == pytest.approx(np.atleast_1d(rates[name]).tolist())
    assert recorded["hidden"].bits.shape[0] == 3  # sums of a window of 4
    assert [n for n, x in recorded.items() if x.dilation == 2] == ["cell0.edge13"]
    bits = np.unpackbits(recorded["stem"].bits, axis=-1, count=recorded["stem"].maps)
    values = (bits * 2 ** np.arange(8)[:, None, None, None, None]).sum(0)
    frames = pixels.transpose(0, 1).flatten(0, 1) if events else pixels
    assert np.moveaxis(values, -1, 0).tolist() == frames.clamp(max=255).tolist()


def test_rates_are_counted_at_the_matrix():
    """A stem sees pixels, half of which are black; nothing reaches a classifier without a path."""
    network = Network(Architecture((cell(e01="skip"),), 4, 2, 16, 2, 8), Task(1, 8, 10))
    images = torch.zeros(2, 1, 8, 8)
    images[:, :, ::2] = 1
    assert spike_rates(network, images) == {
        "stem": 0.5,
        "hidden": (0.0, 0.0),
        "readout": (0.0, 0.0),
    }
