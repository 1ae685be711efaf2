"""Conversion between a metric's own unit and the standard normal unit that a process models.

Accuracy saturates: the last per cent takes as much effort as the first ten. So a metric that is
optimised is modelled as -log(ceiling - value), with a ceiling a margin above the best observed; a
metric with an estimate as log(value / estimate); any other one as it is.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EVENNESS = 0.5  # of noise: 1, equal at all values; 0, proportional to the distance from the ceiling
FAILED = 5.0  # a value this many times as far below the median as the best is above it
ENOUGH = 12  # values whose spread can be judged
CLIP = 2.5  # deviations below the middle at which failures are cut off: how bad is no evidence


@dataclass(frozen=True)
class Scale:
    """v -> (u - middle) / deviation, where u is v transformed."""

    sign: float = 1.0  # +1: increases with the value
    logarithm: bool = False
    ceiling: float = np.inf  # of sign * value
    middle: float = 0.0
    deviation: float = 1.0

    @classmethod
    def fit(
        cls, values: Floats, sign: float, logarithm: bool = False, margin: float = np.inf
    ) -> "Scale":
        """The scale that gives values mean 0 and deviation 1, failures excluded.

        Args:
            values: [n].
            sign: +1 if more is better.
            logarithm: Whether log(value) is modelled.
            margin: From the best to the ceiling, over the distance of best and median.

        Returns:
            The scale.
        """
        best, median = float((sign * values).max()), float(np.median(sign * values))
        ceiling = best + margin * (best - median) if best > median else np.inf
        transformed = cls(sign, logarithm, ceiling)._transform(values)
        usual = transformed[transformed >= _failure_level(transformed)]
        return cls(sign, logarithm, ceiling, float(usual.mean()), float(usual.std()) or 1.0)

    def moved(self, values: Floats, standard: Floats) -> "Scale":
        """A scale of the same width, moved so that values are near their expected places.

        Args:
            values: Values in the metric's unit [n].
            standard: Where they are expected, standardised [n].

        Returns:
            The scale.
        """
        if not np.isfinite(self.ceiling):
            expected = self.middle + self.deviation * standard
            off = float(np.median(self._transform(values) - expected))
            return replace(self, middle=self.middle + off)
        shift = float(np.median(self.sign * (values - self.value(standard))))
        room = float(np.exp(-self.middle))  # between the ceiling and a usual value
        above = float((self.sign * values).max()) + 0.5 * room
        return replace(self, ceiling=max(self.ceiling + shift, above))

    def _transform(self, values: Floats) -> Floats:
        if self.logarithm:
            return np.asarray(np.log(values))
        if np.isfinite(self.ceiling):
            return np.asarray(-np.log(self.ceiling - self.sign * values))
        return self.sign * values

    def loudness(self, standard: Floats) -> Floats:
        """Deviation of a training's noise at standard values [n], relative to that at 0."""
        if not np.isfinite(self.ceiling):
            return np.ones(len(standard))
        return np.asarray(np.exp(EVENNESS * self.deviation * standard))

    def standard(self, values: Floats) -> Floats:
        """Values in the standard unit, failures cut off [n]."""
        return np.asarray(
            np.maximum((self._transform(values) - self.middle) / self.deviation, -CLIP)
        )

    def value(self, standard: Floats) -> Floats:
        """The inverse of `standard`."""
        transformed = self.middle + self.deviation * standard
        if self.logarithm:
            return np.asarray(np.exp(transformed))
        if np.isfinite(self.ceiling):
            return np.asarray(self.sign * (self.ceiling - np.exp(-transformed)))
        return self.sign * transformed


def _failure_level(transformed: Floats) -> float:
    """The level below which values [n] are failures; -inf of few values."""
    median, best = float(np.median(transformed)), float(transformed.max())
    clear = len(transformed) >= ENOUGH and best > median
    return median - FAILED * (best - median) if clear else -np.inf
