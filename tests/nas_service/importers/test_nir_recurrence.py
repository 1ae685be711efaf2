"""Loops of NIR graphs are costed as the layer lists with feedback that say the same."""

import nir
import numpy as np
import pytest
from nir_graphs import conv, graph_of, image, lif, linear, recurrent, vector

from hw_models import Layer, Workload, WorkloadError, load_profile
from nas_service.importers import from_nir

CHIP = load_profile("corrected")
STEPS = 4


def demand_equal(graph, *layers):
    """The graph gives these layers, and their costs."""
    read, listed = from_nir(graph, STEPS), Workload(layers, STEPS)
    assert read == listed
    assert CHIP.estimate(read).metrics() == CHIP.estimate(listed).metrics()


def layer(name, inputs, outputs, sources, feedback=(), **more):
    more = {"neurons": outputs, "parameters": inputs * outputs} | more
    return Layer(name, "linear", inputs, outputs, sources=sources, feedback=feedback, **more)


def by_hand(prefix=""):
    """12 -> 6 neurons that read themselves -> 3: their 6 sums of two currents are charged once."""
    loop = f"{prefix}w_rec"
    return (
        layer("fc", 12, 6, ()),
        layer(loop, 6, 6, (), ("fc", loop), neurons=0, input_adds=6),
        layer("out", 6, 3, ("fc", loop)),
    )


def test_neurons_that_read_themselves():
    nodes = {"in": vector(12), "fc": linear(6, 12), "lif": lif(6), "w_rec": linear(6, 6)}
    nodes |= {"out": linear(3, 6), "out_lif": lif(3)}
    demand_equal(graph_of(nodes, "in fc lif w_rec lif out out_lif"), *by_hand())


def cuba(size):
    ones = np.ones(size)
    return nir.CubaLIF(ones, ones, ones, 0 * ones, ones)


@pytest.mark.parametrize("neurons", [lif, cuba])
def test_recurrent_layers_of_snntorch(tmp_path, neurons):
    """RLeaky and RSynaptic are exported as graphs in the graph; from a file or from memory."""
    nodes = {"in": vector(12), "fc": linear(6, 12), "r": recurrent(6, neurons)}
    graph = graph_of(nodes | {"out": linear(3, 6), "out_lif": lif(3)}, "in fc r out out_lif")
    demand_equal(graph, *by_hand("r."))
    nir.write(str(tmp_path / "net.nir"), graph)
    demand_equal(tmp_path / "net.nir", *by_hand("r."))


def test_names_of_an_inner_graph_may_have_dots():
    """snnTorch's reader names the ends of such a graph `r.input` and `r.output`."""
    inner = {"r.input": vector(6), "r.lif": lif(6), "w": linear(6, 6)}
    inner |= {"r.output": nir.Output({"output": np.array([6])})}
    nodes = {"in": vector(12), "fc": linear(6, 12), "out": linear(3, 6)}
    nodes["r"] = graph_of(inner, "r.input r.lif w r.lif r.output")
    result = from_nir(graph_of(nodes, "in fc r out"), STEPS)
    assert [x.name for x in result.layers] == ["fc", "r.w", "out"]
    assert [x.feedback for x in result.layers] == [(), ("fc", "r.w"), ()]


def test_a_recurrent_convolution():
    """Its sums are 4 channels of 8 x 8; loop and pooling are the first layer's and its own."""
    nodes = {"in": image(2, 8), "a": conv(4, 2, 8), "lif": lif(4, 8, 8), "w": conv(4, 4, None)}
    nodes |= {"out": linear(3, 256)}
    sizes = {"in_size": 8, "out_size": 8}
    demand_equal(
        graph_of(nodes, "in a lif w lif out"),
        Layer("a", "conv", 2, 4, 3, **sizes, neurons=256, parameters=72, sources=()),
        Layer("w", "conv", 4, 4, 3, **sizes, neurons=0, parameters=144, sources=(),
              feedback=("a", "w"), input_adds=256),
        layer("out", 256, 3, ("a", "w"), neurons=0),
    )  # fmt: skip


def test_a_recurrent_convolution_of_snntorch():
    """Its graph in the graph declares the channels alone, and neurons for each."""
    inner = {"input": vector(4), "lif": lif(4), "w_rec": conv(4, 4, None)}
    inner["output"] = nir.Output({"output": np.array([4])})
    block = graph_of(inner, "input lif w_rec lif output")
    nodes = {"in": image(2, 8), "a": conv(4, 2, 8), "r": block, "out": linear(3, 256)}
    result = from_nir(graph_of(nodes, "in a r out"), STEPS)
    assert [(x.name, x.neurons, x.in_size) for x in result.layers] == [
        ("a", 256, 8),
        ("r.w_rec", 0, 8),
        ("out", 0, 1),
    ]


