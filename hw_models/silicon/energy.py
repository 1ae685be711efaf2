"""Energy of one product of a crossbar, from its structure: C V^2 of what is switched, V I t of
what conducts.

Every function returns pJ.
"""

import math
from collections.abc import Callable

from hw_models.silicon.constants import CONSTANTS, Constants
from hw_models.silicon.macro import Macro, Point
from hw_models.silicon.reads import Reads, count_reads

NODE_28 = 28.0
NODE_65 = 65.0


def product_energy(macro: Macro, point: Point, c: Constants = CONSTANTS) -> dict[str, float]:
    """Energy of one product, by component.

    Args:
        macro: The crossbar.
        point: Conditions of the product.
        c: Constants that all crossbars share.

    Returns:
        component -> pJ: rows (drivers and DACs), array, converters, digital.
    """
    reads = count_reads(macro, point)
    return {
        "rows": _rows(macro, point, reads, c),
        "array": ARRAYS[macro.sensing](macro, point, reads, c),
        "converters": _converters(macro, point, reads, c),
        "digital": _digital(macro, point, reads, c),
    }


def row_fF(macro: Macro, c: Constants = CONSTANTS) -> float:
    """Capacitance of a row in fF: a gate and a wire at every cell, and its drivers."""
    if macro.sensing == "digital":  # the line drives the multiplier of every cell
        cell_fF = gate_fF(macro, c) + c.wire_fF_um * macro.pitch_um
    else:
        cell_fF = _cell_fF(macro, c)
    return macro.sums * macro.cells_per_sum * cell_fF * (1 + c.driver_share)


def _cell_fF(macro: Macro, c: Constants) -> float:
    """What a cell adds to the line that selects it, or to the line that reads it."""
    width_F = c.rram_access_F if macro.device == "rram" else c.sram_access_F
    return c.gate_fF_um * width_F * macro.node * 1e-3 + c.wire_fF_um * macro.pitch_um


def gate_fF(macro: Macro, c: Constants = CONSTANTS) -> float:
    """Input capacitance of a NAND2 in fF: proportional to the node."""
    return c.gate_28nm_fF * macro.node / NODE_28


def _rows(macro: Macro, point: Point, reads: Reads, c: Constants) -> float:
    """Lines that select rows; with several bits a read, a DAC for each row."""
    energy = reads.rows * reads.toggles * row_fF(macro, c) * point.row_V2 * 1e-3
    if macro.coding == "levels" and macro.bits_per_read > 1:
        bits = min(macro.bits_per_read, point.input_bits)
        energy += reads.rows * reads.columns * c.dac_bit_fF * bits * point.supply**2 * 1e-3
    return energy


def _conducting(macro: Macro, point: Point, reads: Reads, c: Constants) -> float:
    """V^2 G t of the cells of driven rows, while a column is read."""
    cells = reads.rows * macro.sums * macro.cells_per_sum
    power_W = point.read_voltage**2 * macro.mean_conductance_S * cells
    return power_W * point.read_time * 1e3 * reads.columns * point.activity


def _line(macro: Macro, point: Point, reads: Reads, c: Constants) -> float:
    """Columns that are charged once a read, to the read voltage."""
    line_fF = macro.rows * _cell_fF(macro, c)
    return macro.sums * macro.cells_per_sum * reads.columns * line_fF * point.read_voltage**2 * 1e-3


def _charge(macro: Macro, point: Point, reads: Reads, c: Constants) -> float:
    """Cells whose own capacitance is switched: all, or with pulses those that meet some."""
    cell_fF = c.charge_cell_gates * gate_fF(macro, c)
    cells = reads.rows * macro.sums * macro.cells_per_sum
    share = point.activity * point.weights if macro.coding == "pulses" else 1.0
    return cells * reads.columns * share * cell_fF * point.supply**2 * 1e-3


def _gates(macro: Macro, point: Point, reads: Reads, c: Constants) -> float:
    """A full adder in every cell, of which half toggle."""
    adder_fF = c.adder_gates * gate_fF(macro, c)
    return macro.cells * reads.columns * point.activity * adder_fF * point.supply**2 * 1e-3


ARRAYS: dict[str, Callable[[Macro, Point, Reads, Constants], float]] = {
    "clamp": _conducting,
    "follower": _conducting,
    "line": _line,
    "charge": _charge,
    "digital": _gates,
}


def _converters(macro: Macro, point: Point, reads: Reads, c: Constants) -> float:
    """All conversions of a product, and the clamps that hold columns in front of them."""
    if macro.sensing == "clamp":
        return _clamps(macro, point, reads, c) + _conversions(macro, point, reads, c)
    return _conversions(macro, point, reads, c)


def _clamps(macro: Macro, point: Point, reads: Reads, c: Constants) -> float:
    """The bias of amplifiers: a multiple of the largest current of a column, while it is read."""
    largest_A = macro.rows * point.read_voltage * 1e-3 / macro.on_resistance
    bias_W = macro.sums * c.clamp_share * largest_A * point.supply
    return bias_W * point.read_time * 1e3 * reads.columns


def _conversions(macro: Macro, point: Point, reads: Reads, c: Constants) -> float:
    bits, V2 = point.output_bits, point.supply**2
    if macro.converter == "none":
        return 0.0
    if macro.converter == "integrator":
        return macro.sums * reads.steps * c.integrator_step_fF * V2 * 1e-3
    if macro.converter == "flash":
        comparator_fF = c.comparator_65nm_fF * macro.node / NODE_65
        conversion_fF = (2.0**bits - 1) * comparator_fF
    elif macro.converter == "tdc":  # a ring of inverters counts the time
        conversion_fF = 2.0**bits * 2 * gate_fF(macro, c)
    else:
        conversion_fF = c.sar_bit_fF * bits + c.sar_level_fF * 2.0**bits
    return macro.sums * reads.conversions * conversion_fF * V2 * 1e-3


def _digital(macro: Macro, point: Point, reads: Reads, c: Constants) -> float:
    """Registers of inputs and outputs, and adders that merge the conversions of a sum."""
    nand_fF = gate_fF(macro, c)
    inputs = reads.rows * point.input_bits * c.register_gates
    width = point.output_bits + math.ceil(math.log2(max(reads.conversions, 1)))
    merged = c.register_gates + (c.adder_gates if reads.conversions > 1 else 0)
    outputs = macro.sums * reads.conversions * width * merged
    return (inputs + outputs) * nand_fF * point.supply**2 / 2 * 1e-3
