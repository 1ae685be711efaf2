"""Analog-to-digital converters: energy, area and delay as functions of their bits.

`fixed` is SpikeSim's converter whatever the bits. `flash` has 2^b - 1 comparators; its figures
are SpikeSim's 4-bit converter, 15 of them (its type is not published). `sar` is the model of
ZigZag-IMC (Sun et al., ICCAD 2023), validated there on three macros of 22 and 28 nm with 3 to 7
bits; more bits are its extrapolation. `sar_levels` is that converter with an energy that grows
with its levels, as measured at 3 to 9 bits (hw_models/silicon).
"""

from hw_models.errors import ProfileError
from hw_models.parameters import Figures, Options

FITTED_BITS = {"fixed": (1, 16), "flash": (1, 8), "sar": (1, 12), "sar_levels": (3, 9)}
SAR = ("sar", "sar_levels")
SCRIPT_COMPARATORS = 15


def check(figures: Figures, options: Options) -> None:
    """Check that the converter's model covers its bits.

    Args:
        figures: The chip's numbers; `adc_bits` are checked.
        options: Which converter the chip has.

    Raises:
        ProfileError: The bits are outside of what the model was fitted to.
    """
    least, most = FITTED_BITS[options.adc]
    if not least <= figures.adc_bits <= most:
        raise ProfileError(
            f"adc_bits = {figures.adc_bits}: the {options.adc} converter covers {least}..{most}"
        )


def energy_J(figures: Figures, options: Options) -> float:
    """Energy of one conversion: 100 fF V^2 b + 1 aF V^2 4^b for `sar`.

    For `sar_levels` 40 fF V^2 b + 8 fF V^2 2^b. Source of `sar`: ZigZag-IMC (Sun et al., ICCAD
    2023); of `sar_levels`: the converters of Jia et al., JSSC 2020, and Wang et al., VLSI 2022.

    Args:
        figures: The chip's numbers in SI units.
        options: Which converter the chip has.

    Returns:
        Energy in J.
    """
    bits, levels = figures.adc_bits, float(2**figures.adc_bits)
    if options.adc == "flash":
        return figures.adc_energy_J * (levels - 1) / SCRIPT_COMPARATORS
    if options.adc == "sar":
        return figures.sar_bit_energy_J * bits + figures.sar_level_energy_J * levels**2
    if options.adc == "sar_levels":
        return figures.sar_bit_energy_J * bits + figures.sar_level_energy_J * levels
    return figures.adc_energy_J


def area_m2(figures: Figures, options: Options) -> float:
    """Area of one converter: 2^b 10^(1.206 - 0.0369 b) um2 for `sar`.

    Source of `sar`: ZigZag-IMC (Sun et al., ICCAD 2023).

    Args:
        figures: The chip's numbers in SI units.
        options: Which converter the chip has.

    Returns:
        Area in m2.
    """
    bits, levels = figures.adc_bits, float(2**figures.adc_bits)
    if options.adc == "flash":
        return figures.adc_area_m2 * (levels - 1) / SCRIPT_COMPARATORS
    if options.adc in SAR:
        return float(
            levels * 10 ** (figures.sar_area_exponent + figures.sar_area_slope * bits) * 1e-12
        )
    return figures.adc_area_m2


def delay_s(figures: Figures, options: Options) -> float:
    """Time of one conversion: b (bit delay + row delay X) for `sar`, X the side of a crossbar.

    Source of `sar`: ZigZag-IMC (Sun et al., ICCAD 2023).

    Args:
        figures: The chip's numbers in SI units.
        options: Which converter the chip has.

    Returns:
        Time in s; 0 for the other converters, whose time the clocks of a read include.
    """
    if options.adc in SAR:
        return figures.adc_bits * (
            figures.sar_bit_delay_s + figures.sar_row_delay_s * figures.crossbar_size
        )
    return 0.0
