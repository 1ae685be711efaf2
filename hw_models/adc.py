"""Analog-to-digital converters: energy, area and delay as functions of their bits.

`fixed` is SpikeSim's converter whatever the bits. `flash` has 2^b - 1 comparators; its figures
are SpikeSim's 4-bit converter, 15 of them (its type is not published). `sar` is the model of
ZigZag-IMC (Sun et al., ICCAD 2023), validated there on three macros of 22 and 28 nm with 3 to 7
bits; more bits are its extrapolation.
"""

from hw_models.errors import ProfileError
from hw_models.parameters import Figures, Options

FITTED_BITS = {"fixed": (1, 16), "flash": (1, 8), "sar": (1, 12)}
SCRIPT_COMPARATORS = 15


def check(v: Figures, o: Options) -> None:
    """ProfileError where the converter's figures were never fitted."""
    least, most = FITTED_BITS[o.adc]
    if not least <= v.adc_bits <= most:
        raise ProfileError(f"adc_bits = {v.adc_bits}: the {o.adc} converter knows {least}..{most}")


def energy_J(v: Figures, o: Options) -> float:
    """Energy of one conversion."""
    b, levels = v.adc_bits, float(2**v.adc_bits)
    if o.adc == "flash":
        return v.adc_energy_J * (levels - 1) / SCRIPT_COMPARATORS
    if o.adc == "sar":
        return v.sar_bit_energy_J * b + v.sar_level_energy_J * levels**2
    return v.adc_energy_J


def area_m2(v: Figures, o: Options) -> float:
    """Area of one converter."""
    b, levels = v.adc_bits, float(2**v.adc_bits)
    if o.adc == "flash":
        return v.adc_area_m2 * (levels - 1) / SCRIPT_COMPARATORS
    if o.adc == "sar":
        return float(levels * 10 ** (v.sar_area_exponent + v.sar_area_slope * b) * 1e-12)
    return v.adc_area_m2


def delay_s(v: Figures, o: Options) -> float:
    """Time of one conversion; 0 where the clocks of a read already hold it."""
    if o.adc == "sar":
        return v.adc_bits * (v.sar_bit_delay_s + v.sar_row_delay_s * v.crossbar_size)
    return 0.0
