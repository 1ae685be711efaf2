"""Weights of few bits: how many levels, which integers, and a gradient that passes unchanged."""

import pytest
import torch
from torch import nn

from nas_service.snn.quantization import FakeQuantize, Rounding, integer_weights, quantize, scales

BITS = range(2, 9)


def weights(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(6))


def test_three_levels_by_hand():
    """Two bits hold -1, 0, 1 steps; the step of a channel is its largest weight."""
    weight = torch.tensor([[4.0, -1.0, 3.0], [0.5, 0.2, -0.3]])
    assert FakeQuantize(2)(weight).tolist() == [[4, 0, 4], [0.5, 0, -0.5]]
    assert scales(weight, 2).tolist() == [4, 0.5]
    assert integer_weights(weight, 2)[0].tolist() == [[1, 0, 1], [1, 0, -1]]


def test_seven_levels_by_hand():
    """Three bits hold -3..3: 0.6, -0.3, 0.1 are 3, -1.5 (rounds to even: -2) and 0.5 (to 0)."""
    integers, scale = integer_weights(torch.tensor([[6.0, -3.0, 1.0]]), 3)
    assert (integers.tolist(), scale.tolist()) == ([[3, -2, 0]], [2])


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", [(4, 600), (4, 60, 3, 3)])
def test_levels_of_a_channel(bits, shape):
    quantised = FakeQuantize(bits)(weights(*shape))
    for channel in quantised:
        assert 3 <= len(channel.unique()) <= 2**bits - 1
        assert -channel.min() <= channel.abs().max()


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("shape", [(4, 600), (4, 60, 3, 3)])
def test_integers_times_scale_are_the_weights(bits, shape):
    weight = weights(*shape)
    quantised = FakeQuantize(bits)(weight)
    integers, scale = integer_weights(weight, bits)
    product = integers * scale.view(-1, *[1] * (len(shape) - 1))
    assert integers.dtype == torch.int8
    assert integers.abs().amax() == 2 ** (bits - 1) - 1
    assert quantised.abs().max() > 1
    one_ulp = torch.finfo(torch.float32).eps * quantised.abs()
    assert ((product - quantised).abs() <= one_ulp).all()


@pytest.mark.parametrize("bits", BITS)
def test_rounding_moves_a_weight_by_half_a_step_at_most(bits):
    weight = weights(4, 600)
    moved = (FakeQuantize(bits)(weight) - weight).abs().amax(1)
    assert (moved <= 0.5001 * scales(weight, bits)).all()
    assert (moved > 0.3 * scales(weight, bits)).all()


@pytest.mark.parametrize("bits", BITS)
def test_gradients_pass_unchanged(bits):
    """The largest weight of a channel may stand on the edge of the grid and be cut by rounding."""
    weight = weights(4, 600).requires_grad_()
    (3 * FakeQuantize(bits)(weight)).sum().backward()
    inside = weight.detach().abs() < weight.detach().abs().amax(1, keepdim=True)
    assert (weight.grad[inside] == 3).all()


@pytest.mark.parametrize("bits", BITS)
def test_a_channel_of_zeros_stays_zero(bits):
    weight = torch.zeros(2, 5)
    assert FakeQuantize(bits)(weight).tolist() == weight.tolist()
    assert integer_weights(weight, bits)[0].tolist() == weight.tolist()


def test_a_layer_sees_its_weights_rounded_and_trains_the_others():
    layer = quantize(nn.Linear(3, 1, bias=False), Rounding(2))
    with torch.no_grad():
        layer.parametrizations.weight.original.copy_(torch.tensor([[4.0, -1.0, 3.0]]))
    assert layer(torch.ones(1, 3)).item() == 8
    assert [name for name, _ in layer.named_parameters()] == ["parametrizations.weight.original"]
