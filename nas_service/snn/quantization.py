"""Weights of b bits: trained through their rounding, so that what is scored is what is deployed."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

TINY = torch.finfo(torch.float32).tiny


def scales(weight: Tensor, bits: int) -> Tensor:
    """Step of each output channel's grid [C_out]: its largest weight over the largest integer."""
    largest = weight.detach().flatten(1).abs().amax(1)
    return torch.clamp(largest / (2 ** (bits - 1) - 1), min=TINY)


@dataclass(frozen=True)
class Rounding:
    """How the weights of a matrix are rounded."""

    bits: int


class FakeQuantize(nn.Module):
    """Rounds weights [C_out, ...] to -(2^(b-1)-1) .. 2^(b-1)-1 steps; gradients pass unchanged.

    Symmetric and per output channel: the batch norm behind it is a factor per channel, which
    goes into the channel's scale, so no weight is rounded twice.
    """

    def __init__(self, bits: int) -> None:
        super().__init__()
        self.bits = bits

    def forward(self, weight: Tensor) -> Tensor:
        if weight.is_meta:  # torch has no rounding kernel for tensors without numbers
            return weight
        limit = 2 ** (self.bits - 1) - 1
        scale = scales(weight, self.bits)
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -limit, limit)


def quantize(module: nn.Module, rounding: Rounding) -> nn.Module:
    """The module, its `weight` seen through FakeQuantize from now on."""
    return parametrize.register_parametrization(module, "weight", FakeQuantize(rounding.bits))


def integer_weights(weight: Tensor, bits: int) -> tuple[Tensor, Tensor]:
    """Integers [C_out, ...] and scales [C_out] whose product is the quantised weight."""
    scale = scales(weight, bits)
    inverse = (1 / scale).view(-1, *[1] * (weight.dim() - 1))
    steps = (weight * inverse).round()  # as torch rounds: a division differs at half steps
    limit = 2 ** (bits - 1) - 1
    return steps.clamp(-limit, limit).to(torch.int8), scale
