"""Between a metric's own unit and the standard normal unit that a process models.

Accuracy saturates: the last per cent takes as much as the first ten. So a metric that is optimised
is modelled as -log(ceiling - value), with a ceiling a margin above the best seen; a metric that an
estimate foretells as log(value / estimate); any other one as it is.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
EVENNESS = 0.5  # of noise: 1, as large at all values; 0, it grows with what lacks to the ceiling
FAR = 5.0  # times as far below the median as the best is above it: what failed
ENOUGH = 12  # values that tell how far they lie apart
CLIP = 2.5  # deviations below the middle: a network that fails says no more than that it is bad


@dataclass(frozen=True)
class Scale:
    """v -> (u - middle) / deviation, where u is v bent."""

    sign: float = 1.0  # +1: rises with the value
    logarithm: bool = False
    ceiling: float = np.inf  # of sign * value
    middle: float = 0.0
    deviation: float = 1.0

    @classmethod
    def fit(
        cls, values: Floats, sign: float, logarithm: bool = False, margin: float = np.inf
    ) -> "Scale":
        """Values [n] get mean 0 and deviation 1, but for failures, which are CLIP below. `margin`:
        from the best to the ceiling, as a share of what lies between best and median."""
        best, median = float((sign * values).max()), float(np.median(sign * values))
        ceiling = best + margin * (best - median) if best > median else np.inf
        bent = cls(sign, logarithm, ceiling)._bend(values)
        usual = bent[bent >= _failing(bent)]
        return cls(sign, logarithm, ceiling, float(usual.mean()), float(usual.std()) or 1.0)

    def moved(self, values: Floats, standard: Floats) -> "Scale":
        """The scale as wide, but at values [n] that it should give these standard ones."""
        if not np.isfinite(self.ceiling):
            bent = self.middle + self.deviation * standard
            off = float(np.median(self._bend(values) - bent))
            return replace(self, middle=self.middle + off)
        shift = float(np.median(self.sign * (values - self.value(standard))))
        room = float(np.exp(-self.middle))  # between the ceiling and a usual value
        above = float((self.sign * values).max()) + 0.5 * room
        return replace(self, ceiling=max(self.ceiling + shift, above))

    def _bend(self, values: Floats) -> Floats:
        if self.logarithm:
            return np.asarray(np.log(values))
        if np.isfinite(self.ceiling):
            return np.asarray(-np.log(self.ceiling - self.sign * values))
        return self.sign * values

    def loudness(self, standard: Floats) -> Floats:
        """Deviation of a training's noise at standard values, over that at 0 [n]."""
        if not np.isfinite(self.ceiling):
            return np.ones(len(standard))
        return np.asarray(np.exp(EVENNESS * self.deviation * standard))

    def standard(self, values: Floats) -> Floats:
        return np.asarray(np.maximum((self._bend(values) - self.middle) / self.deviation, -CLIP))

    def value(self, standard: Floats) -> Floats:
        """The inverse of `standard`."""
        bent = self.middle + self.deviation * standard
        if self.logarithm:
            return np.asarray(np.exp(bent))
        if np.isfinite(self.ceiling):
            return np.asarray(self.sign * (self.ceiling - np.exp(-bent)))
        return self.sign * bent


def _failing(bent: Floats) -> float:
    """The level below which values [n] are failures, far from most others; few values have none."""
    median, best = float(np.median(bent)), float(bent.max())
    clear = len(bent) >= ENOUGH and best > median
    return median - FAR * (best - median) if clear else -np.inf
