"""The neuron: spikes and gradients worked out by hand; Norse and SpikingJelly as twins."""

import itertools
import math

import norse.torch as norse
import pytest
import torch
from later import Later

from nas_service.errors import SpecError
from nas_service.snn.neurons import LIF, SURROGATES, Neuron, backend_name, norse_parameters

peer = Later("spikingjelly.activation_based.neuron")
peer_surrogate = Later("spikingjelly.activation_based.surrogate")
KINDS = {
    f"{surrogate}-{reset}{'-detached' * detach}{'-at' * at}": Neuron(
        surrogate=surrogate, reset=reset, detach_reset=detach, fires_at_threshold=at
    )
    for surrogate, reset, detach, at in itertools.product(
        SURROGATES, ("zero", "subtract"), (True, False), (True, False)
    )
}


@pytest.fixture(params=["python", "cpp"])
def backend(request, monkeypatch):
    if request.param == "cpp":
        request.getfixturevalue("cpp_scan")
    monkeypatch.setenv("NAS_NEURONS", request.param)
    assert backend_name() == request.param
    return request.param


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
        ([2.0, 2.0, 2.0, 2.0], [1, 1, 1, 1]),  # 1.5, and anew from 0
        ([4 / 3, 0.0, 0.0, 0.0], [0, 0, 0, 0]),  # 3/4 of 4/3 is 1 in floating point as well
        ([1.34, 0.0, 0.0, 0.0], [1, 0, 0, 0]),
    ],
)
def test_traces_by_hand(currents, spikes, backend):
    """u = v / 4 + 3 x / 4, spike above 1, then v = 0."""
    x = torch.tensor(currents).unsqueeze(1)
    lif = LIF(4)
    assert lif(x).flatten().tolist() == spikes
    assert lif.forward_stepwise(x).flatten().tolist() == spikes


def test_calls_are_independent(backend):
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
def test_gradients_of_the_last_spike_by_hand(form, currents, gradient, backend):
    """Triangle: max(0, 1 - |u - 1|), times 3/4 for the current and 1/4 for each step back."""
    x = torch.tensor(currents, requires_grad=True)
    getattr(LIF(2, Neuron(surrogate="triangle")), form)(x)[1].backward()
    assert x.grad.tolist() == pytest.approx(gradient)


def test_surrogates_by_hand():
    u = torch.tensor([0.0, 0.5, -0.5, 1.0, 2.0])
    assert SURROGATES["triangle"](u.clone()).tolist() == [1, 0.5, 0.5, 0, 0]
    atan = [1 / (1 + (math.pi * x) ** 2) for x in u.tolist()]
    assert SURROGATES["atan"](u.clone()).tolist() == pytest.approx(atan)


def test_an_unknown_surrogate_gets_a_suggestion():
    with pytest.raises(SpecError, match="did you mean 'triangle'"):
        LIF(2, Neuron(surrogate="triangel"))


LAYOUTS = {
    "plain": lambda x: x,
    "channels_last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "strided": lambda x: x[:, ::2],
    "transposed": lambda x: x.transpose(2, 3),
    "shifted": lambda x: x.flatten()[1:-39].view(8, 12, 55),
    "flat": lambda x: x[:, :, 0, 0],
    "expanded": lambda x: x[:2].repeat(1, 1, 1, 1)[:1].expand(len(x), -1, -1, -1),
}


def run(form, layer, x, weight):
    """Spikes, and the gradient of their weighted sum."""
    x = x.detach().requires_grad_()
    spikes = getattr(layer, form)(x)
    (gradient,) = torch.autograd.grad(spikes, x, weight)
    return spikes.detach(), gradient


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_scan_equals_steps_in_any_layout(layout, steps, backend):
    x = LAYOUTS[layout](noise(8, 5, 7, 19))
    weight = noise(*x.shape, seed=2)
    for kind, neuron in KINDS.items():
        lif = LIF(steps, neuron)
        ours, our_gradient = run("forward", lif, x, weight)
        reference, their_gradient = run("forward_stepwise", lif, x, weight)
        assert 0.01 < ours.mean() < 0.9, kind
        assert torch.equal(ours, reference), kind
        assert our_gradient.abs().max() > 0.01, kind
        assert torch.allclose(our_gradient, their_gradient, atol=1e-6), kind


