"""Workloads of NIR graphs: poolings, neurons, inner graphs, and what is refused."""

import nir
import numpy as np
import pytest
from nir_graphs import a_graph, conv, graph_of, graph_with, image, lif, linear, pool

from hw_models import WorkloadError, load_profile
from nas_service.importers import from_nir
from nas_service.importers.nir_graph import read_layers


class Sigmoid:
    """A node that no version of nir has."""


def test_a_pooling_on_one_of_two_branches_is_the_reader_s():
    """b reads 8 x 8, c the 4 x 4 means: 3 additions for each of 4 channels of 4 x 4, before c."""
    nodes = {"in": image(2, 8), "a": conv(4, 2, 8), "p": pool(2), "b": conv(4, 4, 8, stride=2)}
    nodes |= {"c": conv(4, 4, 4), "d": conv(4, 4, 4)}
    result = from_nir(graph_of(nodes, "in a p c d", "a b d"), 2)
    got = {x.name: (x.pool, x.input_adds, x.sources) for x in result.layers}
    assert got == {
        "a": (1, 0, ()),
        "b": (1, 0, ("a",)),
        "c": (1, 3 * 4 * 16, ("a",)),
        "d": (1, 4 * 16, ("b", "c")),
    }


def test_poolings_in_a_row_and_overlapping_ones():
    """2x2 twice is 4x4 of the layer; what a pooling of 3x3 leaves is said."""
    nodes = {"in": image(2, 8), "a": conv(4, 2, 8), "p": pool(2)}
    twice = nodes | {"q": pool(2, kind=nir.SumPool2d), "b": conv(4, 4, 2)}
    result = from_nir(graph_of(twice, "in a p q b"), 2)
    assert [(x.pool, x.input_adds, x.in_size) for x in result.layers] == [(4, 0, 8), (1, 0, 2)]
    nodes |= {"p": pool(3, 1, 1), "b": conv(4, 4, 8)}
    result = from_nir(graph_of(nodes, "in a p b"), 2)
    got = [(x.pool, x.pooled_size, x.input_adds) for x in result.layers]
    assert got == [(3, 8, 0), (1, None, 0)]
    nodes |= {"p": pool(3, 2, 1), "b": conv(4, 4, 4)}
    result = from_nir(graph_of(nodes, "in a p b"), 2)
    got = [(x.pool, x.pooled_size, x.input_adds) for x in result.layers]
    assert got == [(3, 4, 0), (1, None, 0)]


def test_neurons_of_a_graph():
    """Those before all layers belong to the first; those of two nodes add up; none: one each."""
    nodes = {"in": image(2, 8), "code": lif(2, 8, 8), "a": conv(4, 2, 8), "l": lif(4, 8, 8)}
    nodes |= {"m": nir.LI(*(np.ones((4, 8, 8)),) * 3), "b": conv(4, 4, 8)}
    result = from_nir(graph_of(nodes, "in code a l m b"), 2)
    assert [(x.neurons, x.input_bits) for x in result.layers] == [(128 + 512, 1), (0, 8)]
    result = from_nir(graph_of({k: nodes[k] for k in ("in", "a", "b")}, "in a b"), 2)
    assert [x.neurons for x in result.layers] == [None, None]


def test_missing_values_of_a_graph_come_from_the_caller():
    rates = {"a": 0.5, "c": (0.1, 0.2)}
    result = from_nir(a_graph(), 2, rates, weight_bits=4, input_bits=8)
    assert [x.spike_rate for x in result.layers] == [0.5, 1.0, (0.1, 0.2), 1.0]
    assert [x.input_bits for x in result.layers] == [8, 3, 1, 1]
    assert {x.weight_bits for x in result.layers} == {4}
    for wrong in ({"spike_rate": {"z": 1.0}}, {"spike_rate": 2}, {"input_bits": 0}):
        with pytest.raises(WorkloadError):
            from_nir(a_graph(), 2, **wrong)


def test_inner_graphs_are_opened(tmp_path):
    inner = {"input": image(2, 8), "a": conv(4, 2, 8), "output": nir.Output({"output": [4, 8, 8]})}
    block = graph_of(inner, "input a output")
    outer = {"in": image(2, 8), "block": block, "b": conv(4, 4, 8)}
    nir.write(str(tmp_path / "deep.nir"), graph_of(outer, "in block b"))
    result = from_nir(tmp_path / "deep.nir", 1)
    assert [(x.name, x.sources) for x in result.layers] == [("block.a", ()), ("b", ("block.a",))]
    two = graph_of(inner | {"more": image(2, 8)}, "input a output", "more a")
    with pytest.raises(WorkloadError, match="node 'block': an inner graph of one Input"):
        from_nir(graph_of(outer | {"block": two}, "in block b"), 1)


