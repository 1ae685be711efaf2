"""Quantized weights: levels, integers, gradients, errors, and what is stored."""

import copy
import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nas_service.errors import SpecError
from nas_service.snn.quantization import (
    FakeQuantize,
    Rounding,
    absmax,
    initial_step,
    integer_weights,
    least_squares,
    matrix_of,
    network_parameters,
    quantize,
    quantizer_of,
    squared_error,
    steps_of,
)

BITS = range(2, 9)
KINDS = [("absmax", "qat"), ("absmax", "ptq"), ("mse", "ptq"), ("learned", "qat")]
ROUNDINGS = [
    Rounding(bits, per, scale, mode)
    for bits, per, (scale, mode) in itertools.product(BITS, ("channel", "tensor"), KINDS)
]
SHAPES = {"linear": (4, 600), "conv": (4, 60, 3, 3), "depthwise": (4, 1, 5, 5)}


def weights(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(6))


def layer(weight, rounding, training=False):
    """A matrix with the given weights, seen through the rounding."""
    if weight.dim() == 2:
        module = nn.Linear(weight.shape[1], weight.shape[0], bias=False)
    else:
        groups = 4 if weight.shape[1] == 1 else 1
        c_in, c_out, kernel = weight.shape[1] * groups, weight.shape[0], weight.shape[2]
        module = nn.Conv2d(c_in, c_out, kernel, groups=groups, bias=False)
    with torch.no_grad():
        module.weight.copy_(weight)
    return quantize(module, rounding).train(training)


def identifier(rounding):
    return f"{rounding.bits}-{rounding.granularity}-{rounding.step_size}-{rounding.mode}"


def every_rounding(test):
    """Runs a test under every rounding, all of a number of bits as one; a failure names which."""

    @pytest.mark.parametrize("bits", BITS)
    def of_bits(bits):
        for rounding in ROUNDINGS:
            if rounding.bits == bits:
                try:
                    test(rounding)
                except Exception as error:
                    error.add_note(identifier(rounding))
                    raise

    of_bits.__name__, of_bits.__doc__ = test.__name__, test.__doc__
    return of_bits


def test_three_levels_by_hand():
    """Two bits hold -1, 0, 1 steps; the step of a channel is its largest weight."""
    weight = torch.tensor([[4.0, -1.0, 3.0], [0.5, 0.2, -0.3]])
    module = layer(weight, Rounding(2))
    integers, scale = integer_weights(module)
    assert module.weight.tolist() == [[4, 0, 4], [0.5, 0, -0.5]]
    assert (integers.tolist(), scale.tolist()) == ([[1, 0, 1], [1, 0, -1]], [4, 0.5])


def test_one_grid_for_a_tensor_by_hand():
    """The step is the largest weight of all: 0.5, 0.2, -0.3 are less than half of 4."""
    weight = torch.tensor([[4.0, -1.0, 3.0], [0.5, 0.2, -0.3]])
    module = layer(weight, Rounding(2, granularity="tensor"))
    integers, scale = integer_weights(module)
    assert module.weight.tolist() == [[4, 0, 4], [0, 0, 0]]
    assert (integers.tolist(), scale.tolist()) == ([[1, 0, 1], [0, 0, 0]], [4, 4])


def test_seven_levels_by_hand():
    """Three bits hold -3..3: 6, -3, 1 are 3, -1.5 (rounds to even: -2) and 0.5 (to 0)."""
    integers, scale = integer_weights(layer(torch.tensor([[6.0, -3.0, 1.0]]), Rounding(3)))
    assert (integers.tolist(), scale.tolist()) == ([[3, -2, 0]], [2])


def test_least_squared_error_by_hand():
    """1, 1, 1, 3 on three levels: all one step of (1 + 1 + 1 + 3) / 4, an error of 3; the largest
    weight as the step loses the ones: an error of 3 as well. 2, 2, 2, 3: 9/4 and 3/4, against 3.
    """
    weight = torch.tensor([[2.0, 2.0, -2.0, 3.0]])
    step = least_squares(weight, 1)
    assert step.item() == pytest.approx(9 / 4)
    assert squared_error(weight, step, 1).item() == pytest.approx(3 / 4)
    assert squared_error(weight, absmax(weight, 1), 1).item() == pytest.approx(3)
    integers, scale = integer_weights(layer(weight, Rounding(2, step_size="mse", mode="ptq")))
    assert (integers.tolist(), scale.tolist()) == ([[1, 1, -1, 1]], [pytest.approx(9 / 4)])


