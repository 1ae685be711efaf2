"""A whole digital spiking chip, and the energy of one synaptic operation on it."""

from dataclasses import dataclass
from typing import Annotated

from hw_models.node_scaling import Scaling
from hw_models.parameters import Bounds
from hw_models.silicon.macro import Point

# Horowitz, ISSCC 2014, figure 1.1.9, at 45 nm and 0.9 V: 10 pJ to read 64 bits of a memory of
# 8 KB, 0.03 pJ to add 8 bits.
SRAM_BIT_PJ = 10 / 64
ADDED_BIT_PJ = 0.03 / 8
NODE, SUPPLY_V = 45, 0.9


@dataclass(frozen=True)
class Processor:
    """Structure of a chip whose neurons are updated in turn, from memories."""

    node: Annotated[float, Bounds("nm", 7, 130)]
    weight_bits: Annotated[int, Bounds("bits", 1, 32)]
    potential_bits: Annotated[int, Bounds("bits", 1, 64)]

    @property
    def kind(self) -> str:
        """What it is, in a word."""
        return "spiking"


def operation_energy(processor: Processor, point: Point) -> dict[str, float]:
    """Energy of a synaptic operation: a weight is read and added to a potential.

    Args:
        processor: The chip.
        point: Its supply is read, nothing else.

    Returns:
        component -> pJ: array (the weights' memory), potentials (read and written), digital (the
        addition).

    Raises:
        ProfileError: No factor is known for the node.
    """
    scale = Scaling(NODE).factor("energy", processor.node)
    scale = (point.supply / SUPPLY_V) ** 2 / scale
    return {
        "array": scale * SRAM_BIT_PJ * processor.weight_bits,
        "potentials": scale * SRAM_BIT_PJ * 2 * processor.potential_bits,
        "digital": scale * ADDED_BIT_PJ * processor.potential_bits,
    }
