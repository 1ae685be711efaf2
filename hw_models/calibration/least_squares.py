"""The best factors of a chip's figures by least squares, and how certain they are.

See calibration.py for what is minimised. M measured numbers, F fitted figures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from hw_models.calibration.measured_numbers import Mask, MeasuredNumbers
from hw_models.layer_table import Array
from hw_models.parameters import SCHEMA

LARGEST = 100.0  # a factor further away is no calibration of this chip
DETERMINED = 0.7  # posterior over prior deviation: above it the data do not determine a figure
LEAST_NOISE = 1e-4
FIRST_NOISE = 0.05  # relative deviation assumed before residuals are known
MAX_ROUNDS = 60


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """The sum of squares for some figures, over the numbers that count.

    Args:
        numbers: The measured numbers.
        keys: The figures.
        used: Which numbers count, bool [M].
        noise: Relative standard deviations [M].
    """

    numbers: MeasuredNumbers
    keys: list[str]
    used: Mask
    noise: Array

    @property
    def prior(self) -> Array:
        """Deviations of the figures' logarithms before the fit [F]."""
        return np.array([self.numbers.prior(key) for key in self.keys])

    def minimise(self, theta: Array) -> Array:
        """Damped Gauss-Newton from a first guess of the logarithms [F]."""
        least, most = self._reach()
        prior, damping, cost = self.prior, 1e-6, self._cost(theta)
        for _ in range(MAX_ROUNDS):
            slope = self._slopes(theta)
            gradient = slope.T @ self._gaps(theta) + theta / prior**2
            hessian = slope.T @ slope + np.diag(1 / prior**2)
            step = np.linalg.solve(hessian + damping * np.diag(np.diag(hessian)), gradient)
            candidate = np.clip(theta - step, least, most)
            new = self._cost(candidate)
            if new <= cost:
                gained, theta, cost, damping = cost - new, candidate, new, damping / 10
                if gained <= 1e-12 * (1 + cost):
                    break
            else:
                damping = max(damping, 1e-9) * 10
                if damping > 1e9:
                    break
        return theta

    def remaining_noise(self, theta: Array) -> float:
        """Relative deviation of the measurements that the fit leaves."""
        estimated = self.used & np.isnan(self.numbers.deviations)
        if not estimated.any():
            return LEAST_NOISE
        gap = self.log_errors(theta)[estimated]
        degrees = self.degrees(theta)
        return max(LEAST_NOISE, math.sqrt(float(gap @ gap) / max(1.0, len(gap) - degrees)))

    def deviations(self, theta: Array, kept: Sequence[str]) -> Array:
        """Deviations of fitted logarithms [F]: the fit's own, and what `kept` figures add.

        C = (S'S + P^-1)^-1 for the fitted figures; a kept figure off by its prior deviation p
        moves them by C S' s p.
        """
        with_kept = replace(self, keys=[*self.keys, *kept])
        slopes = with_kept._slopes(np.concatenate([theta, np.zeros(len(kept))]))
        fitted, unfitted = slopes[:, : len(self.keys)], slopes[:, len(self.keys) :]
        own = self._covariance(fitted)
        moved = own @ fitted.T @ unfitted * np.array([self.numbers.prior(key) for key in kept])
        return np.asarray(np.sqrt(np.diag(own) + (moved**2).sum(1)))

    def _reach(self) -> tuple[Array, Array]:
        """Least and greatest logarithm of each factor, within LARGEST and the figure's bounds."""
        values = self.numbers.profile.values
        bounds = [(SCHEMA[k].least / values[k], SCHEMA[k].most / values[k]) for k in self.keys]
        least = [math.log(max(1 / LARGEST, low)) for low, _ in bounds]
        return np.array(least), np.array([math.log(min(LARGEST, high)) for _, high in bounds])

    def _cost(self, theta: Array) -> float:
        gap = self._gaps(theta)
        return float(gap @ gap + ((theta / self.prior) ** 2).sum())

    def _gaps(self, theta: Array) -> Array:
        """Errors of the predictions in use, in standard deviations."""
        gaps: Array = self.log_errors(theta)[self.used] / self.noise[self.used]
        return gaps

    def log_errors(self, theta: Array) -> Array:
        """Logarithms of predicted over measured numbers [M]."""
        return self._logs(theta) - np.log(self.numbers.values)

    def prediction_variances(self, theta: Array) -> Array:
        """Variances of the predictions' logarithms [M], from what the fit leaves uncertain."""
        jacobian = self._jacobian(theta)
        covariance = self._covariance(self._slopes(theta))
        return np.asarray(np.einsum("mf,fg,mg->m", jacobian, covariance, jacobian))

    def degrees(self, theta: Array) -> float:
        """Number of figures that the data set, and not their priors."""
        variances = np.diag(self._covariance(self._slopes(theta)))
        return len(self.keys) - float((variances / self.prior**2).sum())

    def _logs(self, theta: Array) -> Array:
        factors = dict(zip(self.keys, np.exp(theta), strict=True))
        return np.asarray(np.log(self.numbers.predicted(factors)))

    def _jacobian(self, theta: Array) -> Array:
        """Derivatives of the predictions' logarithms by each figure's [M, F]."""
        if not self.keys:
            return np.zeros((len(self.used), 0))
        steps = 1e-5 * np.eye(len(self.keys))
        pairs = [(self._logs(theta + step), self._logs(theta - step)) for step in steps]
        return np.stack([(above - below) / 2e-5 for above, below in pairs], 1)

    def _slopes(self, theta: Array) -> Array:
        """Derivatives of `_gaps` by each logarithm [used, F]."""
        slopes: Array = self._jacobian(theta)[self.used] / self.noise[self.used, None]
        return slopes

    def _covariance(self, slopes: Array) -> Array:
        return np.asarray(np.linalg.inv(slopes.T @ slopes + np.diag(1 / self.prior**2)))


@dataclass(frozen=True, eq=False)
class Solution:
    """Fitted figures.

    Args:
        squares: What was minimised.
        theta: Logarithms of the figures' factors [F].
        deviations: Standard deviations of these logarithms [F].
    """

    squares: LeastSquares
    theta: Array
    deviations: Array

    @property
    def keys(self) -> list[str]:
        """The figures."""
        return self.squares.keys

    @property
    def determined(self) -> list[str]:
        """Figures that the data made more certain."""
        pairs = zip(self.keys, self.deviations, self.squares.prior, strict=True)
        return [key for key, after, before in pairs if after < DETERMINED * before]

    @property
    def factors(self) -> dict[str, float]:
        """The factor of each figure by its key."""
        return dict(zip(self.keys, np.exp(self.theta).tolist(), strict=True))


def solve(
    numbers: MeasuredNumbers, keys: Sequence[str], used: Mask, kept: Sequence[str] = ()
) -> Solution:
    """The best factors of figures, and the noise that remains.

    Args:
        numbers: The measured numbers.
        keys: The figures.
        used: Which numbers count, bool [M].
        kept: Figures that are not changed, though they may be anything that their prior allows.

    Returns:
        The logarithms of the factors, with their deviations.
    """
    noise = np.where(np.isnan(numbers.deviations), FIRST_NOISE, numbers.deviations)
    squares = LeastSquares(numbers, list(keys), used, noise)
    theta = squares.minimise(np.zeros(len(keys)))
    for _ in range(2):  # with the noise that remains, where it was not given
        estimated = squares.remaining_noise(theta)
        noise = np.where(np.isnan(numbers.deviations), estimated, numbers.deviations)
        squares = replace(squares, noise=noise)
        theta = squares.minimise(theta)
    return Solution(squares, theta, squares.deviations(theta, kept))
