"""Quantizers of activations that are modules of other libraries."""

import math
from typing import Any

from torch import Tensor

MOST_BITS = 32


def bits_of(part: Any, out: Any) -> int | None:
    """Bits of what a quantizer of Brevitas puts out, which it says beside the values.

    Args:
        part: A module.
        out: Its output.

    Returns:
        The bits, a learned width rounded up; None for other modules, also for those that pass
        the width of a sum on.
    """
    width = getattr(out, "bit_width", None)
    quantizes = isinstance(out, tuple) and getattr(part, "is_quant_enabled", False)
    if not quantizes or not isinstance(width, Tensor) or not width.numel():
        return None
    bits = float(width.detach().max())
    return math.ceil(bits) if 1 <= bits <= MOST_BITS else None


def is_recurrent_stack(part: Any) -> bool:
    """True for QuantRNN and QuantLSTM of Brevitas."""
    places = (f"{kind.__module__}.{kind.__name__}" for kind in type(part).__mro__)
    return "brevitas.nn.quant_rnn.QuantRecurrentStackBase" in places
