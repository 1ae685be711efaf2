"""How a weight matrix lies on crossbars."""

import math
from dataclasses import dataclass

from hw_models.workload import Layer


@dataclass(frozen=True)
class Tiling:
    """Processing elements of one layer; each holds one crossbar per kernel position."""

    pes: int
    crossbars: int
    utilisation: float  # share of the allocated cells that hold a weight, 0..1


def kernel_split(layer: Layer, crossbar_size: int) -> Tiling:
    """SpikeSim's mapping: rows are input channels, columns output channels, a weight one cell."""
    x = crossbar_size
    pes = math.ceil(layer.in_channels / x) * math.ceil(layer.out_channels / x)
    crossbars = pes * layer.kernel**2
    return Tiling(pes, crossbars, layer.weights / (crossbars * x**2))
