"""The parameters of a spiking neuron, and its surrogate derivatives.

LIF as in SNASNet (Kim et al., ECCV 2022): one state v, an input current x, time constant tau,
    u = v + (x - v) / tau,    spike z = 1 where u > v_th,    v = 0 where z else u,
with the reset detached from the gradient and a surrogate derivative for the spike. A soft reset
subtracts the threshold instead, v = u - z v_th; a neuron may also fire at the threshold, u >= v_th.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

TAU = 4 / 3  # SNASNet's membrane time constant, in time steps
THRESHOLD = 1.0


@dataclass(frozen=True)
class Neuron:
    """Parameters of the neurons of a layer; the defaults are SNASNet's."""

    threshold: float = THRESHOLD
    tau: float = TAU  # membrane time constant, in time steps
    surrogate: str = "atan"
    reset: Literal["zero", "subtract"] = "zero"  # hard, or soft: v = u - threshold
    detach_reset: bool = True  # no gradient flows through the reset
    fires_at_threshold: bool = (
        False  # u >= threshold as in SpikingJelly; else u > threshold as in Norse
    )


SNASNET = Neuron()


def atan_derivative(distance: Tensor) -> Tensor:
    """1 / (1 + (pi u)^2): the derivative of atan(pi u) / pi, SNASNet's surrogate (alpha 2)."""
    return distance.mul(math.pi).square_().add_(1).reciprocal_()


def triangle_derivative(distance: Tensor) -> Tensor:
    """max(0, 1 - |u|): Norse's `triangle` surrogate with alpha 1."""
    return distance.abs().neg_().add_(1).clamp_(min=0)


SURROGATES: dict[str, Callable[[Tensor], Tensor]] = {
    "atan": atan_derivative,
    "triangle": triangle_derivative,
}
