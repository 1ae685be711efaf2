"""Figures with their 95 % intervals: means and rank correlations of few samples."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure, and the ends between which it lies at LEVEL."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def mean(values: Sequence[float]) -> Interval | None:
    """Mean of independent values with Student's interval; None for fewer than two."""
    from scipy.special import stdtrit  # not where nothing is asked of it: it loads slowly

    if len(values) < 2:
        return None
    found = np.asarray(values, dtype=np.float64)
    middle = float(found.mean())
    error = float(found.std(ddof=1)) / math.sqrt(len(found))
    half = float(stdtrit(len(found) - 1, (1 + LEVEL) / 2)) * error
    return Interval(middle, middle - half, middle + half)


def spearman(scores: Sequence[float], truth: Sequence[float]) -> Interval | None:
    """Rank correlation with its interval by Fisher's transformation.

    The variance is that of Bonett and Wright (Psychometrika 65, 2000): (1 + r^2 / 2) / (n - 3).
    Perfect ranks are taken half a swap of neighbours short of it, so that few pairs say little.
    None for fewer than four pairs, or where all are alike.
    """
    n = len(truth)
    if n < 4 or min(len(set(scores)), len(set(truth))) < 2:
        return None
    r = float(np.corrcoef(ranks(scores), ranks(truth))[0, 1])
    most = 1 - 6 / (n * (n * n - 1))
    inner = math.copysign(min(abs(r), most), r)
    half = NormalDist().inv_cdf((1 + LEVEL) / 2) * math.sqrt((1 + inner**2 / 2) / (n - 3))
    low, high = (math.tanh(math.atanh(inner) + side * half) for side in (-1, 1))
    return Interval(r, min(low, r), max(high, r))


def ranks(values: Sequence[float]) -> NDArray[np.float64]:
    """Ranks from 1; equal values share the mean of theirs."""
    _, place, count = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    found: NDArray[np.float64] = (np.cumsum(count) - (count - 1) / 2)[place]
    return found
