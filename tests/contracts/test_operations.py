"""What every operation promises: shapes kept, its weights counted, its linearity as declared."""

import pytest
import torch

from nas_service.snn.operations import Style, build
from nas_service.snn.quantization import Rounding
from nas_service.spaces.operations import OPERATIONS

WORKING = [name for name, operation in OPERATIONS.items() if operation.kind != "zero"]


def module(name, channels=4):
    torch.manual_seed(0)
    built = build(OPERATIONS[name], channels, Style(2, Rounding(4)))
    with torch.no_grad():  # batch norms that have seen data let the neurons behind them fire
        for seed in range(8):
            built.train()(maps(8, channels, 6, 6, seed=seed))
    return built.eval()


def maps(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) + 0.5


@pytest.mark.parametrize("name", WORKING)
@pytest.mark.parametrize("shape", [(2, 4, 8, 8), (6, 4, 5, 5), (4, 4, 1, 1)])
def test_keeps_the_shape(name, shape):
    assert module(name)(maps(*shape)).shape == shape


@pytest.mark.parametrize("name", WORKING)
def test_holds_the_weights_it_declares(name):
    """C x C x k x k weights and two numbers a channel for the batch norm; a separable one holds
    C x k x k, C x C, and two batch norms.
    """
    held = sum(p.numel() for p in module(name).parameters())
    operation = OPERATIONS[name]
    counts = {"conv": 16 * operation.kernel**2 + 8, "separable": 4 * operation.kernel**2 + 16 + 16}
    assert held == counts.get(operation.kind, 0)
    assert operation.weighted == (held > 0)


@pytest.mark.parametrize("name", [n for n in WORKING if n != "skip"])
def test_is_linear_exactly_where_it_says_so(name):
    a, b, operation = maps(2, 4, 6, 6), maps(2, 4, 6, 6, seed=2), module(name)
    with torch.no_grad():
        together, apart = operation(a + b), operation(a) + operation(b)
    assert torch.allclose(together, apart, atol=1e-5) == OPERATIONS[name].linear


@pytest.mark.parametrize("name", WORKING)
def test_gradients_reach_the_input(name):
    x = maps(2, 4, 6, 6).requires_grad_()
    (module(name)(x) * maps(2, 4, 6, 6, seed=3)).sum().backward()
    assert x.grad.abs().sum() > 0


def test_pools_by_hand():
    """One bright pixel of 9 in a corner: the maximum spreads to four, the mean of 9 is 1."""
    x = torch.zeros(1, 1, 4, 4)
    x[0, 0, 0, 0] = 9
    spread = torch.zeros(4, 4)
    spread[:2, :2] = 1
    assert torch.equal(module("maxpool3x3")(x)[0, 0], 9 * spread)
    assert torch.equal(module("avgpool3x3")(x)[0, 0], spread)
