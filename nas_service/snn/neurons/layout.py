"""How currents and their spikes lie in memory: scans run over dense steps, one after the other."""

import torch
from torch import Tensor


def memory_format(x: Tensor) -> torch.memory_format:
    """channels_last where the tensor lies so, else contiguous."""
    last = x.dim() == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def dense(x: Tensor) -> Tensor:
    """The tensor without gaps, copied if it has some."""
    return x.contiguous(memory_format=memory_format(x))


def dense_as(x: Tensor, gradient: Tensor) -> Tensor:
    """A gradient in the type and layout of dense x."""
    return gradient.to(x.dtype).contiguous(memory_format=memory_format(x))


def room_for_spikes(x: Tensor, T: int, constant: bool) -> Tensor:
    """[T*B, ...] in the type and layout of dense currents."""
    shape = (T * len(x), *x.shape[1:]) if constant else x.shape
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=memory_format(x))
