"""Batch norm and neurons in one: torch's batch norm and Norse's loop as twins."""

import itertools

import pytest
import torch
from torch import nn

from nas_service.snn.neurons import LIF, BatchNormLIF, Neuron
from nas_service.snn.training import firing_rate

pytestmark = pytest.mark.usefixtures("fused")

LAYOUTS = {
    "plain": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "strided": lambda x: x[:, :, ::2],
    "expanded": lambda x: x[:, :, :1].expand(-1, -1, 3, -1),
}
SHAPES = [(8, 5, 6, 7), (4, 1, 9, 3), (4, 40, 1, 1), (16, 3, 1, 2), (4, 7, 40, 41), (4, 1031, 2, 2)]


def noise(*shape, seed=1):
    return 2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + 3


def pair(channels, steps, neuron, constant=False):
    """The layer in one, and the same of torch's and Norse's parts."""
    one = BatchNormLIF(channels, steps, neuron, momentum=0.3, constant=constant)
    norm = nn.BatchNorm2d(channels, momentum=0.3)
    with torch.no_grad():
        norm.weight.copy_(1 + 0.2 * noise(channels, seed=3))
        norm.bias.copy_(0.1 * noise(channels, seed=4))
        norm.running_mean.fill_(2.5)
        norm.running_var.fill_(3.0)
    one.load_state_dict(norm.state_dict())
    return one, norm, LIF(steps, neuron, constant)


def gradients(spikes, norm, x, weight):
    return torch.autograd.grad(spikes, (x, norm.weight, norm.bias), weight)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_fused_layer_equals_norm_and_neurons(shape, layout):
    """In fp64 the twins' potentials are never as near to the threshold as fp32 rounds."""
    steps = 4
    neurons = (Neuron(), Neuron(surrogate="triangle", reset="subtract", detach_reset=False))
    for constant, training, neuron in itertools.product((False, True), (True, False), neurons):
        x = LAYOUTS[layout](noise(*shape)).requires_grad_()
        one, norm, lif = pair(shape[1], steps, neuron, constant)
        one.train(training), norm.double().train(training)
        ours, reference = one(x), lif.forward_stepwise(norm(x.double()))
        weight = noise(*ours.shape, seed=2) - 3
        assert 0.01 < ours.detach().mean() < 0.9
        assert torch.equal(ours, reference.float())
        expected = gradients(reference, norm, x, weight.double())
        for result, right in zip(gradients(ours, one, x, weight), expected, strict=True):
            assert torch.allclose(result, right.float(), rtol=1e-4, atol=1e-4)
        for key, value in norm.state_dict().items():
            assert torch.allclose(one.state_dict()[key].double(), value.double(), rtol=1e-5), key


def test_its_state_is_that_of_a_batch_norm():
    one, norm, _ = pair(3, 2, Neuron())
    assert list(one.state_dict()) == list(norm.state_dict())
    one.train()(noise(4, 3, 2, 2))
    norm.load_state_dict(one.state_dict())
    assert norm.num_batches_tracked == 1


def test_bf16_is_fp32_rounded_at_its_ends():
    x = noise(10, 6, 5, 3).bfloat16().requires_grad_()
    wide = x.detach().float().requires_grad_()
    one, _, _ = pair(6, 5, Neuron())
    ours, reference, weight = one(x), one(wide), noise(10, 6, 5, 3, seed=2).bfloat16()
    assert 0.01 < reference.detach().mean() < 0.9
    assert torch.equal(ours.float(), reference)
    (result,) = torch.autograd.grad(ours, x, weight)
    (right,) = torch.autograd.grad(reference, wide, weight.float())
    assert result.dtype == torch.bfloat16
    assert torch.allclose(result.float(), right, rtol=2**-6, atol=2**-7)


def test_a_large_mean_loses_no_precision():
    """4000 +- 1: the square of the mean is seven digits larger than the variance."""
    x = 4000 + torch.randn(64, 2, 9, 9, generator=torch.Generator().manual_seed(1))
    one, norm, _ = pair(2, 4, Neuron())
    one.train()(x), norm.double().train()(x.double())
    assert torch.allclose(one.running_var.double(), norm.running_var, rtol=1e-4)
    assert torch.allclose(one.running_mean.double(), norm.running_mean, rtol=1e-6)


@pytest.mark.parametrize("choice", ["python", "norse"])
def test_other_backends_run_both_one_after_the_other(choice, monkeypatch):
    x, (one, _, _) = noise(8, 5, 6, 7), pair(5, 4, Neuron())
    fused = one.eval()(x)
    monkeypatch.setenv("NAS_NEURONS", choice)
    assert 0.01 < fused.mean() < 0.9
    assert torch.equal(fused, one(x))


def test_hooks_of_the_neurons_see_their_spikes():
    one, _, _ = pair(5, 4, Neuron())
    x = noise(8, 5, 6, 7)
    assert firing_rate(one, x) == pytest.approx(one.eval()(x).mean().item())


def test_no_statistics_of_a_single_value():
    one, _, _ = pair(5, 1, Neuron())
    with pytest.raises(ValueError, match="one value per channel"):
        one.train()(noise(1, 5, 1, 1))
    with pytest.raises(ValueError, match="expected 4D"):
        one(noise(1, 5))


def test_steps_that_do_not_divide_are_refused():
    one, _, _ = pair(3, 2, Neuron())
    with pytest.raises(ValueError, match="5 folded steps are no multiple of 2 time steps"):
        one(noise(5, 3, 2, 2))


def test_other_channels_are_refused_as_torch_does():
    one, _, _ = pair(3, 2, Neuron())
    with pytest.raises(RuntimeError, match="running_mean should contain 5 elements not 3"):
        one(noise(4, 5, 2, 2))


def test_nan_is_not_hidden():
    one, _, _ = pair(2, 2, Neuron())
    x = noise(4, 2, 3, 3)
    x[0, 1, 0, 0] = float("nan")
    one.train()(x)
    assert one.running_var.isnan().tolist() == [False, True]
    assert one.running_mean.isnan().tolist() == [False, True]


def test_without_momentum_the_mean_over_all_calls():
    """As `recalibrate` asks for: three batches count alike."""
    one, norm = BatchNormLIF(4, 2), nn.BatchNorm2d(4)
    one.momentum = norm.momentum = None
    for seed in range(3):
        x = torch.randn(6, 4, 5, 5, generator=torch.Generator().manual_seed(seed))
        one.train()(x)
        norm.train()(x)
    torch.testing.assert_close(one.state_dict(), norm.state_dict())
    assert one.running_mean.abs().max() > 0.001
