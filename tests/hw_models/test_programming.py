"""Programmed crossbars: as many as the cost model counts, and they hold the weights exactly."""

import numpy as np
import pytest

from hw_models import Layer, Workload, load_profile
from hw_models.errors import HardwareError
from hw_models.layer_table import LayerTable
from hw_models.mapping import tile
from hw_models.nonideality import off_steps
from hw_models.programming import NONE, program

CHIPS = {
    "default": {},
    "unrolled": {"mapping": "im2col"},
    "offset": {"sign": "offset"},
    "offset, unrolled, small": {"sign": "offset", "mapping": "im2col", "crossbar_size": 16},
    "two bits, small": {"bits_per_cell": 2, "crossbar_size": 16},
}
LAYERS = [  # outputs, inputs, kernel, groups, bits
    (20, 10, 3, 1, 8),
    (7, 3, 1, 1, 2),
    (12, 12, 3, 12, 4),
    (8, 4, 3, 2, 5),
    (40, 90, 1, 1, 3),
    (64, 64, 3, 64, 8),
]


def chip_of(changes):
    return load_profile("corrected").with_values(changes).chip


def sums(crossbars, x, chip, outputs, bits, groups):
    """What the arrays compute of inputs [N, C P], from currents in steps of one level."""
    currents = [x[:, c.inputs] @ (c.levels + off_steps(chip)) for c in crossbars]
    result = np.zeros((len(x), outputs))
    for crossbar, current in zip(crossbars, currents, strict=True):
        for k, output in enumerate(crossbar.outputs):
            if output != NONE:
                array, column = crossbar.references[k]
                off = currents[array][:, column] if array != NONE else 0
                result[:, output] += crossbar.worth[k] * (current[:, k] - off)
    if not chip.is_differential:
        per_group = x.reshape(len(x), groups, -1).sum(2) * 2 ** (bits - 1)
        result -= np.repeat(per_group, outputs // groups, 1)
    return result


@pytest.mark.parametrize("changes", CHIPS.values(), ids=CHIPS)
@pytest.mark.parametrize(("outputs", "inputs", "kernel", "groups", "bits"), LAYERS)
def test_arrays_hold_the_weights_and_are_those_that_are_costed(
    changes, outputs, inputs, kernel, groups, bits
):
    chip, rng = chip_of(changes), np.random.default_rng(0)
    largest = 2 ** (bits - 1) - 1
    weights = rng.integers(-largest, largest + 1, (outputs, inputs // groups, kernel**2))
    crossbars = program(weights, bits, groups, chip)
    layer = Layer(
        "layer", "conv", inputs, outputs, kernel=kernel, in_size=8, out_size=8,
        parameters=weights.size, weight_bits=bits, groups=groups, sources=(),
    )  # fmt: skip
    assert len(crossbars) == tile(chip, LayerTable.of(Workload((layer,), 1))).crossbars[0]
    x = rng.integers(0, 3, (4, inputs * kernel**2)).astype(float)
    split = x.reshape(4, groups, inputs // groups, kernel**2)
    grouped = weights.reshape(groups, outputs // groups, inputs // groups, kernel**2)
    expected = np.einsum("ngcp,gocp->ngo", split, grouped).reshape(4, outputs)
    computed = sums(crossbars, x, chip, outputs, bits, groups)
    assert np.allclose(computed, expected, rtol=0, atol=1e-6)
    size = chip.figures.crossbar_size
    assert all(max(c.levels.shape) <= size for c in crossbars)


def test_one_weight_by_hand():
    """-5 of 4 bits in 1-bit cells: three slices, of the negative column 101."""
    (crossbar,) = program(np.array([[[-5]]]), 4, 1, chip_of({}))
    assert crossbar.levels.tolist() == [[0, 1, 0, 0, 0, 1]]
    assert crossbar.worth.tolist() == [1, -1, 2, -2, 4, -4]
    assert crossbar.outputs.tolist() == [0] * 6


def test_a_weight_in_one_cell_of_any_bits_cannot_be_programmed():
    chip = load_profile("spikesim_rram").chip
    with pytest.raises(HardwareError, match=r"D15.*'corrected'"):
        program(np.array([[[1]]]), 8, 1, chip)
