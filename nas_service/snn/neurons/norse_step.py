"""Norse's step of the neuron, differentiated by autograd: the reference of every backend."""

from collections.abc import Callable
from typing import Any

import torch
from norse.torch.functional.lif_box import LIFBoxFeedForwardState, LIFBoxParameters
from norse.torch.functional.reset import reset_subtract, reset_value
from torch import Tensor

from nas_service.errors import pick
from nas_service.snn.neurons.neuron import SNASNET, SURROGATES, Neuron

Reset = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
RESETS: dict[str, Reset] = {"zero": reset_value, "subtract": reset_subtract}


class Spike(torch.autograd.Function):
    """z = 1 where the distance to the threshold is > 0 (>= 0 if it fires there)."""

    @staticmethod
    def forward(
        ctx: Any, distance: Tensor, derivative: Callable[[Tensor], Tensor], at_threshold: bool
    ) -> Tensor:
        """Spikes from distances to the threshold."""
        ctx.save_for_backward(distance)
        ctx.derivative = derivative
        return (distance >= 0 if at_threshold else distance > 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        """The surrogate gradient of the distances."""
        (distance,) = ctx.saved_tensors
        return grad * ctx.derivative(distance), None, None


def detached(reset: Reset) -> Reset:
    """The reset without a gradient through the spike, as SNASNet trains."""
    return lambda z, v, v_reset, v_th: reset(z.detach(), v, v_reset, v_th)


def norse_parameters(neuron: Neuron) -> LIFBoxParameters:
    """Norse's parameters of a neuron, for a step of dt = 1."""
    reset = pick(RESETS, neuron.reset, "reset")
    return LIFBoxParameters(
        tau_mem_inv=torch.as_tensor(1 / neuron.tau),
        v_th=torch.as_tensor(neuron.threshold),
        reset_method=detached(reset) if neuron.detach_reset else reset,
    )


def lif_step(neuron: Neuron = SNASNET) -> Callable[..., tuple[Tensor, LIFBoxFeedForwardState]]:
    """Norse's LIFBox step with the surrogate of a neuron and its rule at the threshold.

    Raises:
        SpecError: The surrogate is unknown.
    """
    derivative = pick(SURROGATES, neuron.surrogate, "surrogate")

    def step(
        x: Tensor, state: LIFBoxFeedForwardState, p: LIFBoxParameters, dt: float
    ) -> tuple[Tensor, LIFBoxFeedForwardState]:
        u = state.v + dt * p.tau_mem_inv * (x + p.v_leak - state.v)
        z = Spike.apply(u - p.v_th, derivative, neuron.fires_at_threshold)  # type: ignore[no-untyped-call]
        return z, LIFBoxFeedForwardState(v=p.reset_method(z, u, p.v_reset, p.v_th))

    return step
