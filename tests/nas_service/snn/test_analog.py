"""Networks on simulated chips: an ideal one is the digital network, a poor one is not."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from hw_models import load_profile
from nas_service.data.batches import ImageTensors
from nas_service.snn.analog import _reader, accuracy_on_chip, converted, simulated
from nas_service.snn.network import Network
from nas_service.snn.quantization import Rounding, matrix_of, quantize
from nas_service.snn.training import firing_rate
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.task import Task

CELL = Cell(("conv3x3", "avgpool3x3", "conv1x1", "skip", "conv1x1", "conv3x3"))
IDEAL = {"conductance_spread": 0, "off_resistance": 1e9, "adc_bits": 8}
TASK = Task(1, 8, 10)


def chip(**changes):
    return load_profile("corrected").with_values({**IDEAL, **changes}).chip


@pytest.fixture(scope="module")
def network():
    return network_of(CELL)


def network_of(cell):
    """Random weights; batch norm set to what it sees, so that neurons fire in every layer."""
    torch.manual_seed(3)
    a = Architecture((cell, cell), channels=6, head_pool=2, hidden=20, time_steps=3, weight_bits=4)
    result = Network(a, TASK, votes=2)
    with torch.no_grad():
        for _ in range(20):
            result.train()(torch.rand(64, 1, 8, 8))
        result.hidden[-1].parametrizations.weight.original.mul_(8)  # so that the head fires too
    return result.eval()


@pytest.fixture(scope="module")
def images():
    return torch.rand(30, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def scores(network, images, c, seed=0):
    with torch.inference_mode(), simulated(network, c, np.random.default_rng(seed)):
        return network(images)


VARIANTS = [
    {},
    {"mapping": "im2col"},
    {"sign": "offset"},
    {"bits_per_cell": 3},
    {"crossbar_size": 16, "mapping": "im2col", "sign": "offset", "bits_per_cell": 2},
]


@pytest.mark.parametrize("changes", VARIANTS)
def test_an_ideal_chip_is_the_digital_network(network, images, changes):
    assert 0.02 < firing_rate(network, images) < 0.98
    with torch.inference_mode():
        digital = network(images)
    assert torch.allclose(scores(network, images, chip(**changes)), digital, atol=1e-4)
    assert digital.std(0).min() > 0.001, "images must have different scores"


@pytest.mark.parametrize(
    "rounding",
    [
        Rounding(3, "tensor"),
        Rounding(2, step_size="learned"),
        Rounding(5, step_size="mse", mode="ptq"),
    ],
    ids=str,
)
def test_cells_hold_the_integers_of_every_rounding(network, images, rounding):
    other = copy.deepcopy(network)
    for name, block in other.blocks().items():
        if name not in ("hidden", "readout"):
            quantize(matrix_of(block), rounding)
    assert 0.02 < firing_rate(other, images) < 0.98
    with torch.inference_mode():
        digital = other(images)
    assert not torch.equal(digital, scores(network, images, chip()))
    assert torch.allclose(scores(other, images, chip()), digital, atol=1e-4)
    assert digital.std(0).min() > 0.001


def test_too_few_converter_bits_lose_something(network, images):
    """Six channels in an array of 64 rows: sums of 0 .. 6 need three bits."""
    with torch.inference_mode():
        digital = network(images)
    few = chip(adc_bits=1)
    assert not torch.allclose(scores(network, images, few), digital, atol=1e-2)


@pytest.mark.parametrize(
    "fault",
    [
        {"conductance_spread": 0.5},
        {"stuck_on": 0.1},
        {"stuck_off": 0.1},
        {"wire_resistance": 2},
        {"drift_exponent": 0.1, "drift_seconds": 1e6},
    ],
)
def test_every_fault_changes_the_scores(network, images, fault):
    ideal, faulty = (scores(network, images, chip(**f)) for f in ({}, fault))
    assert (ideal - faulty).abs().max() > 0.01


def test_chips_are_drawn_from_the_seed_alone(network, images):
    labels = torch.arange(30) % 10
    poor = chip(conductance_spread=0.6)
    before = torch.random.get_rng_state()
    result = accuracy_on_chip(network, ImageTensors(images, labels), poor, draws=4, seed=7)
    assert len(result) == 4
    torch.manual_seed(99)
    assert accuracy_on_chip(network, ImageTensors(images, labels), poor, draws=4, seed=7) == result
    torch.random.set_rng_state(before)
    one, other = (scores(network, images, poor, seed) for seed in (1, 2))
    assert not torch.equal(one, other)


def test_the_network_is_left_as_it_was(network, images):
    with torch.inference_mode():
        before = network(images)
    with (
        pytest.raises(RuntimeError, match="on purpose"),
        simulated(network, chip(stuck_on=1), np.random.default_rng(0)),
    ):
        raise RuntimeError("on purpose")
    with torch.inference_mode():
        assert torch.equal(network(images), before)
    assert not any("forward" in vars(m) for m in network.modules())


def test_a_converter_rounds_and_clips():
    sums = torch.tensor([-0.2, 0.4, 0.6, 3.2, 7.4, 7.6, 900.0])
    assert converted(sums, 3).tolist() == [0, 0, 1, 3, 7, 7, 7]


@pytest.mark.parametrize("changes", VARIANTS)
def test_an_ideal_chip_holds_separable_convolutions(images, changes):
    cell = Cell(("sepconv3x3", "skip", "conv1x1", "zeroize", "zeroize", "sepconv3x3"))
    made = network_of(cell)
    assert 0.02 < firing_rate(made, images) < 0.98
    with torch.inference_mode():
        digital = made(images)
    assert torch.allclose(scores(made, images, chip(**changes)), digital, atol=1e-4)
    assert digital.std(0).min() > 0.001
    assert not torch.allclose(scores(made, images, chip(adc_bits=1)), digital, atol=1e-2)


def test_groups_do_not_share_a_converter_s_sum():
    """Two groups of four inputs, all spikes and all weights 1: each sum is 4, not 8."""
    grouped = nn.Conv2d(8, 2, 1, groups=2, bias=False)
    nn.init.ones_(grouped.weight)
    matrix = quantize(grouped, Rounding(2))
    spikes = torch.ones(1, 8, 3, 3)
    for bits, sums in ((3, 4.0), (2, 3.0)):  # two bits count to 3
        read = _reader(matrix, 1, chip(adc_bits=bits), np.random.default_rng(0))
        with torch.inference_mode():
            assert read(spikes) == pytest.approx(torch.full((1, 2, 3, 3), sums))