def test_a_long_graph_is_read_in_order():
    names = [f"n{k}" for k in range(2000, 0, -1)]
    nodes = {name: nir.Linear(np.ones((2, 2))) for name in sorted(names)}
    nodes["in"] = nir.Input({"input": np.array([2])})
    result = from_nir(graph_of(nodes, " ".join(["in", *names])), 1)
    assert [x.name for x in result.layers] == names


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"a": conv(8, 2, 8, dilation=8)}, "node 'a': a kernel of 3 x 3 dilated by 8 x 8 on a map"),
        ({"a": conv(8, 2, 8, stride=(1, 2))}, r"node 'a_lif' .LIF.: 512 neurons for .*8, 8, 4."),
        ({"c": conv(16, 9, 4, stride=2)}, "node 'c': weights for 9 channels, but 'b_lif' gives"),
        ({"d": nir.Linear(np.ones((10, 63)))}, "node 'd': 63 inputs"),
        (
            {
                "d": nir.Linear(np.ones((10, 64))),
                "flat": nir.Conv1d(4, np.ones((1, 1, 3)), 1, 0, 1, 1, np.zeros(1)),
            },
            r"node 'flat': a sequence .C, L. is needed, but 'c_lif' gives .16, 2, 2.",
        ),
        ({"pool": Sigmoid()}, "node 'pool' is a Sigmoid: known are Conv1d, Conv2d"),
        ({"pool": pool(9)}, "node 'pool': a window of 9 x 9 on a map of 8 x 8"),
        ({"pool": pool(0, 1)}, r"node 'pool': kernel_size = .0, 0., integers"),
        ({"a": conv(8, 2, 8, padding=-1)}, r"node 'a': padding = .-1, -1., integers"),
        ({"a": conv(8, 2, 8, stride=(1.5, 1.5))}, "node 'a': stride"),
        ({"a": conv(8, 2, 8, padding="same", stride=2)}, "node 'a': padding = 'same'"),
        ({"a": conv(8, 2, 7)}, "node 'a': input_shape"),
        ({"b": conv(8, 1, 4, groups=0)}, "node 'b': groups"),
        ({"d": nir.Linear(np.ones((2, 10, 64)))}, "node 'd': weights .* 2 dimensions"),
        ({"d": nir.Affine(np.ones((10, 64)), np.ones(9))}, "node 'd': 9 biases of 10"),
        ({"a_lif": lif(7)}, "LIF.: 7 neurons for .8, 8, 8. values: 1, 8 .* or 512 are needed"),
        (
            {"input": nir.Input({"input": None})},
            "node 'input': the graph does not say its shape: add --input 2,8,8 ",
        ),
        (
            {"input": nir.Input({"input": np.array([2, 8, 7])})},
            "node 'a': input_shape = .8, 8., but 'input' gives .2, 8, 7.",
        ),
        ({"input": nir.Input({"input": np.array([2, -8, -8])})}, "node 'input': shape"),
        (
            {"flat": nir.Scale(np.arange(64.0).reshape(16, 2, 2))},
            "node 'flat': 64 factors .* one for each of 16 channels",
        ),
    ],
)
def test_graphs_that_cannot_lie_on_crossbars(changes, message):
    with pytest.raises(WorkloadError, match=message):
        from_nir(graph_with(**changes), 4)


def test_a_scale_for_each_channel_goes_into_the_weights():
    scale = nir.Scale(np.repeat(np.arange(16.0), 4).reshape(16, 2, 2))
    assert from_nir(graph_with(flat=scale), 4) == from_nir(a_graph(), 4)


def test_invalid_graphs_are_refused():
    alone = graph_of({"in": image(2, 8), "a": conv(4, 2, 8), "b": conv(4, 4, 8)}, "in a")
    for graph, message in [
        (object(), "a NIRGraph is needed"),
        (graph_of({"in": image(2, 8)}), "no layer with weights"),
        (graph_of({"in": image(2, 8)}, "in z"), r"the nodes \['z'\]"),
        (alone, "node 'b' .Conv2d. reads nothing"),
        (nir.NIRGraph({"in": image(2, 8)}, [("in",)], type_check=False), "pairs of node names"),
    ]:
        with pytest.raises(WorkloadError, match=message):
            from_nir(graph, 4)


def test_a_pooling_before_two_layers_is_charged_once_and_no_warning_says_it_is_free():
    """b reads 8 x 8; c and d the 4 x 4 means of 4 channels, whose 3 x 64 sums are made once."""
    nodes = {"in": image(2, 8), "a": conv(4, 2, 8), "p": pool(2), "b": conv(4, 4, 8, stride=2)}
    nodes |= {"c": conv(4, 4, 4), "d": conv(4, 4, 4)}
    workload = from_nir(graph_of(nodes, "in a b", "a p c", "p d"), 2)
    assert sorted(x.input_adds for x in workload.layers) == [0, 0, 0, 192]
    assert load_profile("corrected").estimate(workload).warnings == ()


