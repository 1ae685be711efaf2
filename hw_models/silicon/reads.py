"""How often the parts of a crossbar work for one product."""

import math
from dataclasses import dataclass

from hw_models.silicon.macro import Macro, Point

MOST_BITS_OF_A_PHASE = 3  # NeuRRAM: more bits of magnitude are split into two phases


@dataclass(frozen=True)
class Reads:
    """Counts of one product."""

    rows: int  # that are driven
    toggles: float  # of one row on average
    columns: int  # reads of every column
    conversions: int  # of every sum
    steps: int  # of a converter that integrates, in all conversions of a sum


def count_reads(macro: Macro, point: Point) -> Reads:
    """How often rows toggle, and columns are read and converted.

    Args:
        macro: The crossbar.
        point: The product.

    Returns:
        The counts.
    """
    rows = point.rows or macro.rows
    if macro.coding == "phases":
        return _phases(rows, point)
    if macro.coding == "pulses":
        pulses = 2**point.input_bits - 1
        return Reads(rows, point.activity * pulses, 1, 1, 0)
    reads = math.ceil(point.input_bits / macro.bits_per_read)
    return Reads(rows, point.activity * reads, reads, reads, 0)


def _phases(rows: int, point: Point) -> Reads:
    """NeuRRAM: a sign and bits of magnitude; word lines toggle once for each bit."""
    bits = max(1, point.input_bits - 1)
    phases = (bits,) if bits <= MOST_BITS_OF_A_PHASE else (math.ceil(bits / 2), bits // 2)
    integrations = sum(2**n - 1 for n in phases)
    decrements = sum(max(point.output_bits - sum(phases[:i]), 0) for i in range(len(phases)))
    return Reads(rows, bits, integrations, len(phases), integrations + decrements)
