"""Which parameters of the space decide a metric: analysis of variance, one parameter at a time."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

LEAST = 8  # candidates with fewer of them show nothing


def explained_variance(codes: NDArray[np.int64], values: NDArray[np.float64]) -> float | None:
    """Share of the variance of a metric that one parameter explains alone.

    This is omega squared (W. L. Hays, Statistics for Psychologists, 1963, section 12.18), which is
    about 0 for a parameter without effect, however many values it has.

    Args:
        codes: Which value of the parameter each candidate has, as whole numbers >= 0 [N].
        values: The metric [N].

    Returns:
        The share, 0..1; an estimate below 0 counts as 0. None where the parameter or the metric
        has one value alone, or each candidate another value of the parameter.
    """
    counts = np.bincount(codes)
    groups = np.count_nonzero(counts)
    total = float(((values - values.mean()) ** 2).sum())
    freedom = len(values) - groups
    if groups < 2 or freedom < 1 or total <= 1e-24 * float((values**2).sum()):
        return None
    sums = np.bincount(codes, weights=values)
    means = sums / np.maximum(counts, 1)
    between = float((counts * (means - values.mean()) ** 2).sum())
    noise = (total - between) / freedom
    return min(1.0, max(0.0, (between - (groups - 1) * noise) / (total + noise)))


def importance(
    parameters: Sequence[Mapping[str, int | str]], values: Sequence[float]
) -> dict[str, float | None]:
    """`explained_variance` of each parameter.

    Args:
        parameters: Of each candidate, by name; a parameter that one lacks is a value of its own.
        values: The metric of each candidate.

    Returns:
        Shares by parameter; empty for fewer than LEAST candidates.
    """
    if len(values) < LEAST:
        return {}
    metric = np.asarray(values, dtype=np.float64)
    names = dict.fromkeys(name for one in parameters for name in one)
    return {name: explained_variance(_codes(parameters, name), metric) for name in names}


def _codes(parameters: Sequence[Mapping[str, int | str]], name: str) -> NDArray[np.int64]:
    number: dict[int | str | None, int] = {}
    return np.array([number.setdefault(one.get(name), len(number)) for one in parameters])
