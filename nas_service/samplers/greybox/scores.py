"""Training-free scores that take too long to be measured for every candidate.

n observations, N candidates, S scores.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FEWEST = 4  # observations that make a score worth measuring
FARTHEST = 3.0  # deviations from the middle: a dead network scores -1e6, and is no worse than bad


@dataclass(frozen=True)
class Unit:
    """Median of a score, and its deviation from the distance of its quartiles."""

    middle: float
    deviation: float

    @classmethod
    def of(cls, values: Floats) -> "Unit | None":
        """The unit of observed values [n]; None if they are too few or all equal."""
        known = values[np.isfinite(values)]
        if len(known) < FEWEST:
            return None
        low, middle, high = np.quantile(known, (0.25, 0.5, 0.75)).tolist()
        deviation = (high - low) / 1.349 or float(known.std())
        return cls(middle, deviation) if deviation > 0 else None

    def standard(self, values: Floats) -> Floats:
        """Standardised values, clipped; 0 where there is none."""
        clipped = np.clip((values - self.middle) / self.deviation, -FARTHEST, FARTHEST)
        return np.where(np.isfinite(values), clipped, 0.0)


def units(observed: Mapping[str, Floats]) -> dict[str, Unit]:
    """Units of the scores that have one, by name.

    Args:
        observed: score -> values of the observations [n].

    Returns:
        score -> its median and deviation.
    """
    all_units = {name: Unit.of(values) for name, values in observed.items()}
    return {name: unit for name, unit in all_units.items() if unit is not None}


def columns(units: Mapping[str, Unit], values: Mapping[str, Floats]) -> Floats:
    """Standardised scores as one array.

    Args:
        units: score -> its unit.
        values: score -> values of the candidates [N]; at least the scores with a unit.

    Returns:
        Scores [N, S], in the order of the units.
    """
    return np.stack([unit.standard(values[name]) for name, unit in units.items()], -1)