@pytest.mark.parametrize("bits", BITS)
def test_clipping_is_near_the_best_there_is(bits):
    """Against every step of a fine grid; with few bits the largest weight is far from the best."""
    weight, limit = weights(4, 600), 2 ** (bits - 1) - 1
    result = squared_error(weight, least_squares(weight, limit), limit)
    steps = torch.linspace(0.02, 1, 2000)[:, None] * absmax(weight, limit)
    best = torch.stack([squared_error(weight, s, limit) for s in steps]).amin(0)
    naive = squared_error(weight, absmax(weight, limit), limit)
    assert (result <= (1.01 if bits < 5 else 1.2) * best).all()
    assert (result <= naive).all()
    assert bits > 3 or (result < 0.5 * naive).all()


def test_learned_step_starts_by_hand():
    """2 <|w|> / sqrt(L): 2 * 2 / sqrt(1) and 2 * 2 / sqrt(3); a channel of zeros starts at 1."""
    assert initial_step(torch.tensor([[1.0, -3.0], [0, 0]]), 1).tolist() == [4, 1]
    assert initial_step(torch.tensor([[1.0, -3.0]]), 3).item() == pytest.approx(4 / 3**0.5)
    module = layer(torch.tensor([[1.0, -3.0]]), Rounding(2, step_size="learned"))
    (step,) = steps_of(module)
    assert step.exp().item() == pytest.approx(4)


def test_gradients_of_a_learned_step_by_hand():
    """s = 2, three bits: L = 3, n = 4. w / s of 0.4, 1.7, -4, 3.4 give q = 0, 2, -3, 3.

    To the weights 1, 1, 0, 0 times what comes; to the step (0 - 0.4) 1 + (2 - 1.7) 2 + (-3) 3 +
    3 * 4 = 3.2, over sqrt(4 * 3); to its logarithm s times that.
    """
    module = layer(torch.tensor([[0.8, 3.4, -8.0, 6.8]]), Rounding(3, step_size="learned"), True)
    (log_step,) = steps_of(module)
    with torch.no_grad():
        log_step.fill_(torch.tensor(2.0).log())
    assert module.weight.tolist() == [[0, 4, -6, 6]]
    (module.weight * torch.tensor([1.0, 2, 3, 4])).sum().backward()
    assert module.parametrizations.weight.original.grad.tolist() == [[1, 2, 0, 0]]
    assert log_step.grad.item() == pytest.approx(2 * 3.2 / 12**0.5, rel=1e-5)


@pytest.mark.parametrize("per", ["channel", "tensor"])
@pytest.mark.parametrize("bits", BITS)
def test_gradients_of_learned_steps_against_autograd(bits, per):
    """The same from torch's own rules, the rounding's derivative being 1."""
    weight, limit = weights(*SHAPES["conv"]), 2 ** (bits - 1) - 1
    module = layer(weight, Rounding(bits, per, "learned"), True)
    came = torch.randn(weight.shape, generator=torch.Generator().manual_seed(1))
    (module.weight * came).sum().backward()
    w, log_step = weight.clone().requires_grad_(), next(steps_of(module)).detach().requires_grad_()
    grids = w.flatten(1) if per == "channel" else w.flatten()[None]
    ratio = grids / log_step.exp()[:, None]
    cut = ratio.clamp(-limit, limit)
    rounded = (cut + (cut.round() - cut).detach()) * log_step.exp()[:, None]
    (rounded.view_as(w) * came).sum().backward()
    factor = (grids.shape[1] * limit) ** -0.5
    assert torch.allclose(next(steps_of(module)).grad, log_step.grad * factor, rtol=1e-4, atol=1e-5)
    assert torch.allclose(module.parametrizations.weight.original.grad, w.grad)
    assert 0 < (w.grad == 0).float().mean() < 0.5 or bits > 3


def test_learned_steps_lower_an_error_that_they_meet():
    """Only the step may move: it finds the least squared error of fixed weights."""
    weight = weights(4, 600)
    module = layer(weight, Rounding(2, step_size="learned"), True)
    module.parametrizations.weight.original.requires_grad_(False)
    optimizer = torch.optim.Adam(list(steps_of(module)), lr=0.02)
    errors = []
    for _ in range(150):
        loss = (module.weight - weight).square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        errors.append(loss.item())
    best = squared_error(weight, least_squares(weight, 1), 1).sum().item()
    assert errors[0] > 1.1 * best
    assert errors[-1] < 1.02 * best


