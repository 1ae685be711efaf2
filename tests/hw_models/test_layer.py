"""Maps, kernels and windows of any size: costed by their windows, typos refused."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_models import Layer, LayerTable, Workload, WorkloadError, known_profiles, load_profile
from hw_models.layer import synapses_of, taps_inside
from hw_models.reading import fits

PROFILES = known_profiles()


def conv(name="a", c_in=3, c_out=8, **sizes):
    return Layer(name, "conv", c_in, c_out, **sizes)


def work(*layers, time_steps=3):
    return Workload(layers, time_steps)


@pytest.mark.parametrize("missing", ["in_size", "out_size"])
def test_a_convolution_says_its_maps(missing):
    sizes = {"in_size": 8, "out_size": 8, "kernel": 3}
    del sizes[missing]
    with pytest.raises(WorkloadError, match=f"layer 'a': {missing} is needed, the side of the map"):
        conv(**sizes)


def test_a_linear_layer_has_one_pixel():
    layer = Layer("f", "linear", 3, 8)
    assert (layer.in_size, layer.out_size, layer.map_pixels) == (1, 1, 1)


def test_equal_sides_are_one_number():
    square = conv(kernel=3, in_size=8, out_size=8, pool=2)
    pairs = conv(kernel=(3, 3), in_size=(8, 8), out_size=(8, 8), pool=(2, 2), pooled_size=None)
    assert pairs == square
    assert (pairs.kernel, pairs.map_size) == (3, 4)


def test_rectangles_by_hand():
    """Kernel 3x5 on 8x20, pooled 2x4 to 4x5: 15 taps, 160 pixels read, 20 given."""
    layer = conv(kernel=(3, 5), in_size=(8, 20), out_size=(8, 20), pool=(2, 4))
    assert (layer.taps, layer.rows, layer.weights) == (15, 45, 360)
    assert (layer.in_pixels, layer.out_pixels, layer.map_size) == (160, 160, (4, 5))
    assert (layer.map_pixels, layer.pool_taps) == (20, 8)


@pytest.mark.parametrize("profile", PROFILES)
@pytest.mark.parametrize("changes", [{}, {"mapping": "im2col"}])
def test_a_map_costs_what_a_square_of_as_many_windows_costs(profile, changes):
    """Nothing on a chip depends on the sides but through the number of positions and of taps."""
    chip = load_profile(profile).with_values(changes)
    wide = {"kernel": (1, 9), "in_size": (4, 16), "out_size": (4, 16), "pool": (1, 4)}
    square = {"kernel": 3, "in_size": 8, "out_size": 8, "pool": 2}
    rest = conv("b", 8, 4, in_size=4, out_size=4), Layer("f", "linear", 64, 5)
    nets = [work(conv(**sizes, synapses=9), *rest) for sizes in (wide, square)]
    one, other = (chip.estimate(x).metrics() for x in nets)
    assert one == other
    batch = chip.estimate_batch(LayerTable.stack(nets)).metrics()
    for name, value in one.items():
        assert batch[name].tolist() == pytest.approx([value, value], rel=1e-12)


def test_a_rectangular_map_on_the_script_is_a_warning():
    chip = load_profile("spikesim_rram")
    for wide in ({"out_size": (4, 8)}, {"kernel": (1, 3), "out_size": 8}):
        layer = conv(c_in=64, c_out=64, in_size=8, **wide)
        assert any("not square" in text for text in chip.estimate(work(layer)).warnings)
    assert chip.estimate(work(conv(c_in=64, c_out=64, in_size=8, out_size=8))).warnings == ()


@pytest.mark.parametrize(
    ("out", "pool", "pooled", "adds"),
    [
        (32, 3, 15, 225 * 8),  # 3/2
        (7, 2, 4, 16 * 3),  # 2 with ceil_mode
        ((7, 5), (7, 5), 1, 34),  # global
        (10, 4, 3, 9 * 15),  # adaptive
        (8, 2, None, 16 * 3),
        (8, 2, 9, 81 * 3),  # 2/1 with padding 1
        (2, 3, 1, 8),  # a window larger than its map
        (8, 1, 6, 0),  # cropped
    ],
)
def test_poolings_that_do_not_divide(out, pool, pooled, adds):
    """Additions: windows times their pixels but one, for each of 2 channels and 3 steps."""
    chip = load_profile("corrected")
    layer = conv(c_out=2, kernel=1, in_size=out, out_size=out, pool=pool, pooled_size=pooled)
    energy = chip.estimate(work(layer)).energy_J
    bits = chip.chip.figures.bits_per_value
    each = bits * chip.cost_model.prices.energies_J["elementwise"]
    assert energy.by_component()["elementwise"] == pytest.approx(3 * 2 * adds * each, rel=1e-12)
    reader = conv("b", 2, 4, in_size=layer.map_size, out_size=layer.map_size)
    assert work(layer, reader).layers[1].in_size == (pooled or 4)
    flat = Layer("f", "linear", 2 * layer.map_pixels, 4)
    assert work(layer, flat).layers[1].in_channels == 2 * layer.map_pixels


def test_outputs_larger_than_full_padding():
    assert conv(kernel=4, in_size=8, out_size=8).out_size == 8  # "same" with an even kernel
    assert conv(kernel=1, in_size=8, out_size=10, padding=1).out_size == 10
    assert conv(kernel=3, in_size=8, out_size=(14, 8), padding=(4, 1)).out_size == (14, 8)
    assert conv(kernel=3, in_size=8, padding=1).out_size == 8  # follows from the padding
    assert conv(kernel=(3, 5), stride=2, in_size=(9, 16), padding=(1, 0)).out_size == (5, 6)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"out_size": 100}, "out_size = 100, a whole number in 1..10"),
        ({"out_size": 10, "kernel": 1}, "out_size = 10, a whole number in 1..8"),
        ({"out_size": 11, "kernel": 1, "padding": 1}, "out_size = 11, a whole number in 1..10"),
        ({"out_size": (8, 11)}, "out_size = (8, 11), [height, width] in 1..10 and 1..10"),
        ({"in_size": (8, 2), "out_size": 8}, "out_size = 8, a whole number in 1..4"),
        ({"kernel": (3, 0)}, "kernel = (3, 0)"),
        ({"kernel": (3,)}, "kernel = (3,)"),
        ({"kernel": (3, 3, 3)}, "kernel = (3, 3, 3)"),
        ({"kernel": (3, 3.0)}, "kernel = (3, 3.0)"),
        ({"kernel": [3, 3]}, "kernel = [3, 3]"),
        ({"kernel": 0}, "kernel = 0"),
        ({"in_size": (0, 0)}, "in_size = (0, 0)"),
        ({"pool": (2, 9)}, "pool = (2, 9), [height, width] in 1..8 and 1..8"),
        ({"pool": 9}, "pool = 9"),
        ({"pool": 2, "pooled_size": 100}, "pooled_size = 100, a whole number in 1..9"),
        ({"pooled_size": 9}, "pooled_size = 9, a whole number in 1..8"),
        ({"pooled_size": 0}, "pooled_size = 0"),
        ({"padding": -1}, "padding = -1"),
        ({"rearranged": 1}, "rearranged = 1, true or false"),
        ({"sources": "b"}, "sources = 'b', a list of layer names"),
        ({"sources": 5}, "sources = 5, a list of layer names"),
        ({"feedback": None}, "feedback = None, a list of layer names"),
    ],
)
def test_typos_are_refused(sizes, message):
    with pytest.raises(WorkloadError) as caught:
        conv(**{"kernel": 3, "in_size": 8, "out_size": 8} | sizes)
    assert message in str(caught.value)


def test_documents_of_squares_have_no_new_keys():
    plain = work(conv(kernel=3, in_size=8, out_size=8)).to_json()["layers"][0]
    assert plain.keys().isdisjoint({"pooled_size", "padding", "rearranged"})
    rare = conv(kernel=(3, 1), in_size=8, out_size=(9, 8), padding=3, pool=3, pooled_size=(4, 3))
    network = work(rare, replace(rare, name="b", rearranged=True, in_channels=5))
    assert network.to_json()["layers"][1]["pooled_size"] == [4, 3]
    assert Workload.from_json(network.to_json()) == network


def test_a_rearranged_reader_is_not_compared_with_its_sources():
    """Half of the channels, a crop, channels with the image: only the reader knows."""
    a = conv(in_size=8, out_size=8)
    for c_in, size in ((4, 8), (8, 5), (11, 8), (2, 16)):
        reader = conv("b", c_in, 2, in_size=size, out_size=size, sources=("a",))
        assert not fits(reader, [a])
        with pytest.raises(WorkloadError, match=r"in_channels|in_size"):
            work(a, reader)
        network = work(a, replace(reader, rearranged=True))
        assert network.unnamed_poolings == []
    with pytest.raises(WorkloadError, match=r"in_channels = 10, 8, .* or rearranged = true"):
        work(a, conv("b", 10, 2, in_size=8, out_size=8))


def test_a_linear_layer_reads_all_of_a_rectangle_or_a_square_of_it():
    a = conv(in_size=(4, 6), out_size=(4, 6))
    for pixels in (24, 16, 4, 1):
        work(a, Layer("f", "linear", 8 * pixels, 10))
    for pixels in (12, 25):
        with pytest.raises(WorkloadError, match="8 times the 24 pixels of the map of 'a'"):
            work(a, Layer("f", "linear", 8 * pixels, 10))
    b = conv("b", in_size=2, out_size=2, sources=())
    work(a, b, Layer("f", "linear", 8 * 24 + 8 * 4, 10, sources=("a", "b")))  # side by side


@pytest.mark.parametrize(
    "size", [{"kernel": 3}, {"in_size": 8}, {"out_size": (1, 4)}, {"stride": 2}, {"padding": 1}]
)
def test_a_linear_layer_is_multiplied_once(size):
    """With a kernel it would take nine times the arrays, on a map as many reads as pixels."""
    (name,) = size
    with pytest.raises(WorkloadError, match=f"'f': {name} = .*none for a linear layer"):
        Layer("f", "linear", 3, 8, **size)


@pytest.mark.parametrize(
    ("sizes", "padded"),
    [
        ({"kernel": 3, "in_size": 2, "padding": 0}, "2 x 2"),
        ({"kernel": (1, 9), "in_size": (3, 4), "padding": (0, 2)}, "3 x 8"),
        ({"kernel": 20, "in_size": 2, "padding": 1, "stride": 4}, "4 x 4"),
    ],
)
def test_a_kernel_larger_than_its_map_is_named(sizes, padded):
    right = rf"at most in_size \+ 2 padding \({padded}\) is needed"
    with pytest.raises(WorkloadError, match=f"'a': kernel = .*{right}"):
        conv(**sizes)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(*[st.integers(*ends) for ends in ((1, 12), (1, 5), (1, 3), (0, 4), (1, 3))])
def test_taps_on_padding_are_no_products(size, kernel, stride, padding, dilation):
    """As a convolution of ones counts them."""
    ones = np.pad(np.ones(size), padding)
    span = dilation * (kernel - 1) + 1
    windows = [ones[i : i + span : dilation] for i in range(0, len(ones) - span + 1, stride)]
    sides = len(windows), size, kernel, stride, padding, dilation
    assert taps_inside(*sides) == sum(w.sum() for w in windows)
    if windows:
        products = synapses_of(6, *sides)
        layer = conv("a", 2, 3, kernel=kernel, stride=stride, in_size=size, out_size=len(windows),
                     padding=padding, synapses=products)  # fmt: skip
        assert layer.dense_operations == 6 * taps_inside(*sides) ** 2
