"""Scales: from values to pixels, round tick marks, and the range that an axis shows."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MARGIN = 0.08  # of the range, at both ends
NEAR = 1.0  # a limit this many ranges away is still inside the axis


@dataclass(frozen=True)
class Scale:
    """A linear scale from values to pixels."""

    low: float
    high: float
    start: float
    end: float
    whole: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def ticks(self) -> list[float]:
        """Values of the tick marks."""
        return [t for t in ticks(self.low, self.high) if not self.whole or t == round(t)]


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two values: steps of 1, 2 or 5 times a power of ten.

    Args:
        low: The smaller value.
        high: The larger value.
        most: The most steps.

    Returns:
        The numbers, ascending.
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return [round((first + i) * step, 12) for i in range(count)]


def axis_range(
    core: Sequence[float], limits: Iterable[float] = (), most: float = math.inf
) -> tuple[float, float]:
    """The range of an axis around the values that matter, with a margin at both ends.

    Args:
        core: Values that are inside in any case; without any, the limits are.
        limits: Budgets and references, inside where they are near the core.
        most: No value is above this one, and the axis does not pass it.

    Returns:
        Low and high end, low < high. Neither passes 0 where no value does.
    """
    inside = list(core) or list(limits) or [0.0, 1.0]
    low, high = min(inside), max(inside)
    width = (high - low) or 0.1 * abs(high) or 1.0
    inside += [x for x in limits if low - NEAR * width <= x <= high + NEAR * width]
    low, high = min(inside), max(inside)
    margin = MARGIN * (high - low) or 0.25 * abs(high) or 0.5
    bottom = low - margin if low < 0 else max(0.0, low - margin)
    top = high + margin
    return bottom, (min(top, most) if high < most else top) if high >= 0 else min(0.0, top)


def middle_of(values: Sequence[float], share: float = 0.05) -> list[float]:
    """The values without the `share` smallest and the `share` largest, which may be far away."""
    ordered = sorted(values)
    cut = int(share * len(ordered))
    return ordered[cut : len(ordered) - cut]
