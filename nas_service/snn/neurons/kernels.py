"""Neurons computed by compiled functions, which read and write tensors without gaps.

T time steps, B batch.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nas_service.snn.neurons.layout import dense, dense_as, room_for_spikes
from nas_service.snn.neurons.neuron import Neuron


@dataclass(frozen=True)
class Kernels:
    """The two functions of a compiled backend.

    Attributes:
        fill_spikes: Called with dense currents, empty spikes [T*B, ...], the neurons, T, and
            whether the currents are constant; fills the spikes.
        fill_gradient: Called with dense currents, the gradient of the spikes [T*B, ...], an empty
            gradient of the currents, and the rest as above; fills the gradient of the currents.
    """

    fill_spikes: Callable[[Tensor, Tensor, Neuron, int, bool], None]
    fill_gradient: Callable[[Tensor, Tensor, Tensor, Neuron, int, bool], None]

    def forward(
        self, current: Tensor, neuron: Neuron, T: int, constant: bool
    ) -> tuple[Tensor, Tensor]:
        """The spikes.

        Args:
            current: Currents [T*B, ...], or [B, ...] where they are constant.
            neuron: The neurons.
            T: Time steps.
            constant: The currents are the same at every step.

        Returns:
            Spikes [T*B, ...] and the dense currents, which `backward` needs.
        """
        x = dense(current)
        spikes = room_for_spikes(x, T, constant)
        self.fill_spikes(x, spikes, neuron, T, constant)
        return spikes, x

    def backward(
        self, x: Tensor, to_spikes: Tensor, neuron: Neuron, T: int, constant: bool
    ) -> Tensor:
        """The gradient of the currents.

        Args:
            x: The dense currents, as `forward` returned them.
            to_spikes: The gradient of the spikes [T*B, ...].
            neuron: The neurons.
            T: Time steps.
            constant: The currents are the same at every step.

        Returns:
            The gradient, of the shape of x.
        """
        to_current = torch.empty_like(x)
        self.fill_gradient(x, dense_as(x, to_spikes), to_current, neuron, T, constant)
        return to_current
