"""What training a candidate is expected to gain. N candidates, K points of a front, M objectives.

All objectives are minimised and scaled so that the reference is 1. One of them, the first, is
unknown and normally distributed; the others are known.
"""

import numpy as np
import scipy
from numpy.typing import NDArray

from .pareto import exclusive, slices

Floats = NDArray[np.float64]
LEAST = 1e-12  # deviation


def expected_below(level: float, mean: Floats, deviation: Floats) -> Floats:
    """E[max(level - x, 0)] for normal x [N]: the expected improvement on `level`."""
    sd = np.maximum(deviation, LEAST)
    u = (level - mean) / sd
    return np.asarray((level - mean) * scipy.special.ndtr(u) + sd * _density(u))


def _density(u: Floats) -> Floats:
    return np.asarray(np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi))


def expected_hypervolume_gain(
    mean: Floats, deviation: Floats, known: Floats, front: Floats
) -> Floats:
    """Expected growth of the hypervolume of a front [K, M] by each candidate [N], exactly.

    `known` [N, M - 1] are the other objectives. Between two neighbours on the front the gain grows
    with the unknown objective by one fixed volume of the known ones (Yang et al., 2019, for the
    general case).
    """
    front = front[(front < 1).all(1)]
    if known.shape[1] == 0:
        return expected_below(front[:, 0].min(initial=1.0), mean, deviation)
    gain, below = np.zeros(len(mean)), np.zeros(len(mean))
    for _, high, before in slices(front):
        reached = expected_below(min(high, 1.0), mean, deviation)
        gain += (reached - below) * exclusive(known, before)
        below = reached
    return gain


def probability_below(level: float | Floats, mean: Floats, deviation: Floats) -> Floats:
    """P(x <= level) for normal x [N]."""
    return np.asarray(scipy.special.ndtr((level - mean) / np.maximum(deviation, LEAST)))
