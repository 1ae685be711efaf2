"""The same network as torch module, as NIR graph and as layer list gives the same workload."""

import itertools
import json
from dataclasses import replace

import nir
import norse.torch as norse
import numpy as np
import pytest
import torch
from torch import nn

from hw_models import Layer, Workload, WorkloadError, load_profile
from nas_service.imports import from_nir, load_workload
from nas_service.snn.module_trace import from_module
from nas_service.snn.network import Network
from nas_service.snn.trace import trace
from nas_service.spaces.architecture import EDGE_NAMES, Architecture, Cell
from nas_service.spaces.task import Task

CHIP = load_profile("corrected")


def a_module():
    torch.manual_seed(0)
    return norse.SequentialState(
        nn.Conv2d(2, 8, 3, padding=1, bias=False),
        norse.LIFBoxCell(),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        norse.LIFBoxCell(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        norse.LIFBoxCell(),
        nn.Flatten(),
        nn.Linear(64, 10, bias=False),
        norse.LIFBoxCell(),
    )


def lif(*shape):
    ones = np.ones(shape)
    return nir.LIF(tau=ones, r=ones, v_leak=0 * ones, v_threshold=ones)


def conv(c_out, c_in, side, **more):
    given = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1, **more}
    weight = np.ones((c_out, c_in, 3, 3))
    return nir.Conv2d((side, side), weight, bias=np.zeros(c_out), **given)


def a_graph():
    """The module above; convolutions of NIR always have a bias."""
    nodes = {
        "input": nir.Input({"input": np.array([2, 8, 8])}),
        "a": conv(8, 2, 8),
        "a_lif": lif(8, 8, 8),
        "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "b": conv(8, 1, 4, groups=8),
        "b_lif": lif(8, 4, 4),
        "c": conv(16, 8, 4, stride=2),
        "c_lif": lif(16, 2, 2),
        "flat": nir.Flatten({"input": np.array([16, 2, 2])}, 0, -1),
        "d": nir.Linear(np.ones((10, 64))),
        "d_lif": lif(10),
        "output": nir.Output({"output": np.array([10])}),
    }
    names = list(nodes)
    edges = list(itertools.pairwise(names))
    return nir.NIRGraph(nodes, edges, type_check=False)  # its own check knows no groups


BY_HAND = [
    Layer("a", "conv", 2, 8, 3, in_size=8, out_size=8, pool=2, neurons=512, sources=()),
    Layer("b", "conv", 8, 8, 3, groups=8, in_size=4, out_size=4, neurons=128, sources=("a",)),
    Layer("c", "conv", 8, 16, 3, stride=2, in_size=4, out_size=2, neurons=64, sources=("b",)),
    Layer("d", "linear", 64, 10, neurons=10, sources=("c",)),
]


def plain(workload):
    """Layers without what the sources of a workload tell differently: names, rates, biases."""
    names = {layer.name: f"l{i}" for i, layer in enumerate(workload.layers)}
    return [
        replace(
            x,
            name=names[x.name],
            sources=tuple(sorted(names[s] for s in x.sources or ())),
            spike_rate=1.0,
            parameters=None,
            input_bits=1,
        )
        for x in workload.layers
    ]


def test_one_network_three_ways(tmp_path):
    by_hand = Workload(tuple(BY_HAND), 4)
    nir.write(str(tmp_path / "net.nir"), a_graph())
    graph = load_workload(tmp_path / "net.nir", 4)
    module = from_module(a_module(), (torch.rand(3, 2, 8, 8) > 0.5).float(), 4)
    (tmp_path / "net.json").write_text(json.dumps(by_hand.to_json()))
    listed = load_workload(tmp_path / "net.json")
    assert plain(graph) == plain(module) == plain(listed) == plain(by_hand)
    costs = [CHIP.estimate(Workload(tuple(plain(w)), 4)).metrics() for w in (graph, module, listed)]
    assert costs[0] == costs[1] == costs[2]
    assert load_workload(tmp_path / "net.json", 7).time_steps == 7


def test_rates_and_codings_are_measured():
    """Binary inputs of which a quarter spikes, means of 2x2 spikes, and pixels."""
    x = torch.zeros(1, 1, 4, 4)
    x[..., ::2, ::2] = 1
    conv = nn.Conv2d(1, 2, 3, padding=1, bias=False)
    (layer,) = from_module(conv, x, 1).layers
    assert (layer.input_bits, layer.spike_rate) == (1, 0.25)
    (layer,) = from_module(nn.Sequential(nn.AvgPool2d(2), conv), x, 1).layers
    assert (layer.input_bits, layer.spike_rate, layer.in_size) == (3, 1.0, 2)
    (layer,) = from_module(conv, x * 0.3 - 0.1, 1).layers
    assert (layer.input_bits, layer.spike_rate) == (8, 1.0)