@pytest.mark.parametrize("steps", [1, 3, 40])
@pytest.mark.parametrize("shape", [(1, 1), (2, 1, 1, 1), (1, 3, 37, 41), (3, 2049)])
def test_odd_sizes(shape, steps, backend):
    x = noise(steps * shape[0], *shape[1:])
    weight, lif = noise(*x.shape, seed=2), LIF(steps, Neuron(detach_reset=False))
    ours, our_gradient = run("forward", lif, x, weight)
    reference, their_gradient = run("forward_stepwise", lif, x, weight)
    assert torch.equal(ours, reference)
    assert torch.allclose(our_gradient, their_gradient, atol=1e-5)


@pytest.mark.parametrize("layout", ["plain", "channels_last", "strided"])
@pytest.mark.parametrize("steps", [1, 5])
def test_a_constant_current_is_one_repeated(layout, steps, backend):
    x = LAYOUTS[layout](noise(4, 6, 5, 3))
    repeated = torch.cat([x] * steps)
    weight, neuron = noise(*repeated.shape, seed=2), Neuron(reset="subtract", detach_reset=False)
    ours, our_gradient = run("forward", LIF(steps, neuron, constant=True), x, weight)
    reference, their_gradient = run("forward", LIF(steps, neuron), repeated, weight)
    assert 0.01 < ours.mean() < 0.9
    assert torch.equal(ours, reference)
    summed = their_gradient.unflatten(0, (steps, -1)).sum(0)
    assert torch.allclose(our_gradient, summed, atol=1e-5)


@pytest.mark.parametrize("layout", ["plain", "channels_last"])
def test_bf16_is_the_fp32_scan_rounded_at_its_ends(layout, backend):
    x = LAYOUTS[layout](noise(10, 6, 5, 3)).bfloat16()
    weight, lif = noise(*x.shape, seed=2).bfloat16(), LIF(5)
    ours, our_gradient = run("forward", lif, x, weight)
    reference, their_gradient = run("forward_stepwise", lif, x.float(), weight.float())
    assert ours.dtype == our_gradient.dtype == torch.bfloat16
    assert 0.01 < ours.float().mean() < 0.9
    assert torch.equal(ours.float(), reference)
    assert torch.allclose(our_gradient.float(), their_gradient, rtol=2**-8, atol=1e-6)


def test_spikes_have_the_memory_layout_of_their_currents(backend):
    x = noise(6, 4, 5, 5)
    last = x.contiguous(memory_format=torch.channels_last)
    assert LIF(3)(x).is_contiguous()
    assert LIF(3)(last).is_contiguous(memory_format=torch.channels_last)
    assert LIF(3, constant=True)(last).is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("at", [True, False])
def test_at_the_threshold(at, backend):
    """tau 2: half of 2 is the threshold, where SpikingJelly's neurons fire and Norse's do not."""
    assert LIF(1, Neuron(tau=2.0, fires_at_threshold=at))(torch.tensor([[2.0]])).item() == at


@pytest.mark.parametrize("steps", [1, 3, 8])
def test_scan_equals_norse_cell(steps, backend):
    """Norse's LIFBoxCell with its own spike function, one step after the other."""
    current = noise(steps, 5, 7, seed=steps)
    cell, state, spikes = norse.LIFBoxCell(norse_parameters(Neuron()), dt=1.0), None, []
    for x in current:
        z, state = cell(x, state)
        spikes.append(z)
    ours = LIF(steps)(current.flatten(0, 1)).view(steps, 5, 7)
    assert 0.01 < ours.mean() < 0.9
    assert torch.equal(ours, torch.stack(spikes))


