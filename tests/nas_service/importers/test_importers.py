"""The same network as torch module, as NIR graph and as layer list gives the same workload."""

import itertools
import json
from dataclasses import replace

import h5py
import nir
import norse.torch as norse
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hw_models import Layer, Workload, WorkloadError, load_profile
from nas_service.importers import from_nir, load_workload
from nas_service.importers.torch_module import from_module
from nas_service.snn.network import Network
from nas_service.snn.trace import trace
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGE_NAMES, Cell
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


def same_names(workload):
    """The layers under names l0, l1, ... and all at one spike rate: what a format cannot say."""
    names = {layer.name: f"l{i}" for i, layer in enumerate(workload.layers)}
    layers = (
        replace(x, name=names[x.name], sources=tuple(names[s] for s in x.sources or ()))
        for x in workload.layers
    )
    return Workload(tuple(layers), workload.time_steps).at_rate(0.25)


def test_one_network_three_ways(tmp_path):
    """b reads means of 2x2 spikes: values 0..4, three bits."""
    a, b, c, d = (replace(x, parameters=x.weights) for x in BY_HAND)
    by_hand = Workload((a, replace(b, input_bits=3), c, d), 4)
    nir.write(str(tmp_path / "net.nir"), a_graph())
    module = a_module()
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):  # so that every layer spikes, not always
            part.weight.data.uniform_(-20, 30)
    (tmp_path / "net.json").write_text(json.dumps(by_hand.to_json()))
    found = [
        load_workload(tmp_path / "net.nir", 4),
        from_module(module, (torch.rand(3, 2, 8, 8) > 0.5).float(), 4),
        load_workload(tmp_path / "net.json"),
    ]
    assert found[1].layers[3].spike_rate > 0.1
    assert [same_names(w) for w in found] == [same_names(by_hand)] * 3
    costs = [CHIP.estimate(same_names(w)).metrics() for w in found]
    assert costs == [CHIP.estimate(same_names(by_hand)).metrics()] * 3
    assert load_workload(tmp_path / "net.json", 7).time_steps == 7


