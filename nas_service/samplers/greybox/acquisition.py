"""The expected gain of training a candidate. N candidates, K points of a front, M objectives.

All objectives are minimised and scaled so that the reference is 1. One of them, the first, is
unknown and normally distributed; the others are known.
"""

import numpy as np
import scipy
from numpy.typing import NDArray

from .pareto import exclusive, slices

Floats = NDArray[np.float64]
LEAST_DEVIATION = 1e-12


def expected_below(level: float, mean: Floats, deviation: Floats) -> Floats:
    """Expected improvement E[max(level - x, 0)] of normally distributed x.

    With u = (level - mean) / deviation it is (level - mean) Phi(u) + deviation phi(u)
    (Jones et al., 1998).

    Args:
        level: The best value so far.
        mean: Of x [N].
        deviation: Of x [N].

    Returns:
        [N].
    """
    sd = np.maximum(deviation, LEAST_DEVIATION)
    u = (level - mean) / sd
    return np.asarray((level - mean) * scipy.special.ndtr(u) + sd * _density(u))


def _density(u: Floats) -> Floats:
    """Density of the standard normal distribution."""
    return np.asarray(np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi))


def expected_hypervolume_gain(
    mean: Floats, deviation: Floats, known: Floats, front: Floats
) -> Floats:
    """Expected growth of the hypervolume by each candidate, exactly.

    Between two neighbours on the front the gain grows with the unknown objective in proportion to
    one fixed volume of the known ones (Yang et al., 2019, for the general case).

    Args:
        mean: Of the first objective [N].
        deviation: Of the first objective [N].
        known: The other objectives [N, M - 1].
        front: Nondominated points [K, M].

    Returns:
        [N].
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
    """P(x <= level) for normally distributed x.

    Args:
        level: A number, or one for each x [N].
        mean: Of x [N].
        deviation: Of x [N].

    Returns:
        Probabilities [N].
    """
    return np.asarray(scipy.special.ndtr((level - mean) / np.maximum(deviation, LEAST_DEVIATION)))
