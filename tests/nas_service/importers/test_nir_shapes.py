"""Maps of any size in NIR graphs: costed by their windows, or refused with the way out."""

import nir
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nir_graphs import conv, graph_of, image, lif, linear, pool, vector
from torch.nn import functional

from hw_models import WorkloadError
from nas_service.importers import from_nir

KERNELS = st.tuples(st.integers(1, 4), st.integers(1, 4))


def conv_of(weight, stride=1, padding=0, dilation=1, groups=1, shape=None):
    return nir.Conv2d(shape, weight, stride, padding, dilation, groups, np.zeros(len(weight)))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=KERNELS,
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.one_of(
        st.tuples(st.integers(0, 5), st.integers(0, 5)), st.sampled_from(["same", "valid"])
    ),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    groups=st.sampled_from([1, 2, 4]),
)
def test_convolutions_have_the_output_of_torch(size, kernel, stride, padding, dilation, groups):
    """Or are refused where torch refuses them."""
    weight = np.ones((4, 4 // groups, *kernel))
    node = conv_of(weight, stride, padding, dilation, groups)
    graph = graph_of({"in": nir.Input({"input": np.array([4, *size])}), "a": node}, "in a")
    more = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    try:
        out = functional.conv2d(torch.zeros(1, 4, *size), torch.tensor(weight).float(), **more)
    except RuntimeError:
        with pytest.raises(WorkloadError, match="node 'a'"):
            from_nir(graph, 1)
        return
    (layer,) = from_nir(graph, 1).layers
    assert (layer.in_pixels, layer.out_pixels) == (size[0] * size[1], out[0, 0].numel())
    assert layer.parameters == weight.size


@pytest.mark.parametrize(
    ("kernel", "more", "size", "out_size", "padding"),
    [
        (4, {"padding": "same"}, 8, 8, None),
        (1, {"padding": 1}, 8, 10, 1),
        (3, {"padding": 4, "dilation": 4}, 8, 8, 4),
        (3, {"padding": (1, 0)}, (8, 9), (8, 7), None),
        (2, {"stride": 2}, 7, 3, None),
    ],
)
def test_maps_by_hand(kernel, more, size, out_size, padding):
    """`padding` is said where it is wider than the kernel can touch the map."""
    node = conv_of(np.ones((3, 2, kernel, kernel)), **more)
    sides = (size, size) if isinstance(size, int) else size
    graph = graph_of({"in": nir.Input({"input": np.array([2, *sides])}), "a": node}, "in a")
    (layer,) = from_nir(graph, 1).layers
    assert (layer.in_size, layer.out_size, layer.padding) == (size, out_size, padding)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    window=KERNELS,
    stride=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    padded=st.booleans(),
    mean=st.booleans(),
)
def test_poolings_have_the_output_of_torch(size, window, stride, padded, mean):
    """Additions are taps - 1 for each value; a mean of k spikes has ceil(log2(k + 1)) bits.

    What two matrices read is the layer's own pooling.
    """
    padding = tuple(n // 2 * padded for n in window)
    kind = nir.AvgPool2d if mean else nir.SumPool2d
    nodes = {"in": nir.Input({"input": np.array([3, *size])}), "a": conv_of(np.ones((3, 3, 1, 1)))}
    nodes |= {"l": lif(3, *size), "p": kind(*map(np.array, (window, stride, padding)))}
    try:
        out = functional.avg_pool2d(torch.zeros(1, 3, *size), window, stride, padding)
    except RuntimeError:
        with pytest.raises(WorkloadError, match="node 'p'"):
            from_nir(graph_of(nodes, "in a l p"), 1)
        return
    nodes |= {name: linear(2, out.numel()) for name in "de"}
    first, _, last = from_nir(graph_of(nodes, "in a l p d", "p e"), 1).layers
    assert first.map_pixels == out[0, 0].numel()
    assert first.pool_taps == window[0] * window[1]
    assert (first.input_adds, last.input_adds) == (0, 0)
    assert last.input_bits == int(np.ceil(np.log2(window[0] * window[1] + 1)))


def test_poolings_that_do_not_divide():
    """3/2 on 32 gives 15; a second one after it is charged apart: 8 x 15^2 and 3 x 7^2 sums."""
    nodes = {"in": image(2, 32), "a": conv(4, 2, 32), "p": pool(3, 2)}
    a, _ = from_nir(graph_of(nodes | {"b": conv(4, 4, 15)}, "in a p b"), 1).layers
    assert (a.pool, a.pooled_size, a.map_pixels) == (3, 15, 225)
    nodes |= {"q": pool(2, 2), "c": conv(4, 4, 7)}
    a, c = from_nir(graph_of(nodes, "in a p q c"), 1).layers
    assert (a.pool, a.pooled_size, c.input_adds) == (1, 7, 4 * (8 * 225 + 3 * 49))


def test_a_pooling_after_a_sum_is_charged_to_its_first_reader():
    """The sum of a and b has 4 x 64 additions, its 2 x 2 windows 3 x 4 x 16; d pays nothing."""
    nodes = {"in": image(2, 8), "a": conv(4, 2, 8), "b": conv(4, 2, 8), "p": pool(2, 2)}
    nodes |= {"c": conv(4, 4, 4), "d": conv(4, 4, 4)}
    got = [x.input_adds for x in from_nir(graph_of(nodes, "in a p c", "in b p d"), 1).layers]
    assert sorted(got) == [0, 0, 0, 4 * 64 + 3 * 4 * 16]


def test_pooled_branches_that_meet():
    """a is always read through its pooling, which stays its own where b is added."""
    nodes = {"in": image(2, 8), "a": conv(4, 2, 8), "p": pool(2, 2)}
    nodes |= {"b": conv(4, 2, 8, stride=2), "c": conv(4, 4, 4)}
    result = from_nir(graph_of(nodes, "in a p c", "in b c"), 1)
    got = {x.name: (x.pool, x.input_adds) for x in result.layers}
    assert got == {"a": (2, 0), "b": (1, 0), "c": (1, 64)}


def test_sums_that_no_layer_reads_are_charged():
    nodes = {"in": vector(6), "a": linear(4, 6), "b": linear(4, 6), "out": lif(4)}
    result = from_nir(graph_of(nodes, "in a out", "in b out"), 1)
    assert sum(x.input_adds for x in result.layers) == 4


def test_steps_of_sums_and_means():
    """Spike + mean of 9: 0..18 ninths; spike + sum of 9: 0..10; all three: 0..99 ninths."""
    nodes = {"in": image(4, 8), "a": conv(4, 4, 8)}
    mean, total = pool(3, 1, 1), pool(3, 1, 1, nir.SumPool2d)
    for pools, bits in (([mean], 5), ([total], 4), ([mean, total], 7)):
        names = {f"p{i}": node for i, node in enumerate(pools)}
        paths = [f"in {name} a" for name in names]
        (layer,) = from_nir(graph_of(nodes | names, "in a", *paths), 1).layers
        assert layer.input_bits == bits


def test_differently_scaled_spikes_have_no_common_step():
    nodes = {"in": vector(4), "s": nir.Scale(np.array([0.3])), "a": linear(2, 4)}
    assert from_nir(graph_of(nodes, "in s a"), 1).layers[0].input_bits == 1
    assert from_nir(graph_of(nodes, "in s a", "in a"), 1).layers[0].input_bits == 8


def test_sums_beyond_32_bits_are_refused():
    nodes = {"in": image(4, 8), "p": pool(8, 1), "d": linear(2, 4)}
    graph = graph_of(nodes, "in p d")
    assert from_nir(graph, 1, input_bits=26).layers[0].input_bits == 32
    with pytest.raises(WorkloadError, match="node 'd': it reads sums of 33 bits: 32 are possible"):
        from_nir(graph, 1, input_bits=27)


def test_convolutions_of_sequences():
    """A kernel of 5 on 100 values is a map of 1 x 100 with 1 x 96 positions."""
    node = nir.Conv1d(100, np.ones((8, 2, 5)), 1, 0, 1, 1, np.zeros(8))
    sequence = nir.Input({"input": np.array([2, 100])})
    nodes = {"in": sequence, "a": node, "l": lif(8, 96), "d": linear(3, 8 * 96)}
    a, d = from_nir(graph_of(nodes, "in a l d"), 1).layers
    assert (a.kernel, a.in_size, a.out_size, a.weights) == ((1, 5), (1, 100), (1, 96), 80)
    assert (a.neurons, d.in_channels) == (768, 768)
    with pytest.raises(WorkloadError, match=r"node 'a': a sequence .C, L. is needed, but 'in'"):
        from_nir(graph_of(nodes | {"in": image(2, 10)}, "in a l d"), 1)


def flatten(start, end, shape=None):
    return nir.Flatten({"input": None if shape is None else np.array(shape)}, start, end)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (flatten(0, -1), None),
        (flatten(1, -1), None),  # 4 x 16 for a matrix of 64
        (flatten(-3, -1), None),
        (flatten(1, -1, [1, 4, 4, 4]), None),  # a batch of one
        (flatten(1, -1, [8, 4, 4, 4]), r"input_type = \(8, 4, 4, 4\), but 'a' gives \(4, 4, 4\)"),
        (flatten(1, 3), r"end_dim = 3, one of -3..2 for \(4, 4, 4\), which has no batch"),
        (flatten(2, 1), "start_dim 2 lies after end_dim 1"),
    ],
)
def test_flatten(node, message):
    nodes = {"in": image(2, 4), "a": conv(4, 2, 4), "f": node, "d": linear(3, 64)}
    graph = graph_of(nodes, "in a f d")
    if message is None:
        assert from_nir(graph, 1).layers[1].in_channels == 64
        return
    with pytest.raises(WorkloadError, match=f"node 'f': {message}"):
        from_nir(graph, 1)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (None, r"does not say its shape: add --input 2,16,16 "),
        ((1, 2, 16, 16), r"has 4 dimensions: drop the first dimension, 1 .*--input 2,16,16 "),
        ((100, 8, 2, 16, 16), r"drop the first 2 dimensions, 100, 8 .*--input 2,16,16 "),
        ((16, 16), r"node 'a': a map .C, H, W. is needed, but 'in' gives .16, 16."),
        ((3, 16, 16), r"node 'a': weights for 2 channels, but 'in' gives .3, 16, 16."),
        ((2, 16, 8), r"node 'a': input_shape = .16, 16., but 'in' gives .2, 16, 8."),
        ((2, 0, 16), "node 'in': shape"),
    ],
)
def test_inputs_without_their_map(shape, message):
    node = nir.Input({"input": None if shape is None else np.array(shape)})
    graph = graph_of({"in": node, "a": conv(4, 2, 16)}, "in a")
    with pytest.raises(WorkloadError, match=message):
        from_nir(graph, 1)


