"""The spiking neuron. T time steps, B batch; time is the first dimension, folded or not.

LIF as in SNASNet (Kim et al., ECCV 2022): one state v, an input current x, time constant tau,
    u = v + (x - v) / tau,    spike z = 1 where u > v_th,    v = 0 where z else u,
with the reset kept out of the gradient and a surrogate derivative for the spike.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from norse.torch.functional.lif_box import LIFBoxFeedForwardState, LIFBoxParameters
from norse.torch.module.snn import SNN
from torch import Tensor

from nas_service.errors import pick

TAU = 4 / 3  # SNASNet's membrane time constant, in time steps
THRESHOLD = 1.0


@dataclass(frozen=True)
class Neuron:
    """What a layer's neurons are like; the defaults are SNASNet's."""

    threshold: float = THRESHOLD
    tau: float = TAU  # membrane time constant, in time steps
    surrogate: str = "atan"
    reset: Literal["zero", "subtract"] = "zero"  # hard, or soft: the threshold is taken off
    detach_reset: bool = True  # keep the reset out of the gradient
    fires_at_threshold: bool = False  # u >= threshold as SpikingJelly has it, or Norse's u >


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


class Spike(torch.autograd.Function):
    """z = 1 where the distance to the threshold is > 0; its derivative is the surrogate's."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor, derivative: Callable[[Tensor], Tensor]) -> Tensor:
        ctx.save_for_backward(distance)
        ctx.derivative = derivative
        return (distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (distance,) = ctx.saved_tensors
        return grad * ctx.derivative(distance), None


def detached_reset(z: Tensor, v: Tensor, v_reset: Tensor, v_th: Tensor) -> Tensor:
    """Norse's hard reset with the spike detached from the graph, as SNASNet trains."""
    return (1 - z.detach()) * v + z.detach() * v_reset


def norse_parameters(neuron: Neuron) -> LIFBoxParameters:
    """A neuron in Norse's terms, for a step of dt = 1."""
    return LIFBoxParameters(
        tau_mem_inv=torch.as_tensor(1 / neuron.tau),
        v_th=torch.as_tensor(neuron.threshold),
        reset_method=detached_reset,
    )


def lif_step(
    surrogate: str,
) -> Callable[..., tuple[Tensor, LIFBoxFeedForwardState]]:
    """Norse's LIFBox step with our surrogate: the reference that the scan below must equal."""
    derivative = pick(SURROGATES, surrogate, "surrogate")

    def step(
        x: Tensor, state: LIFBoxFeedForwardState, p: LIFBoxParameters, dt: float
    ) -> tuple[Tensor, LIFBoxFeedForwardState]:
        u = state.v + dt * p.tau_mem_inv * (x + p.v_leak - state.v)
        z = Spike.apply(u - p.v_th, derivative)  # type: ignore[no-untyped-call]
        return z, LIFBoxFeedForwardState(v=p.reset_method(z, u, p.v_reset, p.v_th))

    return step


class _Scan(torch.autograd.Function):
    """All T steps of the LIF in one node of the graph: same values, fewer and in-place kernels."""

    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        rate: float,
        threshold: float,
        derivative: Callable[[Tensor], Tensor],
    ) -> Tensor:
        potential = torch.empty_like(current)
        v = torch.zeros_like(current[0])
        for x, u in zip(current.unbind(0), potential.unbind(0), strict=True):
            torch.sub(x, v, out=u)
            u.mul_(rate).add_(v)
            v = u.masked_fill(u > threshold, 0)
        ctx.save_for_backward(potential)
        ctx.constants = rate, threshold, derivative
        return (potential > threshold).to(current.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None, None]:
        (potential,) = ctx.saved_tensors
        rate, threshold, derivative = ctx.constants
        to_current = derivative(potential - threshold).mul_(grad)
        to_v = torch.zeros_like(to_current[0])
        for u, g in zip(reversed(potential.unbind(0)), reversed(to_current.unbind(0)), strict=True):
            g.add_(to_v.masked_fill_(u > threshold, 0))
            to_v = g * (1 - rate)
        return to_current.mul_(rate), None, None, None


class LIF(SNN):  # type: ignore[misc]
    """A layer of LIF neurons over folded time: [T*B, ...] currents to [T*B, ...] spikes, 0 or 1.

    It holds Norse's parameters and Norse's step; the state starts at 0 in every call, so two
    batches never meet.
    """

    def __init__(self, time_steps: int, neuron: Neuron = SNASNET) -> None:
        super().__init__(
            activation=lif_step(neuron.surrogate),
            state_fallback=lambda x: LIFBoxFeedForwardState(v=torch.zeros_like(x[0])),
            p=norse_parameters(neuron),
            dt=1.0,
        )
        self.time_steps, self.neuron = time_steps, neuron

    def forward(self, current: Tensor) -> Tensor:
        steps = current.unflatten(0, (self.time_steps, -1))  # [T, B, ...]
        n = self.neuron
        spikes = _Scan.apply(steps, 1 / n.tau, n.threshold, SURROGATES[n.surrogate])  # type: ignore[no-untyped-call]
        return spikes.flatten(0, 1)  # type: ignore[no-any-return]

    def forward_stepwise(self, current: Tensor) -> Tensor:
        """The same by Norse's own loop over time: slower, the reference of the tests."""
        spikes, _ = super().forward(current.unflatten(0, (self.time_steps, -1)))
        return spikes.flatten(0, 1)  # type: ignore[no-any-return]
