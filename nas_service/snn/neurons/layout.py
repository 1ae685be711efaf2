"""Memory layouts of currents and spikes: the backends need tensors without gaps.

T time steps, B batch.
"""

import torch
from torch import Tensor


def memory_format(x: Tensor) -> torch.memory_format:
    """channels_last for a tensor that has this layout, else contiguous."""
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def dense(x: Tensor) -> Tensor:
    """The tensor in a layout without gaps; a copy only where it has some."""
    return x.contiguous(memory_format=memory_format(x))


def dense_as(x: Tensor, gradient: Tensor) -> Tensor:
    """A gradient with the type and layout of the dense tensor x.

    Args:
        x: A tensor without gaps, as `dense` gives it.
        gradient: A gradient of the same shape.

    Returns:
        The gradient, copied where type or layout differ.
    """
    return gradient.to(x.dtype).contiguous(memory_format=memory_format(x))


def room_for_spikes(x: Tensor, T: int, constant: bool) -> Tensor:
    """An empty tensor [T*B, ...] with the type and layout of dense currents x.

    Args:
        x: Currents [T*B, ...], or [B, ...] where they are constant.
        T: Time steps.
        constant: The currents are the same at every step.

    Returns:
        The tensor, not initialised.
    """
    shape = (T * len(x), *x.shape[1:]) if constant else x.shape
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))