@pytest.mark.parametrize("rate", [1e-3, 1.0, 1e6])
def test_a_learned_step_stays_positive_and_finite(rate):
    """Even where an optimizer goes mad, downwards or upwards."""
    for sign in (-1, 1):
        module = layer(weights(4, 600), Rounding(4, step_size="learned"), True)
        optimizer = torch.optim.Adam(list(steps_of(module)), lr=rate)
        for _ in range(3):
            optimizer.zero_grad()
            (sign * module.weight * weights(4, 600).sign()).sum().backward()
            optimizer.step()
        step = quantizer_of(module).step(module.parametrizations.weight.original)
        assert (step > 0).all()
        assert step.isfinite().all()
        assert module.weight.isfinite().all()


@every_rounding
def test_integers_times_scale_are_what_is_scored(rounding):
    for shape in SHAPES.values():
        module = layer(weights(*shape), rounding)
        integers, scale = integer_weights(module)
        assert (integers.dtype, scale.dtype) == (torch.int8, torch.float32)
        assert (integers.shape, scale.shape) == (shape, shape[:1])
        assert integers.to(torch.int32).abs().amax() <= rounding.limit
        assert len(integers.unique()) >= min(rounding.limit, 5)
        assert torch.equal(integers * scale.view(-1, *[1] * (len(shape) - 1)), module.weight)


@every_rounding
def test_levels_of_a_grid(rounding):
    rounded = layer(weights(*SHAPES["conv"]), rounding).weight
    grids = rounded.flatten(1) if rounding.granularity == "channel" else rounded.flatten()[None]
    for grid in grids:
        assert 3 <= len(grid.unique()) <= 2**rounding.bits - 1
        assert len(grid.abs().unique()) <= rounding.limit + 1  # symmetric
    scales = integer_weights(layer(weights(*SHAPES["conv"]), rounding))[1]
    assert len(scales.unique()) == len(grids)


@pytest.mark.parametrize("per", ["channel", "tensor"])
@pytest.mark.parametrize("bits", BITS)
def test_rounding_moves_a_weight_by_half_a_step_at_most(bits, per):
    weight = weights(4, 600)
    module = layer(weight, Rounding(bits, per))
    moved = (module.weight - weight).abs().amax(1)
    _, scale = integer_weights(module)
    assert (moved <= 0.5001 * scale).all()
    assert (moved > 0.3 * scale).all()


@pytest.mark.parametrize("per", ["channel", "tensor"])
@pytest.mark.parametrize("bits", BITS)
def test_gradients_pass_unchanged(bits, per):
    """The largest weight of a channel may stand on the edge of the grid and be cut by rounding."""
    module = layer(weights(4, 600), Rounding(bits, per), training=True)
    (3 * module.weight).sum().backward()
    weight = module.parametrizations.weight.original
    inside = weight.detach().abs() < weight.detach().abs().amax(1, keepdim=True)
    assert (weight.grad[inside] == 3).all()


@pytest.mark.parametrize("scale", ["absmax", "mse"])
def test_rounding_after_training_trains_in_float_and_scores_rounded(scale):
    weight = weights(4, 600)
    module = layer(weight, Rounding(3, step_size=scale, mode="ptq"), training=True)
    assert torch.equal(module.weight, weight)
    module.weight.sum().backward()
    assert (module.parametrizations.weight.original.grad == 1).all()
    rounded = module.eval().weight
    assert not torch.equal(rounded, weight)
    assert all(len(channel.unique()) <= 7 for channel in rounded)


@every_rounding
def test_a_channel_of_zeros_stays_zero(rounding):
    weight = torch.cat([torch.zeros(1, 9), weights(3, 9)])
    module = layer(weight, rounding)
    assert not module.weight[0].any()
    assert not integer_weights(module)[0][0].any()
    assert integer_weights(module)[1].isfinite().all()
    assert not layer(torch.zeros(2, 5), rounding).weight.any()


@given(
    st.lists(st.floats(-(2.0**100), 2.0**100, width=32), min_size=3, max_size=12),
    st.sampled_from(ROUNDINGS),
)
def test_any_finite_weights_have_integers(values, rounding):
    module = layer(torch.tensor([values]), rounding)
    integers, scale = integer_weights(module)
    assert integers.to(torch.int32).abs().max() <= rounding.limit
    assert (scale > 0).all()
    assert scale.isfinite().all()
    assert torch.equal(integers * scale[:, None], module.weight)


