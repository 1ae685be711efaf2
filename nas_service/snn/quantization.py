"""Weights of b bits: quantization-aware training, or quantization after the training.

A matrix has G grids (one for each output channel, or one), a grid has n weights; C_out is the
number of output channels. A grid is symmetric: integers -L .. L with L = 2^(b-1) - 1, times a
step size.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nas_service.errors import SpecError, pick

TINY = torch.finfo(torch.float32).tiny
LARGEST_LOG = 80.0  # of a learned step: its inverse and its multiples stay finite in float32
BITS = range(2, 9)
CLIPPINGS = 32  # candidates of the search for the least squared error

Granularity = Literal["channel", "tensor"]
StepSize = Literal["absmax", "mse", "learned"]
Mode = Literal["qat", "ptq"]


@dataclass(frozen=True)
class Rounding:
    """How the weights of a matrix are quantized.

    `step_size`: `absmax` takes it from the largest weight of a grid, `mse` minimises the squared
    error, `learned` trains it with the weights (LSQ). `mode`: `qat` trains and scores with
    quantized weights; `ptq` trains in floating point and quantizes wherever the network is scored.

    Raises:
        SpecError: A value is unknown, or two of them exclude each other.
    """

    bits: int
    granularity: Granularity = "channel"
    step_size: StepSize = "absmax"
    mode: Mode = "qat"

    def __post_init__(self) -> None:
        if self.bits not in BITS:
            raise SpecError(f"rounding: bits = {self.bits!r}, must be {BITS[0]} to {BITS[-1]}")
        for name, kind in (("granularity", Granularity), ("step_size", StepSize), ("mode", Mode)):
            pick(dict.fromkeys(get_args(kind)), getattr(self, name), f"rounding: {name}")
        if self.step_size == "learned" and self.mode == "ptq":
            raise SpecError(
                "rounding: step_size = 'learned' is learned in training: mode = 'qat' is needed"
            )
        if self.step_size == "mse" and self.mode == "qat":
            raise SpecError(
                "rounding: step_size = 'mse' is searched after the training: mode = 'ptq' is needed"
            )

    @property
    def limit(self) -> int:
        """Largest integer of the grid."""
        return int(2 ** (self.bits - 1) - 1)


def absmax(weights: Tensor, limit: int) -> Tensor:
    """Step sizes so that the largest integer is the largest weight.

    Args:
        weights: Weights [G, n].
        limit: Largest integer L.

    Returns:
        max |w| / L [G]; the least positive float32 where all weights are 0.
    """
    return torch.clamp(weights.abs().amax(1) / limit, min=TINY)


def least_squares(weights: Tensor, limit: int) -> Tensor:
    """Step sizes with the least squared error.

    Clipping values are tried from the largest weight downwards; each gives integers q, whose best
    step size is <w, q> / <q, q>.

    Args:
        weights: Weights [G, n].
        limit: Largest integer L.

    Returns:
        The best step sizes among those tried [G].
    """
    best = absmax(weights, limit)
    least = squared_error(weights, best, limit)
    for clipping in torch.arange(CLIPPINGS, 0, -1, device=weights.device) / CLIPPINGS:
        q = to_integers(weights, absmax(weights, limit) * clipping, limit)
        step = ((weights * q).sum(1) / (q * q).sum(1).clamp(min=1)).clamp(min=TINY)
        error = squared_error(weights, step, limit)
        best, least = torch.where(error < least, step, best), torch.minimum(error, least)
    return best


def initial_step(weights: Tensor, limit: int) -> Tensor:
    """Step sizes from which LSQ starts, 2 <|w|> / sqrt(L).

    Source: Esser et al., Learned Step Size Quantization, ICLR 2020, section 2.1.

    Args:
        weights: Weights [G, n].
        limit: Largest integer L.

    Returns:
        Step sizes [G]; 1 where all weights are 0.
    """
    step = 2 * weights.abs().mean(1) / limit**0.5
    return torch.where(step > 0, step, torch.ones_like(step)).clamp(min=TINY)


STEP_SIZES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "absmax": absmax,
    "mse": least_squares,
    "learned": initial_step,
}


def to_integers(weights: Tensor, step: Tensor, limit: int) -> Tensor:
    """Integers of weights: w / step, rounded and limited to -L .. L.

    Weights are multiplied by the inverse of the step, as torch's fake quantization does.

    Args:
        weights: Weights [G, ...].
        step: Step sizes [G].
        limit: Largest integer L.

    Returns:
        Integers [G, ...], as floats.
    """
    inverse = (1 / step).view(-1, *[1] * (weights.dim() - 1))
    return (weights * inverse).round().clamp(-limit, limit)


def squared_error(weights: Tensor, step: Tensor, limit: int) -> Tensor:
    """Squared error of quantized weights.

    Args:
        weights: Weights [G, n].
        step: Step sizes [G].
        limit: Largest integer L.

    Returns:
        Sums over n [G].
    """
    return (weights - to_integers(weights, step, limit) * step[:, None]).square().sum(1)


def rounded(weights: Tensor, step: Tensor, limit: int) -> Tensor:
    """Quantized weights; gradients pass inside the grid.

    Args:
        weights: Weights [G, ...].
        step: Step sizes [G].
        limit: Largest integer L.

    Returns:
        Multiples of the step sizes [G, ...].
    """
    zero = torch.zeros(len(weights), dtype=torch.int32, device=weights.device)
    return torch.fake_quantize_per_channel_affine(weights, step, zero, 0, -limit, limit)


class _LearnedSteps(torch.autograd.Function):
    """Quantizes weights [G, n] with step sizes [G] and LSQ's gradients (Esser et al., ICLR 2020).

    Inside the grid, the gradient of a weight w passes, and that of its step s is q - w / s; outside
    of it they are 0 and q, the limit with the sign of w. The sum over a grid is scaled by
    1 / sqrt(n L); the gradient of log s is s times that.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, log_step: Tensor, limit: int) -> Tensor:
        step = from_log(log_step)
        quantized = rounded(weights, step, limit)
        ctx.save_for_backward(weights, step, quantized)
        ctx.limit = limit
        return quantized

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        weights, step, quantized = ctx.saved_tensors  # quantized = q s
        inside = weights.abs() <= ctx.limit * step[:, None]
        to_log = (quantized - weights * inside).mul_(grad).sum(1)
        return grad * inside, to_log / (weights.shape[1] * ctx.limit) ** 0.5, None


