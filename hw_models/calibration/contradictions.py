"""Measurements that alone contradict the others, such as one in another unit.

A robust fit (Huber 1964: squares near zero, absolute errors beyond) of all numbers shows which
measurements lie far off. The others are fitted without these, and contradicted by those with a
number further off than Student's t allows, given how far the others scatter (a metric's noise has
the weight of PRIOR_DEGREES numbers that scatter by FIRST_NOISE) and what they leave uncertain.
Where half of the measurements lie far off, none does so alone. M measured numbers.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hw_models.calibration.least_squares import FIRST_NOISE, LeastSquares
from hw_models.calibration.measured_numbers import Mask, MeasuredNumbers
from hw_models.layer_table import Array

FAR = 7.0  # robust standard deviations that make a number suspicious
LEAST_SCALE = 0.01  # of these deviations
NORMAL = 1.4826  # standard deviation over median absolute error of normal errors
CHANCE = 3e-4  # that a sound set of measurements is accused
PRIOR_DEGREES = 4
ROUNDS = 30
CONVERGED = 1e-4  # change of a figure's logarithm


def contradicting(numbers: MeasuredNumbers, keys: Sequence[str]) -> Mask:
    """The numbers of measurements that contradict the other measurements.

    Args:
        numbers: The measured numbers.
        keys: The figures that are fitted.

    Returns:
        Which numbers do so, bool [M]; they are of fewer than half of the measurements.
    """
    errors = _robust_errors(_unweighted(numbers, keys))
    suspicious = numbers.measurements(np.abs(errors) > FAR * _scales(numbers, errors))
    far = numbers.of_measurements(suspicious)
    if not suspicious or 2 * len(suspicious) >= len(numbers.chips):
        return np.zeros(len(errors), dtype=bool)
    return np.asarray(far & _unlikely(replace(_unweighted(numbers, keys), used=~far)))


def _unweighted(numbers: MeasuredNumbers, keys: Sequence[str]) -> LeastSquares:
    count = len(numbers.places)
    every = np.ones(count, dtype=bool)
    return LeastSquares(numbers, list(keys), every, np.full(count, FIRST_NOISE))


def _robust_errors(squares: LeastSquares) -> Array:
    """Logarithmic errors [M] of the robust fit, by squares weighted anew in every round."""
    theta = squares.minimise(np.zeros(len(squares.keys)))
    for _ in range(ROUNDS):
        errors = squares.log_errors(theta)
        scales = _scales(squares.numbers, errors)
        noise = np.sqrt(scales * np.maximum(np.abs(errors), scales))
        before, theta = theta, replace(squares, noise=noise).minimise(theta)
        if np.abs(theta - before).max() < CONVERGED:
            break
    return squares.log_errors(theta)


def _metrics(numbers: MeasuredNumbers) -> Array:
    return np.array([metric for _, metric in numbers.places])


def _scales(numbers: MeasuredNumbers, errors: Array) -> Array:
    """Robust standard deviation of the errors of each number's metric [M]."""
    metrics, sizes = _metrics(numbers), np.abs(errors)
    median = {m: float(np.median(sizes[metrics == m])) for m in set(metrics.tolist())}
    return np.array([max(LEAST_SCALE, NORMAL * median[m]) for m in metrics.tolist()])


def _unlikely(squares: LeastSquares) -> Mask:
    """Numbers further off than the numbers that count allow, bool [M]."""
    from scipy.special import stdtrit

    theta = squares.minimise(np.zeros(len(squares.keys)))
    squares = replace(squares, noise=_noise(squares, theta)[0])
    theta = squares.minimise(theta)
    noise, degrees = _noise(squares, theta)
    least = stdtrit(degrees, 1 - CHANCE / (2 * len(noise)))
    variances = noise**2 + squares.prediction_variances(theta)
    return np.asarray(np.abs(squares.log_errors(theta)) > least * np.sqrt(variances))


def _noise(squares: LeastSquares, theta: Array) -> tuple[Array, Array]:
    """Standard deviation of each number [M], estimated or given, and its degrees of freedom."""
    numbers, errors = squares.numbers, squares.log_errors(theta)
    metrics, noise, degrees = _metrics(numbers), np.zeros(len(errors)), np.zeros(len(errors))
    free = max(0.0, 1 - squares.degrees(theta) / squares.used.sum())  # share that no figure takes
    for metric in set(metrics.tolist()):
        own = metrics == metric
        sound = errors[own & squares.used]
        degrees[own] = PRIOR_DEGREES + free * len(sound)
        squared = PRIOR_DEGREES * FIRST_NOISE**2 + float(sound @ sound)
        noise[own] = np.sqrt(squared / degrees[own])
    return np.maximum(noise, np.nan_to_num(numbers.deviations)), degrees