def test_the_current_is_not_changed(backend):
    x = noise(4, 3)
    before = x.clone()
    LIF(2)(x)
    assert torch.equal(x, before)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("detach", [True, False])
def test_gradients_equal_norse_cell_with_its_own_triangle(reset, detach, backend):
    neuron = Neuron(surrogate="triangle", reset=reset, detach_reset=detach)
    x = noise(5, 4, 9).requires_grad_()
    parameters = norse_parameters(neuron)._replace(method="triangle", alpha=1.0)
    cell, state, spikes = norse.LIFBoxCell(parameters, dt=1.0), None, []
    for step in x:
        z, state = cell(step, state)
        spikes.append(z)
    reference, weight = torch.stack(spikes), noise(5, 4, 9, seed=2)
    (their_gradient,) = torch.autograd.grad(reference, x, weight)
    ours, our_gradient = run("forward", LIF(5, neuron), x.flatten(0, 1), weight.flatten(0, 1))
    assert 0.01 < ours.mean() < 0.9
    assert torch.equal(ours, reference.flatten(0, 1))
    assert torch.allclose(our_gradient, their_gradient.flatten(0, 1), atol=1e-5)


@pytest.mark.parametrize("reset", ["zero", "subtract"])
@pytest.mark.parametrize("detach", [True, False])
def test_scan_equals_spikingjelly(reset, detach, backend):
    """On currents in quarters with tau 2, so that potentials meet the threshold exactly."""
    x = (noise(6, 7, 11) * 4).round() / 4
    weight = noise(*x.shape, seed=2)
    theirs_layer = peer.LIFNode(
        tau=2.0,
        v_reset=0.0 if reset == "zero" else None,
        surrogate_function=peer_surrogate.ATan(),
        detach_reset=detach,
        step_mode="m",
    )
    reference, their_gradient = run("forward", theirs_layer, x, weight)
    neuron = Neuron(tau=2.0, reset=reset, detach_reset=detach, fires_at_threshold=True)
    flat = x.flatten(0, 1), weight.flatten(0, 1)
    ours, our_gradient = run("forward", LIF(6, neuron), *flat)
    above, _ = run("forward", LIF(6, Neuron(tau=2.0, reset=reset)), *flat)
    assert 0.01 < ours.mean() < 0.9
    assert torch.equal(ours, reference.flatten(0, 1))
    assert torch.allclose(our_gradient, their_gradient.flatten(0, 1), atol=1e-5)
    assert not torch.equal(above, ours)


def test_steps_that_do_not_divide_are_refused(backend):
    with pytest.raises(ValueError, match="5 folded steps are no multiple of 2 time steps"):
        LIF(2)(noise(5, 3))


def test_no_gradient_of_a_gradient(backend):
    x = noise(4, 3).requires_grad_()
    weight = noise(4, 3, seed=2).requires_grad_()
    (gradient,) = torch.autograd.grad(LIF(2)(x), x, weight, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        gradient.sum().backward()


def test_types_and_devices_the_cpp_scan_does_not_know_run_in_python(backend):
    x = noise(4, 3).double()
    assert torch.equal(LIF(2)(x), LIF(2).forward_stepwise(x))
    assert LIF(2)(torch.empty(4, 3, device="meta")).shape == (4, 3)


def test_norse_by_choice(monkeypatch):
    monkeypatch.setenv("NAS_NEURONS", "norse")
    assert backend_name() == "norse"
    assert LIF(2)(noise(4, 3)).grad_fn is None
    spikes = LIF(2)(noise(4, 3).requires_grad_())
    assert "Scan" not in type(spikes.grad_fn).__name__


def test_an_unknown_backend_gets_a_suggestion(monkeypatch):
    monkeypatch.setenv("NAS_NEURONS", "pyton")
    with pytest.raises(SpecError, match="did you mean 'python'"):
        LIF(2)(noise(4, 3))
