"""Time of one product of a crossbar, from its structure."""

from hw_models.silicon.macro import Macro, Point
from hw_models.silicon.reads import count_reads

# A SAR converter at 28 nm needs this for each bit, and more with the rows on its column
# (ZigZag-IMC, fitted to three macros of 22 and 28 nm).
BIT_NS = 0.640
BIT_ROW_NS = 0.00653


def product_latency(macro: Macro, point: Point) -> float | None:
    """Time of one product: conversions that follow each other, several sums to a converter.

    Args:
        macro: The crossbar.
        point: Conditions of the product.

    Returns:
        Time in ns; None where the time of such a converter is not modelled.
    """
    if macro.converter != "sar":
        return None
    turns = macro.sums / macro.converters * count_reads(macro, point).conversions
    return turns * point.output_bits * (BIT_NS + BIT_ROW_NS * macro.rows)
