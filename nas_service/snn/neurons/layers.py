"""Layers of spiking neurons. T time steps, folded into the batch: [T*B, ...]."""

import torch
from norse.torch.functional.lif_box import LIFBoxFeedForwardState
from norse.torch.module.snn import SNN
from torch import Tensor

from nas_service.errors import pick
from nas_service.snn.neurons.neuron import SNASNET, SURROGATES, Neuron
from nas_service.snn.neurons.norse_step import lif_step, norse_parameters
from nas_service.snn.neurons.scan import Scan, choose, requested


class LIF(SNN):  # type: ignore[misc]
    """A layer of LIF neurons over folded time: [T*B, ...] currents to [T*B, ...] spikes, 0 or 1.

    It holds Norse's parameters and Norse's step. The membrane potential starts at 0 in every call.

    Args:
        time_steps: The number of time steps T.
        neuron: The neurons.
        constant: The current is [B, ...], the same at every step.
    """

    def __init__(self, time_steps: int, neuron: Neuron = SNASNET, constant: bool = False) -> None:
        pick(SURROGATES, neuron.surrogate, "surrogate")
        super().__init__(
            activation=lif_step(neuron),
            state_fallback=lambda x: LIFBoxFeedForwardState(v=torch.zeros_like(x[0])),
            p=norse_parameters(neuron),
            dt=1.0,
        )
        self.time_steps, self.neuron, self.constant = time_steps, neuron, constant

    def forward(self, current: Tensor) -> Tensor:
        """Spikes [T*B, ...] from currents, by the backend that computes them."""
        if requested() == "norse":
            return self.forward_stepwise(current)
        spikes: Tensor = Scan.apply(  # type: ignore[no-untyped-call]
            current, self.neuron, self.time_steps, self.constant, choose(current)
        )
        return spikes

    def forward_stepwise(self, current: Tensor) -> Tensor:
        """The same spikes by Norse's own loop over time: slower, the reference of the tests."""
        folded = torch.cat([current] * self.time_steps) if self.constant else current
        spikes, _ = super().forward(folded.unflatten(0, (self.time_steps, -1)))
        return spikes.flatten(0, 1)  # type: ignore[no-any-return]
