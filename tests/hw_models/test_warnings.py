"""When each warning of a report appears, and when it does not."""

from dataclasses import replace

import pytest

from hw_models import Layer, Workload, load_profile

CHIP = load_profile("corrected")


def conv(name, c_in, c_out, size, *sources, **more):
    sizes = {"kernel": 3, "in_size": size, "out_size": size}
    return Layer(name, "conv", c_in, c_out, sources=sources, **sizes | more)


def warnings(*layers, chip=CHIP):
    return list(chip.estimate(Workload(layers, 2)).warnings)


A = conv("a", 3, 8, 8)
FREE = "a pooling that no layer names costs nothing"


def test_a_pooling_that_nobody_is_charged_for():
    """8 channels of 64 pixels become 16: 8 * 16 * 3 additions."""
    for adds, expected in ((0, 1), (383, 1), (384, 0)):
        shown = warnings(A, conv("b", 8, 8, 4, "a", input_adds=adds))
        assert shown == [f"b reads 16 of the 64 pixels of a: {FREE}"] * expected
    assert warnings(A, conv("b", 8, 8, 8, "a")) == []
    assert warnings(conv("a", 3, 8, 8, pool=2), conv("b", 8, 8, 4, "a")) == []


def test_a_pooling_before_a_linear_layer():
    shown = warnings(A, Layer("f", "linear", 8 * 4, 10))
    assert shown == [f"f reads 4 of the 64 pixels of a: {FREE}"]
    assert warnings(A, Layer("f", "linear", 8 * 4, 10, input_adds=8 * 4 * 15)) == []
    assert warnings(A, Layer("f", "linear", 8 * 64, 10)) == []
    incomplete = 8 * 9 * 3  # windows of 2 leave a row and a column of 7x7
    assert warnings(conv("a", 3, 8, 7), Layer("f", "linear", 72, 10, input_adds=incomplete)) == []


@pytest.mark.parametrize("adds", [2 * 8 * 16 * 3 + 8 * 16, 8 * 64 + 8 * 16 * 3])
def test_pooled_branches_that_meet(adds):
    """Pooled and then added, or added and then pooled: charged either way."""
    b, c = conv("b", 3, 8, 8), conv("c", 8, 4, 4, "a", "b", input_adds=adds)
    assert warnings(A, b, c) == []
    assert len(warnings(A, b, conv("c", 8, 4, 4, "a", "b", input_adds=8 * 16))) == 2


def test_a_map_that_several_read_pooled_is_charged_once():
    """To any of its readers, in whatever order; what only one reads is its own."""
    first, second = conv("b", 8, 8, 4, "a"), conv("c", 8, 8, 4, "a")
    for b, c in ((384, 0), (0, 384), (400, 1)):
        charged = replace(first, input_adds=b), replace(second, input_adds=c)
        assert warnings(A, *charged) == []
    assert len(warnings(A, first, second)) == 2
    quarter = conv("d", 8, 8, 2, "a")
    shown = warnings(A, replace(first, input_adds=384), quarter)
    assert shown == [f"d reads 4 of the 64 pixels of a: {FREE}"]


def test_a_map_that_shrinks_without_a_window():
    cropped = conv("a", 3, 8, 8, pooled_size=4)
    text = "a gives 16 of its 64 pixels without a pooling window: this costs nothing"
    assert warnings(cropped, conv("b", 8, 8, 4, "a")) == [text]
    assert warnings(cropped, conv("b", 8, 8, 4, "a", input_adds=384)) == []  # charged there
    assert warnings(conv("a", 3, 8, 8, pool=3, pooled_size=4), conv("b", 8, 8, 4, "a")) == []
    assert warnings(cropped) == []  # nothing reads it


def test_a_rearranged_reader_knows_what_it_reads():
    assert warnings(A, conv("b", 4, 8, 4, "a", rearranged=True)) == []


def test_no_word_of_poolings_where_the_profile_gives_them_for_nothing():
    chip = CHIP.with_values({"pooled_sizes": True})
    assert warnings(A, conv("b", 8, 8, 4, "a"), chip=chip) == []


SCRIPT = load_profile("spikesim_rram")


def chain(*shapes, **sizes):
    """Layers of the script's network by (inputs, outputs)."""
    one = {"kernel": 3, "in_size": 1, "out_size": 1} | sizes
    return [Layer(f"l{i}", "conv", *shape, **one, sources=()) for i, shape in enumerate(shapes)]


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        (chain((64, 128), (64, 64)), "PEs per layer decrease"),
        (chain((64, 64), (32, 32)), "matrix sizes decrease"),
        (chain(*[(64, 64)] * 13), "13 layers: the original crashes beyond 12"),
        (chain((63, 64)), "no layer fills a crossbar"),
        ([*chain((64, 64)), Layer("f", "linear", 64, 64)], "kernels differ"),
        (chain((64, 64), in_size=(1, 2), out_size=(1, 2)), "not square"),
        (chain((64, 64), in_size=2, out_size=2, pool=(1, 2)), "not square"),
    ],
)
def test_where_the_script_has_no_figure(layers, message):
    assert message in " ".join(warnings(*layers, chip=SCRIPT))
    assert warnings(*layers) == []  # the corrected chip has one


@pytest.mark.parametrize(
    "layers",
    [
        chain((64, 64), (64, 128), (128, 128)),
        chain((64, 64), (64, 64)),
        chain(*[(64, 64)] * 12),
        chain((64, 64), in_size=2, out_size=2, pool=2),
        [*chain((64, 64), kernel=1), Layer("f", "linear", 64, 64)],
    ],
)
def test_where_the_script_has_a_figure(layers):
    assert warnings(*layers, chip=SCRIPT) == []
