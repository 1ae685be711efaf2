"""Area of a crossbar with its drivers and converters, from its structure."""

from hw_models.silicon.constants import AREA, AreaConstants
from hw_models.silicon.macro import Macro


def macro_area(macro: Macro, converter_bits: int, c: AreaConstants = AREA) -> dict[str, float]:
    """Area by component, with its share of what lies between the parts.

    Args:
        macro: The crossbar.
        converter_bits: Bits of its converters.
        c: Constants that all crossbars share.

    Returns:
        component -> mm2: array, rows (drivers and DACs), converters.
    """
    F2_mm2 = (macro.node * 1e-6) ** 2
    parts = {
        "array": macro.cells * macro.stored * _cell_F2(macro, c) * F2_mm2,
        "rows": (macro.lines or macro.rows) * _driver_F2(macro, c) * F2_mm2 + _dacs_mm2(macro, c),
        "converters": macro.converters * _converter_mm2(macro, converter_bits, c),
    }
    return {name: c.placement * mm2 for name, mm2 in parts.items()}


def _cell_F2(macro: Macro, c: AreaConstants) -> float:
    adder_F2 = c.adder_gates * c.gate_F2 if macro.sensing == "digital" else 0.0
    return macro.cell_area + adder_F2


def _driver_F2(macro: Macro, c: AreaConstants) -> float:
    """Of one line; lines of RRAM carry the voltages that write it."""
    return c.rram_driver_F2 if macro.device == "rram" else c.sram_driver_gates * c.gate_F2


def _dacs_mm2(macro: Macro, c: AreaConstants) -> float:
    has_dacs = macro.coding == "levels" and macro.bits_per_read > 1
    return macro.rows * macro.bits_per_read * c.dac_bit_um2 * 1e-6 if has_dacs else 0.0


def _converter_mm2(macro: Macro, bits: int, c: AreaConstants) -> float:
    F2_mm2 = (macro.node * 1e-6) ** 2
    if macro.converter == "integrator":
        return c.integrator_F2 * F2_mm2
    if macro.converter == "flash":
        return (2.0**bits - 1) * c.comparator_65nm_um2 * (macro.node / 65) ** 2 * 1e-6
    if macro.converter == "tdc":
        return (2.0**bits + bits * c.adder_gates) * c.gate_F2 * F2_mm2
    if macro.converter == "sar":
        return float(2.0**bits * 10 ** (c.sar_exponent + c.sar_slope * bits) * 1e-6)
    return 0.0