def test_a_loop_over_two_layers():
    """The way back reads late: b and back take turns, the output does not wait for them."""
    nodes = {"in": vector(5), "a": linear(6, 5), "a_lif": lif(6), "b": linear(4, 6)}
    nodes |= {"b_lif": lif(4), "back": linear(6, 4), "out": linear(3, 4)}
    graph = graph_of(nodes, "in a a_lif b b_lif back a_lif", "b_lif out")
    demand_equal(
        graph,
        layer("a", 5, 6, ()),
        layer("back", 4, 6, (), ("b",), neurons=0),
        layer("b", 6, 4, ("a", "back"), input_adds=6),
        layer("out", 4, 3, ("b",), neurons=0),
    )
    assert from_nir(graph, STEPS).loops == (0, 1, 1, 0)


def test_spikes_that_go_back_without_weights():
    """The neurons of b go into those of a: b, which reads them, reads itself a step late."""
    nodes = {"in": vector(6), "a": linear(6, 6), "a_lif": lif(6), "b": linear(6, 6)}
    nodes |= {"b_lif": lif(6), "out": linear(3, 6)}
    demand_equal(
        graph_of(nodes, "in a a_lif b b_lif a_lif", "b_lif out"),
        layer("a", 6, 6, ()),
        layer("b", 6, 6, ("a",), ("b",), input_adds=6),
        layer("out", 6, 3, ("b",), neurons=0),
    )


def test_a_branch_and_a_loop():
    """b is read by its neurons and by c in the same step, so nothing of it is late."""
    nodes = {"in": vector(6), "a": linear(6, 6), "lif": lif(6), "b": linear(6, 6)}
    nodes |= {"b_lif": lif(6), "c": linear(6, 6)}
    result = from_nir(graph_of(nodes, "in a lif b b_lif c", "b lif"), STEPS)
    got = {x.name: (x.sources, x.feedback, x.input_adds) for x in result.layers}
    assert got == {"a": ((), (), 0), "b": (("a",), ("b",), 6), "c": (("b",), (), 0)}


def test_bits_of_what_comes_back():
    """b reads the sum of a's spikes and of its own: 0, 1 or 2."""
    nodes = {"in": vector(6), "a": linear(6, 6), "lif": lif(6), "b": linear(6, 6), "b_lif": lif(6)}
    nodes |= {"both": flat(6)}
    result = from_nir(graph_of(nodes, "in a lif both b b_lif both"), STEPS)
    assert [x.input_bits for x in result.layers] == [1, 2]


def test_two_loops_that_share_neurons():
    nodes = {"in": vector(6), "a": linear(6, 6), "lif": lif(6), "v": linear(6, 6)}
    nodes |= {"w": linear(6, 6), "out": linear(3, 6)}
    result = from_nir(graph_of(nodes, "in a lif v lif out", "lif w lif"), STEPS)
    got = {x.name: (x.sources, x.feedback, x.input_adds) for x in result.layers}
    assert got == {
        "a": ((), (), 0),
        "v": ((), ("a", "v", "w"), 12),
        "w": ((), ("a", "v", "w"), 0),
        "out": (("a", "v", "w"), (), 0),
    }


def flat(size):
    return nir.Flatten({"input": np.array([size])}, 0)


@pytest.mark.parametrize(
    ("nodes", "path", "message"),
    [
        ({"sum": flat(6)}, "in sum sum fc", "node 'sum': its values are added to themselves"),
        ({"w": linear(6, 6), "v": linear(6, 6)}, "w v w", "no input of the graph leads to them"),
        ({"lif": lif(6), "w": linear(4, 6)}, "in lif w lif", "'lif': it adds maps of different"),
    ],
)
def test_loops_that_cannot_be(nodes, path, message):
    ends = {"in": vector(6), "fc": linear(6, 6)}
    with pytest.raises(WorkloadError, match=message):
        from_nir(graph_of(ends | nodes, "in fc", path), STEPS)


def test_an_inner_graph_that_contradicts_its_neighbour():
    nodes = {"in": vector(12), "fc": linear(5, 12), "r": recurrent(6), "out": linear(3, 6)}
    with pytest.raises(WorkloadError, match=r"node 'r.input': shape = .6,., but 'fc' gives .5,."):
        from_nir(graph_of(nodes, "in fc r out"), STEPS)