class SkipNet(nn.Module):
    """Spikes of a and b meet in front of c."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.b, self.c = (nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(2))
        self.a_lif, self.b_lif, self.c_lif = (norse.LIFBoxCell() for _ in range(3))
        for part in (self.a, self.b, self.c):
            part.weight.data.fill_(20.0)

    def forward(self, x):
        a, _ = self.a_lif(self.a(x))
        b, _ = self.b_lif(self.b(a))
        return self.c_lif(self.c(a + b))[0]


def image(channels, side):
    return nir.Input({"input": np.array([channels, side, side])})


def graph_of(nodes, *paths):
    """A graph of which each path names nodes that read each other."""
    edges = [edge for path in paths for edge in itertools.pairwise(path.split())]
    return nir.NIRGraph(nodes, edges, type_check=False)


def test_a_skip_costs_its_sum_in_every_format():
    """4 channels of 8 x 8 are added in front of c: 256 additions."""
    nodes = {"in": image(2, 8), "a": conv(4, 2, 8), "a_lif": lif(4, 8, 8), "b": conv(4, 4, 8)}
    nodes |= {"b_lif": lif(4, 8, 8), "c": conv(4, 4, 8), "c_lif": lif(4, 8, 8)}
    graph = graph_of(nodes, "in a a_lif b b_lif c c_lif", "a_lif c")
    shape = {"in_size": 8, "out_size": 8, "neurons": 256}
    layers = (
        Layer("a", "conv", 2, 4, 3, **shape, parameters=72, sources=()),
        Layer("b", "conv", 4, 4, 3, **shape, parameters=144, sources=("a",)),
        Layer("c", "conv", 4, 4, 3, **shape, parameters=144, sources=("a", "b"), input_adds=256),
    )
    seen = from_module(SkipNet(), torch.ones(1, 2, 8, 8), 3).at_rate(0.25)
    by_hand = Workload(layers, 3).at_rate(0.25)
    read = from_nir(graph, 3, 0.25)
    assert read.layers[2].input_bits == 2  # 0, 1 or 2 spikes
    for found in (seen, read):
        bits = [replace(x, input_bits=1) for x in found.layers]
        assert Workload(tuple(bits), 3) == by_hand


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


def pool(side, stride=None, padding=0, kind=nir.AvgPool2d):
    return kind(*(np.array([n, n]) for n in (side, stride or side, padding)))


def test_a_pooling_on_one_of_two_branches_is_the_reader_s():
    """b reads 8 x 8, c the 4 x 4 means: 3 additions for each of 4 channels of 4 x 4, before c."""
    nodes = {"in": image(2, 8), "a": conv(4, 2, 8), "p": pool(2), "b": conv(4, 4, 8, stride=2)}
    nodes |= {"c": conv(4, 4, 4), "d": conv(4, 4, 4)}
    found = from_nir(graph_of(nodes, "in a p c d", "a b d"), 2)
    got = {x.name: (x.pool, x.input_adds, x.sources) for x in found.layers}
    assert got == {
        "a": (1, 0, ()),
        "b": (1, 0, ("a",)),
        "c": (1, 3 * 4 * 16, ("a",)),
        "d": (1, 4 * 16, ("b", "c")),
    }


def test_poolings_in_a_row_and_overlapping_ones():
    """2x2 twice is 4x4 of the layer; 3x3 at a stride of 1 costs 8 additions a value."""
    nodes = {"in": image(2, 8), "a": conv(4, 2, 8), "p": pool(2)}
    twice = nodes | {"q": pool(2, kind=nir.SumPool2d), "b": conv(4, 4, 2)}
    found = from_nir(graph_of(twice, "in a p q b"), 2)
    assert [(x.pool, x.input_adds, x.in_size) for x in found.layers] == [(4, 0, 8), (1, 0, 2)]
    nodes |= {"p": pool(3, 1, 1), "b": conv(4, 4, 8)}
    found = from_nir(graph_of(nodes, "in a p b"), 2)
    assert [(x.pool, x.input_adds) for x in found.layers] == [(1, 0), (1, 8 * 4 * 64)]
    nodes |= {"p": pool(3, 2, 1), "b": conv(4, 4, 4)}  # 4 of the 9 are the pooling of the layer
    found = from_nir(graph_of(nodes, "in a p b"), 2)
    assert [(x.pool, x.input_adds) for x in found.layers] == [(2, 0), (1, 5 * 4 * 16)]


def test_neurons_of_a_graph():
    """An encoder's are the first layer's; two kinds behind one layer add up; none: one each."""
    nodes = {"in": image(2, 8), "code": lif(2, 8, 8), "a": conv(4, 2, 8), "l": lif(4, 8, 8)}
    nodes |= {"m": nir.LI(*(np.ones((4, 8, 8)),) * 3), "b": conv(4, 4, 8)}
    found = from_nir(graph_of(nodes, "in code a l m b"), 2)
    assert [(x.neurons, x.input_bits) for x in found.layers] == [(128 + 512, 1), (0, 8)]
    found = from_nir(graph_of({k: nodes[k] for k in ("in", "a", "b")}, "in a b"), 2)
    assert [x.neurons for x in found.layers] == [None, None]


def test_what_a_graph_does_not_say_is_the_caller_s():
    rates = {"a": 0.5, "c": (0.1, 0.2)}
    found = from_nir(a_graph(), 2, rates, weight_bits=4, input_bits=8)
    assert [x.spike_rate for x in found.layers] == [0.5, 1.0, (0.1, 0.2), 1.0]
    assert [x.input_bits for x in found.layers] == [8, 3, 1, 1]
    assert {x.weight_bits for x in found.layers} == {4}
    for wrong in ({"spike_rate": {"z": 1.0}}, {"spike_rate": 2}, {"input_bits": 0}):
        with pytest.raises(WorkloadError):
            from_nir(a_graph(), 2, **wrong)


def test_inner_graphs_are_opened(tmp_path):
    inner = {"input": image(2, 8), "a": conv(4, 2, 8), "output": nir.Output({"output": [4, 8, 8]})}
    block = graph_of(inner, "input a output")
    outer = {"in": image(2, 8), "block": block, "b": conv(4, 4, 8)}
    nir.write(str(tmp_path / "deep.nir"), graph_of(outer, "in block b"))
    found = from_nir(tmp_path / "deep.nir", 1)
    assert [(x.name, x.sources) for x in found.layers] == [("block.a", ()), ("b", ("block.a",))]
    two = graph_of(inner | {"more": image(2, 8)}, "input a output", "more a")
    with pytest.raises(WorkloadError, match="node 'block': an inner graph of one Input"):
        from_nir(graph_of(outer | {"block": two}, "in block b"), 1)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    side=st.integers(1, 12),
    kernel=st.integers(1, 5),
    stride=st.integers(1, 3),
    padding=st.integers(0, 4),
    depthwise=st.booleans(),
)
def test_a_convolution_s_map_is_torch_s(side, kernel, stride, padding, depthwise):
    """Whatever torch computes is read from a graph with the same sides, or refused with a word."""
    groups = 4 if depthwise else 1
    weight = np.ones((4, 4 // groups, kernel, kernel))
    node = nir.Conv2d((side, side), weight, stride, padding, 1, groups, np.zeros(4))
    graph = graph_of({"in": image(4, side), "a": node}, "in a")
    layer = nn.Conv2d(4, 4, kernel, stride, padding, groups=groups)
    try:
        out = layer(torch.zeros(1, 4, side, side)).shape[-1]
    except RuntimeError:
        out = 0
    if out and padding < kernel:
        (found,) = from_nir(graph, 1).layers
        assert (found.in_size, found.out_size, found.weights) == (side, out, weight.size)
    elif not out:
        with pytest.raises(WorkloadError, match="'a'"):
            from_nir(graph, 1)


def test_a_long_graph_is_read_in_order():
    names = [f"n{k}" for k in range(2000, 0, -1)]
    nodes = {name: nir.Linear(np.ones((2, 2))) for name in sorted(names)}
    nodes["in"] = nir.Input({"input": np.array([2])})
    found = from_nir(graph_of(nodes, " ".join(["in", *names])), 1)
    assert [x.name for x in found.layers] == names


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
            "node 'flat' is a Conv1d",
        ),
        ({"pool": nir.Delay(np.ones(1))}, "node 'pool' is a Delay"),
        ({"pool": pool(9)}, "node 'pool': a window of 9 on a map of 8"),
        ({"pool": pool(0, 1)}, "node 'pool': kernel_size"),
        ({"a": conv(8, 2, 8, padding=-1)}, "node 'a': padding"),
        ({"a": conv(8, 2, 8, stride=(1.5, 1.5))}, "node 'a': stride"),
        ({"a": conv(8, 2, 8, padding="same", stride=2)}, "node 'a': padding = 'same'"),
        ({"a": conv(8, 2, 7)}, "node 'a': input_shape"),
        ({"b": conv(8, 1, 4, groups=0)}, "node 'b': groups"),
        ({"d": nir.Linear(np.ones((2, 10, 64)))}, "node 'd': weights .* 2 dimensions"),
        ({"d": nir.Affine(np.ones((10, 64)), np.ones(9))}, "node 'd': 9 biases of 10"),
        ({"a_lif": lif(7)}, "node 'a_lif' .LIF.: .7. neurons for the values .8, 8, 8."),
        ({"input": nir.Input({"input": None})}, "node 'input': shape = None"),
        ({"input": nir.Input({"input": np.array([2, 8, 7])})}, "node 'a': map"),
        ({"input": nir.Input({"input": np.array([2, -8, -8])})}, "node 'input': shape"),
        ({"flat": nir.Scale(np.arange(64.0).reshape(16, 2, 2))}, "node 'flat': one scale"),
    ],
)
def test_graphs_that_cannot_lie_on_crossbars(changes, said):
    with pytest.raises(WorkloadError, match=said):
        from_nir(graph_with(**changes), 4)


def test_a_scale_for_each_channel_goes_into_the_weights():
    scale = nir.Scale(np.repeat(np.arange(16.0), 4).reshape(16, 2, 2))
    assert from_nir(graph_with(flat=scale), 4) == from_nir(a_graph(), 4)


def test_graphs_that_are_none():
    alone = graph_of({"in": image(2, 8), "a": conv(4, 2, 8), "b": conv(4, 4, 8)}, "in a")
    loop = {"in": image(4, 8), "a": conv(4, 4, 8), "l": lif(4, 8, 8)}
    for graph, said in [
        (object(), "a NIRGraph is needed"),
        (graph_of({"in": image(2, 8)}), "no layer with weights"),
        (graph_of({"in": image(2, 8)}, "in z"), r"the nodes \['z'\]"),
        (alone, "node 'b' .Conv2d. reads nothing"),
        (graph_of(loop, "in a l a"), "read each other"),
    ]:
        with pytest.raises(WorkloadError, match=said):
            from_nir(graph, 4)


def changed(path, change):
    nir.write(str(path), a_graph())
    with h5py.File(path, "a") as file:
        change(file["node/nodes/a"])
    return path


def another_kind(node):
    del node["type"]
    node["type"] = "MaxPool2d"


def outside(node):
    del node["weight"]
    node["weight"] = h5py.ExternalLink("other.nir", "/node/nodes/a/weight")


def outside_storage(node):
    del node["weight"]
    node.create_dataset("weight", (8, 2, 3, 3), "f8", external=[("other.raw", 0, 1152)])


def huge(node):
    del node["weight"]
    node.create_dataset("weight", (2**16, 2**13, 3, 3), "f4", chunks=(8, 8, 3, 3))


def endless(node):
    node["metadata/round"] = node


def words(node):
    del node["weight"]
    node["weight"] = "many"


def nothing(node):
    del node["stride"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (another_kind, "node 'a' is a MaxPool2d"),
        (outside, "/node/nodes/a/weight is a link"),
        (outside_storage, "weight lies in another file"),
        (huge, "more than 1073741824 bytes when unpacked"),
        (endless, "groups more than 64 deep"),
        (words, "net.nir"),
        (nothing, "net.nir"),
    ],
)
def test_files_that_strangers_changed(tmp_path, change, said):
    path = changed(tmp_path / "net.nir", change)
    with pytest.raises(WorkloadError, match=said):
        load_workload(path, 4)


def test_truncated_files(tmp_path):
    nir.write(str(tmp_path / "net.nir"), a_graph())
    data = (tmp_path / "net.nir").read_bytes()
    for length in range(0, len(data), len(data) // 12):
        (tmp_path / "cut.nir").write_bytes(data[:length])
        with pytest.raises(WorkloadError, match=r"cut\.nir: no NIR graph"):
            load_workload(tmp_path / "cut.nir", 4)


def test_files_that_are_no_workload(tmp_path):
    for name, text in [("a.nir", "no graph"), ("b.json", "{"), ("c.json", "[]")]:
        (tmp_path / name).write_text(text)
        with pytest.raises(WorkloadError):
            load_workload(tmp_path / name, 4)
    with pytest.raises(WorkloadError, match=r"suffix '\.onnx', one of \.json, \.nir"):
        load_workload(tmp_path / "a.onnx", 4)
    with pytest.raises(WorkloadError, match="time steps"):
        load_workload(tmp_path / "a.nir")
    with pytest.raises(WorkloadError, match=r"none\.json"):
        load_workload(tmp_path / "none.json")


class Scaled(nn.Module):
    """A matrix that is multiplied elementwise and summed, beside a convolution."""

    def __init__(self):
        super().__init__()
        self.a, self.w = nn.Conv2d(1, 1, 1), nn.Parameter(torch.ones(8, 8))

    def forward(self, x):
        return (self.a(x) * self.w).sum()


@pytest.mark.parametrize(
    ("module", "said"),
    [
        (
            nn.Sequential(
                nn.Conv2d(1, 1, 1), nn.Flatten(), nn.Unflatten(1, (8, 8)), nn.Linear(8, 2)
            ),
            "module '3': 8 vectors for 1 images",
        ),
        (Scaled(), r"modules \['module'\]: weights that the example did not reach"),
        (nn.Sequential(nn.Conv2d(3, 1, 1)), "does not pass"),
    ],
)
def test_weights_are_never_dropped(module, said):
    with pytest.raises(WorkloadError, match=said):
        from_module(module, torch.rand(1, 1, 8, 8), 1)


def test_an_example_that_is_no_tensor_and_one_without_gradients():
    with pytest.raises(WorkloadError, match="a tensor"):
        from_module(nn.Conv2d(1, 1, 1), [1.0], 1)
    with torch.inference_mode():
        found = from_module(nn.Conv2d(1, 2, 1), torch.rand(1, 1, 8, 8), 1)
    assert found.layers[0].out_channels == 2