@pytest.mark.parametrize("shape", [None, (1, 2, 16, 16), (5, 1, 2, 16, 16), (1,), (2, 16, 16)])
def test_the_shape_of_an_input_can_be_given(shape):
    """Where there is none, or only a placeholder, or one with batch and time steps."""
    node = nir.Input({"input": None if shape is None else np.array(shape)})
    graph = graph_of({"in": node, "a": conv(4, 2, None)}, "in a")
    (layer,) = from_nir(graph, 1, input_shape=(2, 16, 16)).layers
    assert layer.in_size == 16


@pytest.mark.parametrize(
    ("shape", "given", "message"),
    [
        (
            (2, 8, 8),
            (2, 16, 16),
            r"shape = .2, 8, 8. in the graph contradicts the given .2, 16, 16",
        ),
        (None, (2, 0, 16), "input_shape"),
        (None, (1, 2, 16, 16), "has 4 dimensions: drop the first"),
    ],
)
def test_given_shapes_that_do_not_fit(shape, given, message):
    node = nir.Input({"input": None if shape is None else np.array(shape)})
    with pytest.raises(WorkloadError, match=f"node 'in': .*{message}"):
        from_nir(graph_of({"in": node, "a": conv(4, 2, None)}, "in a"), 1, input_shape=given)