CELLS = [
    ("conv3x3",) * 6,
    ("conv3x3", "conv1x1", "skip", "conv1x1", "avgpool3x3", "conv3x3"),
    ("skip", "zeroize", "zeroize", "conv5x5", "zeroize", "skip"),
]


@pytest.mark.parametrize("names", CELLS)
def test_our_own_networks_are_seen_as_traced(names):
    """Shapes and graph from operations alone, against the trace that knows the architecture."""
    assert len(names) == len(EDGE_NAMES)
    a = Architecture((Cell(names),) * 2, 6, 2, 20, 3, 8)
    known = trace(a, Task(1, 8, 10))
    seen = from_module(Network(a, Task(1, 8, 10)), torch.rand(2, 1, 8, 8), 3)
    shapes = (
        "kind",
        "in_channels",
        "out_channels",
        "kernel",
        "stride",
        "in_size",
        "out_size",
    )
    for x, y in zip(seen.layers, known.layers, strict=True):
        assert [getattr(x, s) for s in shapes] == [getattr(y, s) for s in shapes]
    assert seen.predecessors == known.predecessors


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = (nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(2))
        self.head = nn.Linear(8 * 4, 3)

    def forward(self, x):
        x = self.a(x)
        y = self.b(x.relu()) + x
        both = torch.cat([x, y], 1)
        return self.head(nn.functional.adaptive_avg_pool2d(both, 2).flatten(1))


def test_skips_and_concatenations():
    workload = from_module(Residual(), torch.rand(2, 4, 6, 6), 1)
    assert [x.sources for x in workload.layers] == [(), ("a",), ("a", "b")]
    assert workload.layers[2].input_adds == 4 * 36 + 8 * 8 * 4  # the sum, and 8 windows of 3x3...


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(1, 1, 3, padding=1)

    def forward(self, x):
        return self.a(self.a(x))


class Attention(nn.Module):
    def forward(self, x):
        return x[:, 0] @ x[:, 0].transpose(1, 2)


class Idle(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)

    def forward(self, x):
        return self.a(x)


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (Twice(), "module 'a': it is used twice"),
        (Attention(), "products of two signals"),
        (Idle(), r"modules \['b'\]: weights that the example did not reach"),
        (nn.Sequential(nn.Conv2d(1, 1, (3, 1))), "module '0': maps .* square ones are needed"),
        (nn.Sequential(nn.Conv2d(1, 1, 3, dilation=2)), "module '0': only plain convolutions"),
        (nn.Sequential(nn.ConvTranspose2d(1, 1, 3)), "module '0': only plain convolutions"),
        (nn.LSTM(4, 4), "recurrent weights"),
        (nn.ReLU(), "no layer with weights"),
    ],
)
def test_modules_that_cannot_lie_on_crossbars(module, said):
    with pytest.raises(WorkloadError, match=said):
        from_module(module, torch.rand(1, 1, 8, 8), 1)
    assert module.training


def graph_with(**changes):
    graph = a_graph()
    nodes = {**graph.nodes, **changes}
    return nir.NIRGraph(nodes, graph.edges, type_check=False)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"a": conv(8, 2, 8, dilation=2)}, "node 'a': dilation"),
        ({"a": conv(8, 2, 8, stride=(1, 2))}, "node 'a': stride"),
        ({"c": conv(16, 9, 4, stride=2)}, "in_channels|groups"),
        ({"d": nir.Linear(np.ones((10, 63)))}, "node 'd': 63 inputs"),
        (
            {
                "d": nir.Linear(np.ones((10, 64))),
                "flat": nir.Conv1d(4, np.ones((1, 1, 3)), 1, 0, 1, 1, np.zeros(1)),
            },
            "is a Conv1d",
        ),
    ],
)
def test_graphs_that_cannot_lie_on_crossbars(changes, said):
    with pytest.raises(WorkloadError, match=said):
        from_nir(graph_with(**changes), 4)


def test_files_that_are_no_workload(tmp_path):
    for name, text in [("a.nir", "no graph"), ("b.json", "{"), ("c.json", "[]")]:
        (tmp_path / name).write_text(text)
        with pytest.raises(WorkloadError):
            load_workload(tmp_path / name, 4)
    with pytest.raises(WorkloadError, match="time steps"):
        load_workload(tmp_path / "a.nir")
    with pytest.raises(WorkloadError, match=r"none\.json"):
        load_workload(tmp_path / "none.json")
