"""Weights of b bits: trained through their rounding or rounded after training.

G grids of a matrix (one per output channel, or one), n weights of a grid, C_out output channels.
A grid is symmetric: whole steps -L .. L with L = 2^(b-1) - 1.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nas_service.errors import SpecError, pick

TINY = torch.finfo(torch.float32).tiny
LARGEST_LOG = 80.0  # of a learned step: its inverse and its multiples are float32 numbers
BITS = range(2, 9)
CLIPPINGS = 32  # candidates of the search for the least squared error

Granularity = Literal["channel", "tensor"]
StepSize = Literal["absmax", "mse", "learned"]
Mode = Literal["qat", "ptq"]


@dataclass(frozen=True)
class Rounding:
    """How the weights of a matrix are rounded; raises SpecError for what does not go together.

    `step_size` sets the step of a grid: `absmax` from its largest weight, `mse` with the least
    squared error, `learned` with the weights (LSQ). `mode`: `qat` trains and scores through the
    same rounding; `ptq` trains in float and rounds wherever the network is scored.
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
    """Steps [G] of weights [G, n] whose outermost level is the largest weight."""
    return torch.clamp(weights.abs().amax(1) / limit, min=TINY)


def least_squares(weights: Tensor, limit: int) -> Tensor:
    """Steps [G] of weights [G, n] with the least squared error.

    Clippings are tried from the largest weight downwards; each gives integers q, and these their
    best step <w, q> / <q, q>.
    """
    best = absmax(weights, limit)
    least = squared_error(weights, best, limit)
    for clipping in torch.arange(CLIPPINGS, 0, -1, device=weights.device) / CLIPPINGS:
        q = whole(weights, absmax(weights, limit) * clipping, limit)
        step = ((weights * q).sum(1) / (q * q).sum(1).clamp(min=1)).clamp(min=TINY)
        error = squared_error(weights, step, limit)
        best, least = torch.where(error < least, step, best), torch.minimum(error, least)
    return best


def initial_step(weights: Tensor, limit: int) -> Tensor:
    """Steps [G] from which LSQ starts, 2 <|w|> / sqrt(L); 1 where all weights are 0."""
    step = 2 * weights.abs().mean(1) / limit**0.5
    return torch.where(step > 0, step, torch.ones_like(step)).clamp(min=TINY)


STEP_SIZES: dict[str, Callable[[Tensor, int], Tensor]] = {
    "absmax": absmax,
    "mse": least_squares,
    "learned": initial_step,
}


def whole(weights: Tensor, step: Tensor, limit: int) -> Tensor:
    """Weights [G, ...] in whole steps [G], float; as torch rounds: times the step's inverse."""
    inverse = (1 / step).view(-1, *[1] * (weights.dim() - 1))
    return (weights * inverse).round().clamp(-limit, limit)


def squared_error(weights: Tensor, step: Tensor, limit: int) -> Tensor:
    """What rounding does to weights [G, n], summed over n: [G]."""
    return (weights - whole(weights, step, limit) * step[:, None]).square().sum(1)


def rounded(weights: Tensor, step: Tensor, limit: int) -> Tensor:
    """Weights [G, ...] on grids of steps [G]; gradients pass inside the grid."""
    zero = torch.zeros(len(weights), dtype=torch.int32, device=weights.device)
    return torch.fake_quantize_per_channel_affine(weights, step, zero, 0, -limit, limit)


class _LearnedSteps(torch.autograd.Function):
    """Rounds weights [G, n] to steps [G] with LSQ's gradients (Esser et al., ICLR 2020).

    Inside the grid a weight's gradient passes and its step's is q - w / s; outside the weight's is
    0 and its step's is q, the limit with w's sign. A step's sum is scaled by 1 / sqrt(n L). To the
    step's logarithm it is s times that.
    """

    @staticmethod
    def forward(ctx: Any, weights: Tensor, log_step: Tensor, limit: int) -> Tensor:
        step = from_log(log_step)
        found = rounded(weights, step, limit)
        ctx.save_for_backward(weights, step, found)
        ctx.limit = limit
        return found

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        weights, step, found = ctx.saved_tensors  # found is q s
        inside = weights.abs() <= ctx.limit * step[:, None]
        to_log = (found - weights * inside).mul_(grad).sum(1)
        return grad * inside, to_log / (weights.shape[1] * ctx.limit) ** 0.5, None