def from_log(log_step: Tensor) -> Tensor:
    """Step sizes from their logarithms, limited to what float32 can divide and multiply by."""
    return log_step.clamp(-LARGEST_LOG, LARGEST_LOG).exp()


class FakeQuantize(nn.Module):
    """Quantizes weights [C_out, ...]; gradients pass unchanged.

    The batch norm after a matrix is a factor per channel, which becomes part of the channel's
    scale when the network is deployed, so no weight is rounded twice.
    """

    def __init__(self, rounding: Rounding) -> None:
        super().__init__()
        self.rounding = rounding

    def grids(self, weight: Tensor) -> Tensor:
        """Weights [C_out, ...] as [G, n]."""
        return (
            weight.flatten(1) if self.rounding.granularity == "channel" else weight.flatten()[None]
        )

    def step(self, weight: Tensor) -> Tensor:
        """Step sizes of the grids [G]."""
        return STEP_SIZES[self.rounding.step_size](self.grids(weight.detach()), self.rounding.limit)

    def forward(self, weight: Tensor) -> Tensor:
        """The quantized weights; those in floating point while `ptq` trains."""
        if weight.is_meta:  # torch cannot quantize tensors without numbers
            return weight
        if self.training and self.rounding.mode == "ptq":
            return weight
        return rounded(weight, self.step(weight).expand(len(weight)), self.rounding.limit)


class LearnedQuantize(FakeQuantize):
    """Quantizes weights [C_out, ...] with step sizes that are trained with them (LSQ).

    The parameter is the logarithm of the step size, which stays positive then; its first value is
    computed from the weights.
    """

    def __init__(self, rounding: Rounding, weight: Tensor) -> None:
        super().__init__(rounding)
        self.log_step = nn.Parameter(super().step(weight).log())

    def step(self, weight: Tensor) -> Tensor:
        """The trained step sizes [G]."""
        return from_log(self.log_step)

    def forward(self, weight: Tensor) -> Tensor:
        """The quantized weights, with gradients of weights and step sizes."""
        if weight.is_meta:
            return weight
        grids, limit = self.grids(weight), self.rounding.limit
        quantized: Tensor = _LearnedSteps.apply(grids, self.log_step, limit)  # type: ignore[no-untyped-call]
        return quantized.view_as(weight)


def quantize(module: nn.Module, rounding: Rounding) -> nn.Module:
    """Quantizes the `weight` of a module whenever it is read.

    Args:
        module: Changed in place; a rounding that it has already is replaced.
        rounding: How its weights are quantized.

    Returns:
        The module.
    """
    installed = _parametrization(module)
    weight: Tensor = module.weight if installed is None else installed.original  # type: ignore[assignment]
    learned = rounding.step_size == "learned"
    quantizer = LearnedQuantize(rounding, weight) if learned else FakeQuantize(rounding)
    quantizer.train(module.training)
    if installed is None:
        return parametrize.register_parametrization(module, "weight", quantizer)
    installed[0] = quantizer  # copies of a module share its class: torch cannot remove it from one
    return module


def quantizer_of(matrix: nn.Module) -> FakeQuantize:
    """The quantizer of a matrix.

    Raises:
        SpecError: The matrix is not quantized.
    """
    installed = _parametrization(matrix)
    quantizer = None if installed is None else installed[0]
    if not isinstance(quantizer, FakeQuantize):
        raise SpecError(f"weight of {type(matrix).__name__}: not quantized, `quantize` it first")
    return quantizer


def _parametrization(module: nn.Module) -> parametrize.ParametrizationList | None:
    if not parametrize.is_parametrized(module, "weight"):
        return None
    return module.parametrizations.weight  # type: ignore[union-attr,return-value]


def integer_weights(matrix: nn.Module) -> tuple[Tensor, Tensor]:
    """Integers [C_out, ...] (int8) and scales [C_out] of a quantized matrix.

    Their product is the weight that the matrix is scored with.

    Raises:
        SpecError: The matrix is not quantized.
        ValueError: A weight is not finite.
    """
    quantizer = quantizer_of(matrix)
    weight: Tensor = matrix.parametrizations.weight.original  # type: ignore[union-attr,assignment]
    if not torch.isfinite(weight).all():
        raise ValueError(f"weight of {type(matrix).__name__}: not finite, it has no integers")
    with torch.no_grad():
        scale = quantizer.step(weight).expand(len(weight)).clone()
        return to_integers(weight, scale, quantizer.rounding.limit).to(torch.int8), scale


def matrix_of(block: nn.Module) -> nn.Conv2d | nn.Linear:
    """The one weight matrix of a block."""
    return next(m for m in block.modules() if isinstance(m, nn.Conv2d | nn.Linear))


def steps_of(module: nn.Module) -> Iterator[nn.Parameter]:
    """Learned step sizes: trained with a network, part of its scales when it is deployed."""
    return (m.log_step for m in module.modules() if isinstance(m, LearnedQuantize))


def network_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    """All parameters except learned step sizes."""
    steps = {id(step) for step in steps_of(module)}
    return (p for p in module.parameters() if id(p) not in steps)