ONES = np.ones(64)
KINDS_OF_NIR = {
    "Affine": nir.Affine(np.ones((64, 64)), ONES),
    "AvgPool2d": pool(2),
    "Conv1d": nir.Conv1d(16, np.ones((4, 4, 3)), 1, 1, 1, 1, np.zeros(4)),
    "Conv2d": conv(4, 4, 4),
    "CubaLI": nir.CubaLI(ONES, ONES, ONES, ONES),
    "CubaLIF": nir.CubaLIF(ONES, ONES, ONES, ONES, ONES),
    "Delay": nir.Delay(ONES),
    "Flatten": nir.Flatten({"input": np.array([4, 4, 4])}, 0),
    "I": nir.I(ONES),
    "IF": nir.IF(ONES, ONES),
    "Input": image(4, 4),
    "LI": nir.LI(ONES, ONES, ONES),
    "LIF": lif(64),
    "Linear": linear(64, 64),
    "NIRGraph": graph_of(
        {"input": image(4, 4), "l": lif(64), "output": nir.Output({"output": np.array([64])})},
        "input l output",
    ),
    "Output": nir.Output({"output": np.array([4, 4, 4])}),
    "Scale": nir.Scale(np.ones(1)),
    "SumPool2d": pool(2, kind=nir.SumPool2d),
    "Threshold": nir.Threshold(ONES),
}


def test_every_kind_of_node_is_costed_or_refused_by_name():
    """Each stands between a convolution and a matrix; a Conv1d of a map cannot."""
    assert KINDS_OF_NIR.keys() == {n for n in nir.ir.__all__ if n[0].isupper()} - {"NIRNode"}
    for kind, node in KINDS_OF_NIR.items():
        values = 16 if "Pool" in kind else 64
        nodes = {"in": image(2, 4), "a": conv(4, 2, 4), "x": node, "d": linear(3, values)}
        graph = graph_of(nodes, "in a x d")
        if kind == "Conv1d":
            with pytest.raises(WorkloadError, match=r"node 'x'.*sequence"):
                from_nir(graph, 2)
        else:
            assert from_nir(graph, 2).layers[-1].in_channels == values, kind


@pytest.mark.parametrize("steps", [0, 1])
def test_a_delay_transmits_the_values_of_the_step_before(steps):
    nodes = {"in": image(2, 8), "a": conv(2, 2, 8), "l": lif(2, 8, 8)}
    nodes |= {"late": nir.Delay(np.full((2, 8, 8), steps)), "b": conv(2, 2, 8)}
    nodes |= {"c": conv(2, 2, 8)}  # which reads a in the same step
    layers = from_nir(graph_of(nodes, "in a l late b", "l c"), 2).layers
    (b,) = (layer for layer in layers if layer.name == "b")
    assert (b.sources, b.feedback) == (((), ("a",)) if steps else (("a",), ()))


def test_whose_bits_do_not_follow_from_the_graph():
    """The image's are given; a membrane has 8; spikes and their sums have their own."""
    nodes = {"in": image(2, 8), "a": conv(2, 2, 8), "l": lif(2, 8, 8), "b": conv(2, 2, 8)}
    nodes |= {"m": nir.LI(*(np.ones(2),) * 3), "c": conv(2, 2, 8), "code": lif(2, 8, 8)}
    nodes |= {"e": conv(2, 2, 8)}
    read = read_layers(graph_of(nodes, "in a l b m c", "in b", "in code e"), 8, 4)
    assert {x.name: x.input_bits for x in read.layers} == {"a": 4, "b": 5, "c": 8, "e": 1}
    assert sorted(read.image) == ["a", "b"]
    assert read.analog == ("c",)


@pytest.mark.parametrize("name", ["", "0", "a.b", "a/b", "[red]x[/]", "\n", "ä" * 300, "'"])
def test_names_of_nodes(name):
    """A name is text of any kind; one that is a number or bytes is its text."""
    nodes = {"in": image(2, 8), name: conv(4, 2, 8), "d": linear(3, 256)}
    graph = nir.NIRGraph(nodes, [("in", name), (name, "d")], type_check=False)
    layers = from_nir(graph, 2).layers
    assert [(x.name, x.sources) for x in layers] == [(name, ()), ("d", (name,))]
    graph.nodes[name] = conv(4, 3, 8)
    with pytest.raises(WorkloadError, match="weights for 3 channels") as error:
        from_nir(graph, 2)
    assert len(str(error.value)) < 300
    assert "\n" not in str(error.value)


def test_names_that_are_no_text():
    nodes = {0: image(2, 8), b"a": conv(4, 2, 8), 2: linear(3, 256)}
    graph = nir.NIRGraph(nodes, [(0, "a"), (b"a", 2)], type_check=False)
    assert [x.name for x in from_nir(graph, 2).layers] == ["a", "2"]