def from_log(log_step: Tensor) -> Tensor:
    """Steps from their logarithms, within what float32 can divide and multiply by."""
    return log_step.clamp(-LARGEST_LOG, LARGEST_LOG).exp()


class FakeQuantize(nn.Module):
    """Rounds weights [C_out, ...]; gradients pass unchanged.

    The batch norm behind a matrix is a factor per channel, which goes into the channel's scale, so
    no weight is rounded twice.
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
        """Steps of the grids [G]."""
        return STEP_SIZES[self.rounding.step_size](self.grids(weight.detach()), self.rounding.limit)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.is_meta:  # torch has no rounding kernel for tensors without numbers
            return weight
        if self.training and self.rounding.mode == "ptq":
            return weight
        return rounded(weight, self.step(weight).expand(len(weight)), self.rounding.limit)


class LearnedQuantize(FakeQuantize):
    """Rounds weights [C_out, ...] to steps that are learned with them (LSQ).

    A step is kept as its logarithm: it stays positive, and any optimizer moves it by a share of
    itself. It starts from the weights given.
    """

    def __init__(self, rounding: Rounding, weight: Tensor) -> None:
        super().__init__(rounding)
        self.log_step = nn.Parameter(super().step(weight).log())

    def step(self, weight: Tensor) -> Tensor:
        return from_log(self.log_step)

    def forward(self, weight: Tensor) -> Tensor:
        if weight.is_meta:
            return weight
        grids, limit = self.grids(weight), self.rounding.limit
        found: Tensor = _LearnedSteps.apply(grids, self.log_step, limit)  # type: ignore[no-untyped-call]
        return found.view_as(weight)


def quantize(module: nn.Module, rounding: Rounding) -> nn.Module:
    """The module, its `weight` seen through this rounding from now on, in place of any before."""
    seen = _seen_through(module)
    weight: Tensor = module.weight if seen is None else seen.original  # type: ignore[assignment]
    learned = rounding.step_size == "learned"
    quantizer = LearnedQuantize(rounding, weight) if learned else FakeQuantize(rounding)
    quantizer.train(module.training)
    if seen is None:
        return parametrize.register_parametrization(module, "weight", quantizer)
    seen[0] = quantizer  # taking it off would take it off all copies of the module: one class
    return module


def quantizer_of(matrix: nn.Module) -> FakeQuantize:
    """The rounding of a matrix; SpecError where there is none."""
    seen = _seen_through(matrix)
    quantizer = None if seen is None else seen[0]
    if not isinstance(quantizer, FakeQuantize):
        raise SpecError(f"weight of {type(matrix).__name__}: not quantised, `quantize` it first")
    return quantizer


def _seen_through(module: nn.Module) -> parametrize.ParametrizationList | None:
    if not parametrize.is_parametrized(module, "weight"):
        return None
    return module.parametrizations.weight  # type: ignore[union-attr,return-value]


def integer_weights(matrix: nn.Module) -> tuple[Tensor, Tensor]:
    """Integers [C_out, ...] int8 and scales [C_out] whose product is what the matrix multiplies
    by when it is scored. Raises ValueError for weights that are not finite."""
    quantizer = quantizer_of(matrix)
    weight: Tensor = matrix.parametrizations.weight.original  # type: ignore[union-attr,assignment]
    if not torch.isfinite(weight).all():
        raise ValueError(f"weight of {type(matrix).__name__}: not finite, it has no integers")
    with torch.no_grad():
        scale = quantizer.step(weight).expand(len(weight)).clone()
        return whole(weight, scale, quantizer.rounding.limit).to(torch.int8), scale


def matrix_of(block: nn.Module) -> nn.Conv2d | nn.Linear:
    """The one weight matrix of a block."""
    return next(m for m in block.modules() if isinstance(m, nn.Conv2d | nn.Linear))


def steps_of(module: nn.Module) -> Iterator[nn.Parameter]:
    """Learned steps: trained with a network, but gone into its scales when it is deployed."""
    return (m.log_step for m in module.modules() if isinstance(m, LearnedQuantize))


def network_parameters(module: nn.Module) -> Iterator[nn.Parameter]:
    """All parameters but the steps of grids."""
    steps = {id(step) for step in steps_of(module)}
    return (p for p in module.parameters() if id(p) not in steps)
