"""Time of one product of a crossbar, from its structure: conversions that follow each other.

Every function returns ns. A delay at another node is scaled by DeepScaleTool, one at another
supply by the alpha-power law (hw_models/supply_scaling.py).
"""

import math
from collections.abc import Callable

from hw_models import supply_scaling
from hw_models.errors import ProfileError
from hw_models.node_scaling import Scaling
from hw_models.silicon.constants import CONSTANTS, TIMES, Constants, TimeConstants
from hw_models.silicon.energy import gate_fF, row_fF
from hw_models.silicon.macro import Macro, Point
from hw_models.silicon.reads import Reads, count_reads

TAPER = 4  # a driver's stages are each four times as large as the one before


def product_latency(
    macro: Macro, point: Point, t: TimeConstants = TIMES, c: Constants = CONSTANTS
) -> float:
    """Time of one product.

    Args:
        macro: The crossbar.
        point: Conditions of the product.
        t: Delays that all crossbars share.
        c: Capacitances that all crossbars share.

    Returns:
        Time in ns.

    Raises:
        ProfileError: It is not modelled, for the reason that the message says.
    """
    reads, turns = count_reads(macro, point), macro.sums / max(macro.converters, 1)
    if macro.converter not in CONVERSIONS:
        raise ProfileError(f"converter = {macro.converter}: {_known()}")
    return _pulses(macro, point, t, c) + CONVERSIONS[macro.converter](macro, point, reads, turns, t)


def slowdown(node: float, supply: float, t: TimeConstants = TIMES) -> float:
    """How much slower gates are than at 28 nm and the supply of the constants.

    Args:
        node: In nm.
        supply: In V.
        t: The supply of the constants.

    Returns:
        A factor.

    Raises:
        ProfileError: The node has no factor, or the supply does not exceed the threshold.
    """
    return supply_scaling.slowdown(supply, t.reference_V) / Scaling(28).factor("delay", node)


def _sar(macro: Macro, point: Point, reads: Reads, turns: float, t: TimeConstants) -> float:
    """A bit after the other, each with what its column needs to settle."""
    bit_ns = t.sar_bit_ns + t.sar_row_ns * macro.rows
    steps = turns * reads.conversions * point.output_bits
    return steps * bit_ns * slowdown(macro.node, point.supply, t)


def _flash(macro: Macro, point: Point, reads: Reads, turns: float, t: TimeConstants) -> float:
    """A comparator, and a tree of gates over the levels; columns are charged again before."""
    gates = 1 + point.output_bits
    charge_ns = _pulse_ns(macro, point, t, CONSTANTS)
    conversion_ns = gates * t.gate_ns * slowdown(macro.node, point.supply, t)
    return turns * reads.conversions * (charge_ns + conversion_ns)


def _integrator(macro: Macro, point: Point, reads: Reads, turns: float, t: TimeConstants) -> float:
    """Integrations of the inputs, a step for each bit of the output, and one between phases."""
    decrements = reads.steps - reads.columns
    if not macro.integration_time or not macro.step_time:
        raise ProfileError("integration_time and step_time of an integrator are needed")
    return reads.columns * macro.integration_time + turns * macro.step_time * (
        decrements + reads.conversions
    )


def _tdc(macro: Macro, point: Point, reads: Reads, turns: float, t: TimeConstants) -> float:
    """A bit in each period of the clock, as in Wei et al.; the delay line itself is left out."""
    if not macro.clock:
        raise ProfileError("clock of a time-to-digital converter is needed")
    return turns * reads.conversions * point.output_bits * 1e3 / macro.clock


CONVERSIONS: dict[str, Callable[[Macro, Point, Reads, float, TimeConstants], float]] = {
    "sar": _sar,
    "flash": _flash,
    "integrator": _integrator,
    "tdc": _tdc,
}


def _known() -> str:
    return f"times are known of {', '.join(CONVERSIONS)}"


def _pulses(macro: Macro, point: Point, t: TimeConstants, c: Constants) -> float:
    """Pulses that count an input's value on its row, all before the conversion."""
    if macro.coding != "pulses":
        return 0.0
    return (2.0**point.input_bits - 1) * _pulse_ns(macro, point, t, c)


def _pulse_ns(macro: Macro, point: Point, t: TimeConstants, c: Constants) -> float:
    """Both edges of a pulse through the driver of a row."""
    stages = math.ceil(math.log(max(row_fF(macro, c) / gate_fF(macro, c), TAPER), TAPER))
    return 2 * stages * t.gate_ns * slowdown(macro.node, point.supply, t)
