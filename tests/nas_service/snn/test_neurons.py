"""The neuron: spikes and gradients worked out by hand, and Norse's own loop as its twin."""

import math

import norse.torch as norse
import pytest
import torch

from nas_service.errors import SpecError
from nas_service.snn.neurons import LIF, SURROGATES, Neuron, norse_parameters


def noise(*shape, seed=1):
    return 1.5 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + 0.4


@pytest.mark.parametrize(
    ("currents", "spikes"),
    [
        ([1.2, 1.2, 1.2, 1.2], [0, 1, 0, 1]),  # u: 0.9, 1.125, 0.9, 1.125
        ([1.0, 1.25, 1.0, 1.0], [0, 1, 0, 0]),  # 0.75, 1.125, 0.75, 0.9375
        ([-4.0, 2.0, 2.0, 0.0], [0, 0, 1, 0]),  # -3, 0.75, 1.6875, 0
        ([0.0, 0.0, 0.0, 8.0], [0, 0, 0, 1]),
        ([8.0, 0.0, 0.0, 0.0], [1, 0, 0, 0]),  # a hard reset keeps nothing of the surplus
        ([1.0, 1.0, 1.0, 1.0], [0, 0, 0, 0]),  # 1 - 4^-t never reaches 1
    ],
)
def test_traces_by_hand(currents, spikes):
    """u = v / 4 + 3 x / 4, spike above 1, then v = 0."""
    x = torch.tensor(currents).unsqueeze(1)
    lif = LIF(4)
    assert lif(x).flatten().tolist() == spikes
    assert lif.forward_stepwise(x).flatten().tolist() == spikes


def test_calls_do_not_meet():
    lif = LIF(1)
    assert [lif(torch.tensor([1.2])).item() for _ in range(3)] == [0, 0, 0]


@pytest.mark.parametrize("form", ["forward", "forward_stepwise"])
@pytest.mark.parametrize(
    ("currents", "gradient"),
    [
        ([1.0, 1.0], [0.9375 * 0.25 * 0.75, 0.9375 * 0.75]),  # u2 = 0.9375, so 1 - 0.0625
        ([2.0, 1.0], [0.0, 0.75 * 0.75]),  # the spike at 1 cuts the way to step 2
        ([0.0, -4.0], [0.0, 0.0]),  # too far from the threshold
    ],
)
def test_gradients_of_the_last_spike_by_hand(form, currents, gradient):
    """Triangle: max(0, 1 - |u - 1|), times 3/4 for the current and 1/4 for each step back."""
    x = torch.tensor(currents, requires_grad=True)
    getattr(LIF(2, Neuron(surrogate="triangle")), form)(x)[1].backward()
    assert x.grad.tolist() == pytest.approx(gradient)


def test_surrogates_by_hand():
    u = torch.tensor([0.0, 0.5, -0.5, 1.0, 2.0])
    assert SURROGATES["triangle"](u.clone()).tolist() == [1, 0.5, 0.5, 0, 0]
    atan = [1 / (1 + (math.pi * x) ** 2) for x in u.tolist()]
    assert SURROGATES["atan"](u.clone()).tolist() == pytest.approx(atan)


def test_unknown_surrogate_names_its_like():
    with pytest.raises(SpecError, match="did you mean 'triangle'"):
        LIF(2, Neuron(surrogate="triangel"))


LAYOUTS = {
    "plain": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "strided": lambda x: x[:, ::2],
    "transposed": lambda x: x.transpose(2, 3),
    "expanded": lambda x: x[:2].repeat(1, 1, 1, 1)[:1].expand(len(x), -1, -1, -1),
}


@pytest.mark.parametrize("surrogate", SURROGATES)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_scan_equals_steps_in_any_layout(surrogate, layout, steps):
    found = []
    for form in ("forward", "forward_stepwise"):
        x = noise(8, 4, 6, 6).requires_grad_()
        spikes = getattr(LIF(steps, Neuron(surrogate=surrogate)), form)(LAYOUTS[layout](x))
        (spikes * noise(*spikes.shape, seed=2)).sum().backward()
        found.append((spikes.detach(), x.grad))
    (ours, our_gradient), (theirs, their_gradient) = found
    assert 0.01 < ours.mean() < 0.9
    assert torch.equal(ours, theirs)
    assert our_gradient.abs().max() > 0.01
    assert torch.allclose(our_gradient, their_gradient, atol=1e-5)


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_scan_equals_norse_cell(steps):
    """Norse's LIFBoxCell with its own spike function, one step after the other."""
    current = noise(steps, 5, 7, seed=steps)
    cell, state, spikes = norse.LIFBoxCell(norse_parameters(Neuron()), dt=1.0), None, []
    for x in current:
        z, state = cell(x, state)
        spikes.append(z)
    ours = LIF(steps)(current.flatten(0, 1)).view(steps, 5, 7)
    assert 0.01 < ours.mean() < 0.9
    assert torch.equal(ours, torch.stack(spikes))


def test_the_current_is_left_alone():
    x = noise(4, 3)
    before = x.clone()
    LIF(2)(x)
    assert torch.equal(x, before)
