"""What a layer sends to the layers that read it."""

from dataclasses import replace

import pytest

from hw_models import Layer, LayerTable, Workload, load_profile

CHIP = load_profile("corrected")


def conv(name, *sources, size=8, **more):
    sizes = {"kernel": 3, "in_size": size, "out_size": size}
    return Layer(name, "conv", 4, 4, sources=sources, **sizes | more)


A = conv("a")
MEANS = {"size": 4, "input_bits": 3}  # of 2x2 spikes, 0..4 quarters
HEAD = Layer("f", "linear", 4 * 16, 10, input_bits=3, input_adds=4 * 16 * 3, sources=("a",))


@pytest.mark.parametrize(
    ("layers", "bits"),
    [
        ((A,), 4 * 64),
        ((A, conv("b", "a")), 4 * 64),
        ((replace(A, pool=2), conv("b", "a", **MEANS)), 4 * 16 * 3),
        ((A, conv("b", "a", **MEANS, input_adds=4 * 16 * 3)), 4 * 16 * 3),
        ((A, HEAD), 4 * 16 * 3),
        ((replace(A, pool=2), replace(HEAD, input_adds=0)), 4 * 16 * 3),
        ((replace(A, pool=2), conv("b", "a", size=4)), 4 * 16),  # pooled before the neurons, or max
        ((A, conv("b", "a", size=4, input_bits=8)), 4 * 64),  # the spikes are fewer
        ((A, HEAD, conv("b", "a")), 4 * 64),
        ((A, HEAD, conv("b", feedback=("a",))), 4 * 64),
        ((A, conv("b"), replace(HEAD, sources=("a", "b"))), 4 * 64),
        ((A, replace(HEAD, feedback=("a",))), 4 * 64),
        ((A, replace(HEAD, sources=(), feedback=("a",))), 4 * 16 * 3),
        ((A, replace(HEAD, rearranged=True)), 4 * 64),
    ],
)
def test_bits_of_the_first_layer(layers, bits):
    """A pooling is made before the map is sent where one layer reads it, and nothing else."""
    workload = Workload(layers, 2)
    assert workload.sent_bits[0] == bits
    assert LayerTable.of(workload).sent_bits[0] == bits
    assert LayerTable.stack([workload, Workload((A,), 2)]).sent_bits[:, 0].tolist() == [bits, 256]


def test_it_is_one_which_of_two_layers_is_charged_for_a_pooling():
    """64 means of 2x2 spikes: pooled by the first layer, or by the second."""
    ways = (
        (replace(A, pool=2), replace(HEAD, input_adds=0)),
        (A, HEAD),
    )
    first, second = (CHIP.estimate(Workload(way, 3)).metrics() for way in ways)
    assert first == pytest.approx(second, rel=1e-12)