def test_one_shape_for_two_inputs():
    nodes = {"x": nir.Input({"input": None}), "y": image(2, 16), "a": conv(4, 2, None)}
    graph = graph_of(nodes, "x a", "y a")
    assert from_nir(graph, 1, input_shape=(2, 16, 16)).layers[0].input_adds == 512
    both = graph_of(nodes | {"y": nir.Input({"input": None})}, "x a", "y a")
    with pytest.raises(WorkloadError, match=r"one input_shape is given, for the inputs \['x', 'y'"):
        from_nir(both, 1, input_shape=(2, 16, 16))


def test_time_before_a_matrix():
    nodes = {"in": nir.Input({"input": np.array([100, 64])}), "d": linear(3, 64)}
    with pytest.raises(WorkloadError, match=r"node 'd': 64 inputs, .*drop the first .*--input 64 "):
        from_nir(graph_of(nodes, "in d"), 1)


def test_arrays_of_other_libraries():
    """snnTorch and Norse put tensors into convolutions, and numbers into poolings."""
    node = conv_of(torch.ones(4, 2, 3, 3), 1, 1, shape=(8, 8))
    node.bias = torch.ones(4)
    nodes = {"in": image(2, 8), "a": node, "l": lif(1), "p": nir.AvgPool2d(2, 2, (0, 0))}
    nodes["l"].tau = torch.ones(4, 8, 8)
    a, d = from_nir(graph_of(nodes | {"d": linear(3, 64)}, "in a l p d"), 1).layers
    assert (a.parameters, a.neurons, d.input_adds) == (76, 256, 3 * 64)
