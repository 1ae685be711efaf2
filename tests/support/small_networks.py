"""Small networks that several tests of `snn` score and train."""

import torch

from nas_service.snn.network import Network
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.task import Task

TASK = Task(3, 8, 10)
EASY = "conv3x3_th0.5"  # fires after the pooling of a reduction too
LIVE = Cell((EASY, EASY, EASY, "skip", "conv1x1", "conv3x3"))
DEAD = Cell(("zeroize", "conv3x3", "zeroize", "zeroize", "conv3x3", "zeroize"))


def images(n: int = 12, seed: int = 0) -> torch.Tensor:
    """Noise [n, 3, 8, 8]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, 8, 8, generator=generator)


def network(*cells: Cell, seed: int = 0, bits: int = 8) -> Network:
    """An untrained network of these cells."""
    torch.manual_seed(seed)
    a = Architecture(cells, 8, head_pool=1, hidden=16, time_steps=3, weight_bits=bits)
    return Network(a, TASK)
