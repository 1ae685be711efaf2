"""The Triton kernels beside the Python scan; run by test_triton.py in Triton's interpreter."""

import itertools

import pytest
import torch

from nas_service.snn.neurons import SURROGATES, Neuron
from nas_service.snn.neurons.scan import python_backward, python_forward
from nas_service.snn.neurons.triton_scan import KERNELS

LAYOUTS = {
    "plain": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "strided": lambda x: x[:, :, ::2],
    "expanded": lambda x: x[:1].expand(len(x), -1, -1, -1),
}


def noise(*shape, seed=1):
    return 1.5 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + 0.4


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("steps", [1, 3])
def test_kernels_equal_the_python_scan(layout, steps, constant):
    x = LAYOUTS[layout](noise(6, 5, 4, 6))
    kinds = itertools.product(SURROGATES, ("zero", "subtract"), (True, False), (True, False))
    for kind in kinds:
        surrogate, reset, detach, at = kind
        neuron = Neuron(1.0, 4 / 3, surrogate, reset, detach, at)
        spikes, kept = KERNELS.forward(x, neuron, steps, constant)
        expected, potential = python_forward(x, neuron, steps, constant)
        assert 0.01 < spikes.mean() < 0.9, kind
        assert torch.equal(spikes, expected), kind
        weight = noise(*spikes.shape, seed=2)
        result = KERNELS.backward(kept, weight, neuron, steps, constant)
        right = python_backward(potential, weight, neuron, steps, constant)
        assert torch.allclose(result, right, atol=1e-5), kind


def test_the_threshold_is_met_exactly():
    x = torch.tensor([[2.0, 1.75]])
    for at in (True, False):
        spikes, _ = KERNELS.forward(x, Neuron(tau=2.0, fires_at_threshold=at), 1, False)
        assert spikes.tolist() == [[float(at), 0.0]]


def test_bf16():
    x, weight = noise(6, 5, 7).bfloat16(), noise(6, 5, 7, seed=2).bfloat16()
    spikes, kept = KERNELS.forward(x, Neuron(), 3, False)
    expected, potential = python_forward(x, Neuron(), 3, False)
    assert torch.equal(spikes, expected)
    result = KERNELS.backward(kept, weight, Neuron(), 3, False)
    right = python_backward(potential, weight, Neuron(), 3, False)
    assert result.dtype == torch.bfloat16
    assert torch.allclose(result.float(), right.float(), rtol=2**-7, atol=1e-6)
