"""Convolutions by their spikes: sums one can do in the head, and torch's convolution as twin."""

import pytest
import torch
from torch import nn

from nas_service.snn.neurons import SpikeConv2d
from nas_service.snn.neurons.native import spikes_of
from nas_service.snn.neurons.spike_conv import worthwhile
from nas_service.snn.quantization import Rounding, quantize

pytestmark = pytest.mark.usefixtures("fused")


def last(x):
    return x.contiguous(memory_format=torch.channels_last)


def spikes(*shape, rate=0.1, seed=1):
    z = torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < rate
    return last(z.float())


def runs_by_spikes(y):
    return type(y.grad_fn).__name__ == "_SpikeConvBackward"


def test_one_spike_draws_the_turned_kernel():
    """Output (i, j) sees the spike at (1, 1) through weight (1 - i + 1, 1 - j + 1)."""
    conv = SpikeConv2d(1, 1, 3, padding=1, bias=False)
    conv.weight.data = torch.arange(1.0, 10).view(1, 1, 3, 3)
    x = torch.zeros(1, 1, 24, 3)
    x[0, 0, 1, 1] = 1
    y = conv(x)
    assert runs_by_spikes(y)
    assert y[0, 0, :4].tolist() == [[9, 8, 7], [6, 5, 4], [3, 2, 1], [0, 0, 0]]
    assert y[0, 0, 4:].abs().max() == 0
    y.sum().backward()
    assert conv.weight.grad.flatten().tolist() == [1] * 9


def test_places_by_hand():
    x = torch.zeros(2, 2, 1, 3)
    x[0, 1, 0, 2] = x[1, 0, 0, 0] = x[1, 1, 0, 0] = 1
    result = spikes_of(last(x), 1.0)
    assert result.positions.tolist() == [5, 0, 1]  # channels innermost
    assert result.ends.tolist() == [1, 3]
    assert spikes_of(last(x), 0.2) is None  # 3 of 12 are too many
    assert spikes_of(last(x / 2), 1.0) is None


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(
    "shape", [(4, 16, 9, 9), (3, 32, 8, 5), (2, 5, 7, 1), (1, 65, 6, 6), (2, 64, 1, 1)], ids=str
)
@pytest.mark.parametrize("c_out", [7, 16, 32, 64])
def test_equals_a_dense_convolution(shape, c_out, kernel):
    torch.manual_seed(0)
    ours = SpikeConv2d(shape[1], c_out, kernel, padding=kernel // 2, bias=False)
    reference = nn.Conv2d(shape[1], c_out, kernel, padding=kernel // 2, bias=False)
    reference.load_state_dict(ours.state_dict())
    z = spikes(*shape, rate=0.05)
    assert 0.01 < z.mean() < 0.09
    x, y = z.clone().requires_grad_(), z.double().requires_grad_()
    result, right = ours(x), reference.double()(y)
    assert runs_by_spikes(result)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert torch.allclose(result.double(), right, atol=1e-5)
    weight = torch.randn(result.shape)
    gradients = torch.autograd.grad(result, (x, ours.weight), weight)
    expected = torch.autograd.grad(right, (y, reference.weight), weight.double())
    for gradient, other in zip(gradients, expected, strict=True):
        assert gradient.abs().max() > 0.01
        assert torch.allclose(gradient.double(), other, atol=1e-4)


def test_more_channels_are_worth_more_spikes():
    """0.42 * 32 / 64 and 0.54 * 96 / 128."""
    assert worthwhile(32, training=False) == pytest.approx(0.21)
    assert worthwhile(96, training=True) == pytest.approx(0.405)
    conv, x = SpikeConv2d(4, 64, 3, padding=1, bias=False), spikes(4, 4, 16, 16, rate=0.32)
    assert worthwhile(64, training=False) < x.mean() < worthwhile(64, training=True)
    assert runs_by_spikes(conv(x))
    with torch.no_grad():
        assert torch.equal(conv(x), nn.functional.conv2d(x, conv.weight, padding=1))


def test_rounded_weights_train():
    """The gradient of weights seen through their rounding passes unchanged."""
    conv, x = SpikeConv2d(4, 8, 3, padding=1, bias=False), spikes(3, 4, 6, 6, rate=0.05)
    plain = nn.Conv2d(4, 8, 3, padding=1, bias=False)
    plain.load_state_dict(conv.state_dict())
    for module in (quantize(conv, Rounding(4)), quantize(plain, Rounding(4))):
        y = module(x)
        assert runs_by_spikes(y) == (module is conv)
        y.square().sum().backward()
    (ours,), (reference,) = conv.parameters(), plain.parameters()
    assert reference.grad.abs().max() > 0.01
    assert torch.allclose(ours.grad, reference.grad, atol=1e-4)


@pytest.mark.parametrize(
    "x",
    [
        pytest.param(spikes(2, 4, 6, 6, rate=0.5), id="too many spikes"),
        pytest.param(spikes(2, 4, 6, 6, rate=0.05) / 4, id="pooled spikes"),
        pytest.param(spikes(2, 4, 6, 6, rate=0.05).contiguous(), id="contiguous"),
        pytest.param(spikes(2, 4, 12, 6, rate=0.05)[:, :, ::2], id="strided"),
    ],
)
def test_other_inputs_run_densely(x):
    conv = SpikeConv2d(4, 8, 3, padding=1, bias=False)
    y = conv(x)
    assert not runs_by_spikes(y)
    assert torch.equal(y, nn.functional.conv2d(x, conv.weight, padding=1))


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1, "padding": 0, "bias": False},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "padding": 0, "bias": False},
        {"kernel_size": 3, "padding": 1, "bias": False, "stride": 2},
        {"kernel_size": 3, "padding": 1, "bias": False, "groups": 2},
        {"kernel_size": 3, "padding": 2, "bias": False, "dilation": 2},
        {"kernel_size": 3, "padding": 1, "bias": False, "padding_mode": "circular"},
        {"kernel_size": (3, 1), "padding": (1, 0), "bias": False},
        {"kernel_size": 2, "padding": 1, "bias": False},
    ],
    ids=str,
)
def test_other_convolutions_run_densely(options):
    torch.manual_seed(0)
    ours, reference = SpikeConv2d(4, 8, **options), nn.Conv2d(4, 8, **options)
    reference.load_state_dict(ours.state_dict())
    x = spikes(2, 4, 6, 6, rate=0.05)
    y = ours(x)
    assert not runs_by_spikes(y)
    assert torch.equal(y, reference(x))


def test_autocast_and_other_types_run_densely():
    conv, x = SpikeConv2d(4, 8, 3, padding=1, bias=False), spikes(2, 4, 6, 6, rate=0.05)
    assert runs_by_spikes(conv(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
    assert not runs_by_spikes(conv.double()(x.double()))
    assert conv.to("meta")(x.to("meta")).shape == (2, 8, 6, 6)


def test_other_channels_are_refused_as_torch_does():
    conv = SpikeConv2d(4, 8, 3, padding=1, bias=False)
    with pytest.raises(RuntimeError, match="to have 4 channels, but got 5"):
        conv(spikes(2, 5, 6, 6, rate=0.05))
