"""Means, differences and rank correlations of few samples, with 95 % intervals."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """An estimate with its confidence interval at LEVEL."""

    value: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        """True where both ends of the interval have the same sign."""
        return self.low > 0 or self.high < 0

    def within(self, least: float, most: float) -> "Interval":
        """The interval without what lies beyond the range of the estimated parameter."""
        return Interval(self.value, max(self.low, least), min(self.high, most))


@dataclass(frozen=True)
class Difference:
    """The difference of two means, for Welch's test."""

    value: float
    error: float  # standard error
    freedom: float  # Welch and Satterthwaite's degrees, a fraction

    @property
    def p(self) -> float:
        """Two-sided p-value of equal means."""
        from scipy.special import stdtr

        if not self.error:
            return 1.0 if not self.value else 0.0
        return 2 * float(stdtr(self.freedom, -abs(self.value) / self.error))

    def interval(self, level: float = LEVEL) -> Interval:
        """The difference with its confidence interval at a level."""
        half = _quantile(self.freedom, level) * self.error
        return Interval(self.value, self.value - half, self.value + half)


def mean(values: Sequence[float], least: float = 0.0) -> Interval | None:
    """Mean of independent values with Student's confidence interval.

    Args:
        values: The sample.
        least: Lower bound of the standard deviation: equal counts do not show zero spread.

    Returns:
        The mean, or None for fewer than two values.
    """
    if len(values) < 2:
        return None
    middle, variance = _moments(values, least)
    error = math.sqrt(variance) / math.sqrt(len(values))
    return Difference(middle, error, len(values) - 1).interval()


def mean_share(values: Sequence[float], least: float = 0.0) -> Interval | None:
    """Mean of independent shares with a confidence interval that stays within 0..1.

    The logit interval of Brown, Cai and DasGupta (Statistical Science 16, 2001) with the standard
    error s of the sample and Student's t: logit(m) -+ t s / (m (1 - m)).

    Args:
        values: The sample, each 0..1.
        least: The smallest difference between two values, such as one image's share. It is the
            lower bound of the standard deviation, and a mean of 0 or 1 counts as half of it less
            extreme.

    Returns:
        The mean, or None for fewer than two values.
    """
    if len(values) < 2:
        return None
    middle, variance = _moments(values, least)
    if not variance:
        return Interval(middle, middle, middle)
    inner = min(max(middle, least / 2), 1 - least / 2)
    error = math.sqrt(variance / len(values)) / (inner * (1 - inner))
    half, centre = _quantile(len(values) - 1, LEVEL) * error, math.log(inner / (1 - inner))
    low, high = (1 / (1 + math.exp(-max(-700.0, centre + x))) for x in (-half, half))
    return Interval(middle, min(low, middle), max(high, middle))


def proportion(hits: int, trials: int) -> Interval:
    """A share with Wilson's score interval, which stays within 0..1 (E. B. Wilson, JASA 1927).

    Args:
        hits: Number of successes.
        trials: Number of independent trials, at least 1.

    Returns:
        hits / trials with its interval.
    """
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    share, scale = hits / trials, 1 + z**2 / trials
    centre = (share + z**2 / (2 * trials)) / scale
    half = z * math.sqrt(share * (1 - share) / trials + z**2 / (4 * trials**2)) / scale
    return Interval(share, min(max(0.0, centre - half), share), max(min(1.0, centre + half), share))


def difference(a: Sequence[float], b: Sequence[float], least: float = 0.0) -> Difference | None:
    """Mean of a minus mean of b, for unequal variances (Welch, Biometrika 34, 1947).

    Args:
        a: A sample.
        b: Another sample.
        least: Lower bound of both standard deviations, as for `mean`.

    Returns:
        The difference, or None where a sample has fewer than two values.
    """
    if min(len(a), len(b)) < 2:
        return None
    (high, of_a), (low, of_b) = _moments(a, least), _moments(b, least)
    parts = [(of_a / len(a), len(a) - 1), (of_b / len(b), len(b) - 1)]
    square = sum(part for part, _ in parts)
    below = sum(part**2 / degrees for part, degrees in parts)
    freedom = square**2 / below if below else float(min(degrees for _, degrees in parts))
    return Difference(high - low, math.sqrt(square), freedom)


def holm(p_values: Sequence[float], level: float = LEVEL) -> list[tuple[float, float]]:
    """Holm's correction for several tests (Scandinavian Journal of Statistics 6, 1979).

    An interval at its level excludes 0 exactly where its test is significant. Tests after the
    first that is not significant are not carried out, and have the level of that one.

    Args:
        p_values: One of each test.
        level: Confidence level of all tests together.

    Returns:
        For each test its corrected p-value, significant below 1 - level, and the level of its
        confidence interval.
    """
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    results = [(0.0, 0.0)] * len(p_values)
    corrected, left, significant = 0.0, len(p_values), True
    for place, i in enumerate(order):
        corrected = max(corrected, min(1.0, (len(order) - place) * p_values[i]))
        left = len(order) - place if significant else left
        significant = significant and corrected < 1 - level
        results[i] = (corrected, 1 - (1 - level) / left)
    return results


def _moments(values: Sequence[float], least: float) -> tuple[float, float]:
    """Mean and variance of a sample, the variance at least `least` squared."""
    sample = np.asarray(values, dtype=np.float64)
    return float(sample.mean()), max(float(sample.var(ddof=1)), least**2)


def _quantile(freedom: float, level: float) -> float:
    from scipy.special import stdtrit  # imported here because it loads slowly

    return float(stdtrit(freedom, (1 + level) / 2))


def spearman(scores: Sequence[float], truth: Sequence[float]) -> Interval | None:
    """Spearman's rank correlation with a confidence interval by Fisher's transformation.

    The variance is that of Bonett and Wright (Psychometrika 65, 2000): (1 + r^2 / 2) / (n - 3).
    A correlation of 1 is lowered by half a swap of neighbours, so that its interval is finite.

    Args:
        scores: Values of one ranking [n].
        truth: Values of the other [n].

    Returns:
        The correlation, or None for fewer than four pairs or where all values are equal.
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
    """Ranks from 1; equal values have the mean of their ranks."""
    _, place, count = np.unique(np.asarray(values), return_inverse=True, return_counts=True)
    ranked: NDArray[np.float64] = (np.cumsum(count) - (count - 1) / 2)[place]
    return ranked