@given(st.sampled_from(ROUNDINGS), st.integers(-20, 20))
def test_integers_do_not_depend_on_the_unit(rounding, power):
    """Powers of two are exact: the same grid, stretched."""
    weight = weights(4, 60)
    integers, scale = integer_weights(layer(weight, rounding))
    stretched, steps = integer_weights(layer(weight * 2.0**power, rounding))
    near = (integers.int() - stretched.int()).abs()
    exact = rounding.step_size != "learned"  # its step has been through a logarithm
    assert near.max() == 0 if exact else near.float().mean() < 0.02
    assert torch.allclose(steps, scale * 2.0**power, rtol=1e-5)


@every_rounding
def test_a_state_is_restored(rounding):
    module, other = layer(weights(4, 60), rounding), layer(2 * weights(4, 60) + 1, rounding)
    assert not torch.equal(module.weight, other.weight)
    other.load_state_dict(module.state_dict())
    assert torch.equal(module.weight, other.weight)
    steps = [name for name in module.state_dict() if name.endswith("log_step")]
    assert len(steps) == (rounding.step_size == "learned")


@every_rounding
def test_rounding_works_on_the_meta_device(rounding):
    with torch.device("meta"):
        module = quantize(nn.Conv2d(4, 4, 3, groups=4), rounding).eval()
    assert module(torch.empty(2, 4, 8, 8, device="meta")).shape == (2, 4, 6, 6)
    assert sum(p.numel() for p in network_parameters(module)) == 4 * 9 + 4


def test_steps_are_trained_but_no_parameters_of_the_network():
    block = nn.Sequential(quantize(nn.Linear(6, 4), Rounding(2, step_size="learned")))
    assert {p.numel() for p in block.parameters()} == {24, 4}
    assert sum(p.numel() for p in block.parameters()) == 24 + 4 + 4
    assert sum(p.numel() for p in network_parameters(block)) == 24 + 4
    one = quantize(nn.Linear(6, 4), Rounding(2, "tensor", "learned"))
    assert [p.numel() for p in steps_of(one)] == [1]


def test_a_new_rounding_takes_the_place_of_the_old():
    weight = weights(4, 60)
    module = layer(weight, Rounding(8))
    assert quantize(module, Rounding(2)) is module
    assert isinstance(quantizer_of(module), FakeQuantize)
    assert torch.equal(module.weight, layer(weight, Rounding(2)).weight)
    assert torch.equal(module.parametrizations.weight.original, weight)
    assert [name for name, _ in module.named_parameters()] == ["parametrizations.weight.original"]


def test_a_copy_may_have_another_rounding():
    """Copies share torch's class of the parametrised module."""
    module = layer(weights(4, 60), Rounding(8))
    before = module.weight.clone()
    copied = quantize(copy.deepcopy(module), Rounding(2))
    assert len(copied.weight.unique()) <= 3 * 4
    assert torch.equal(module.weight, before)


@every_rounding
def test_autocast_leaves_the_weights_in_float(rounding):
    """Autocast turns the rounded weights to bfloat16, not what is rounded."""
    module = layer(weights(*SHAPES["conv"]), rounding, training=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        module(torch.rand(2, 60, 4, 4)).sum().backward()
    assert module.weight.dtype == torch.float32
    assert module.parametrizations.weight.original.grad.isfinite().all()


def test_the_matrix_of_a_block():
    block = nn.Sequential(nn.BatchNorm2d(3), quantize(nn.Conv2d(3, 4, 1), Rounding(4)))
    assert matrix_of(block) is block[1]
    with pytest.raises(SpecError, match="Conv2d: not quantized"):
        integer_weights(nn.Conv2d(3, 4, 1))


@every_rounding
def test_weights_that_are_no_numbers_have_no_integers(rounding):
    module = layer(weights(4, 60), rounding)
    with torch.no_grad():
        module.parametrizations.weight.original[2, 3] = float("nan")
    with pytest.raises(ValueError, match="ParametrizedLinear: not finite"):
        integer_weights(module)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"bits": 1}, "bits = 1, must be 2 to 8"),
        ({"bits": 9}, "bits = 9"),
        ({"bits": 4, "granularity": "layer"}, "granularity 'layer' .*channel, tensor"),
        ({"bits": 4, "step_size": "lerned"}, "did you mean 'learned'"),
        ({"bits": 4, "mode": "before"}, "mode 'before'"),
        ({"bits": 4, "step_size": "learned", "mode": "ptq"}, "learned in training"),
        ({"bits": 4, "step_size": "mse"}, "mode = 'ptq' is needed"),
    ],
)
def test_incompatible_settings_are_refused(wrong, message):
    with pytest.raises(SpecError, match=message):
        Rounding(**wrong)
