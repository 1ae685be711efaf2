"""A chip's figures fitted to measurements.

With f the factors on the figures, m what the chip predicts and y what was measured, the fit
minimises
    sum ((ln m(f) - ln y) / sigma)^2 + sum (ln f / s)^2.
sigma is a measurement's relative standard deviation, given or estimated from the residuals; s is
the figure's own range (low, high) read as a 90 % interval, or a factor e where it has none. A
figure that the data leave as uncertain as before keeps its value, and what it may be instead
widens the intervals of the others. M measured numbers, F fitted figures.
"""

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hw_models.cost_model import ResourceUse, area_m2, price, prices_of, resource_use
from hw_models.errors import CalibrationError, HardwareError
from hw_models.layer_table import Array
from hw_models.measurements import METRICS, Measurement
from hw_models.parameters import SCHEMA
from hw_models.profile import Entry, Profile

FITTED_UNITS = ("pJ", "pJ/mm", "um2", "MHz", "mW/mm2")
NINETY = 1.645  # standard deviations either side of a 90 % interval
FREE = 1.0  # prior deviation of the logarithm of a figure without a range
LARGEST = 100.0  # a factor further away is no calibration of this chip
DETERMINED = 0.7  # posterior over prior deviation: above it the data do not determine a figure
LEAST_NOISE = 1e-4
FIRST_NOISE = 0.05  # relative deviation assumed before residuals are known
MAX_ROUNDS = 60
SI_TOTALS = {"energy_uJ": "energy_J", "latency_ms": "latency_s", "area_mm2": "area_m2"}


@dataclass(frozen=True)
class Figure:
    """One figure before and after the fit, in the unit of the profile."""

    key: str
    before: float
    after: float
    low: float  # 90 % interval
    high: float
    identified: bool


@dataclass(frozen=True)
class Residual:
    """Prediction over measurement - 1."""

    name: str
    metric: str
    measured: float
    before: float
    after: float
    left_out: float | None  # predicted by a fit without this measurement


@dataclass(frozen=True)
class Calibration:
    """A fitted chip."""

    profile: Profile
    figures: tuple[Figure, ...]
    residuals: tuple[Residual, ...]
    measurements: int

    def to_json(self) -> dict[str, Any]:
        """The digest of the fitted profile, its figures and its residuals."""
        return {
            "digest": self.profile.digest,
            "figures": [asdict(f) for f in self.figures],
            "residuals": [asdict(r) for r in self.residuals],
        }


def fit(
    profile: Profile, measurements: Sequence[Measurement], keys: Sequence[str] = ()
) -> Calibration:
    """Fit figures of a profile to measurements.

    Args:
        profile: The chip before the fit.
        measurements: At least one.
        keys: Figures to fit; by default all that change a measured metric.

    Returns:
        The fitted profile, each figure with its 90 % interval, and the residuals.

    Raises:
        CalibrationError: No measurement, a figure that cannot be fitted, or fewer numbers than
            figures.
    """
    if not measurements:
        raise CalibrationError("no measurement: at least one is needed")
    problem = _Problem.of(profile, measurements)
    requested = _requested(keys, problem) or problem.sensitive()
    if not requested:
        raise CalibrationError("no figure of this profile moves any of the measured metrics")
    solution = problem.solve(requested, [])
    while solution.determined != solution.keys:  # the others keep their value
        kept = [key for key in requested if key not in solution.determined]
        solution = problem.solve(solution.determined, kept)
    figures = tuple(_figure(profile, key, solution) for key in requested)
    fitted = _fitted_profile(profile, figures, measurements)
    return Calibration(fitted, figures, _residuals(problem, solution), len(measurements))


def _requested(keys: Sequence[str], problem: "_Problem") -> list[str]:
    """The figures that the user names, each once; at most as many as there are numbers."""
    requested = [_fittable(key, problem.profile) for key in dict.fromkeys(keys)]
    if measured := sorted(problem.measured_figures & set(requested)):
        raise CalibrationError(f"--fit {measured[0]}: the measurements have a column that sets it")
    if len(requested) > len(problem.places):
        raise CalibrationError(
            f"{len(requested)} figures to fit and {len(problem.places)} measured numbers: "
            "at least as many numbers as figures are needed"
        )
    return requested


def _fittable(key: str, profile: Profile) -> str:
    if key not in SCHEMA:
        near = difflib.get_close_matches(key, sorted(SCHEMA), n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise CalibrationError(f"--fit {key!r:.60}: no figure of a profile{hint}")
    if SCHEMA[key].unit not in FITTED_UNITS or not profile.values[key]:
        raise CalibrationError(
            f"--fit {key} = {profile.values[key]:g} {SCHEMA[key].unit}: only energies, areas and "
            "the clock can be fitted, where they are not 0"
        )
    return key


@dataclass(frozen=True, eq=False)
class _Problem:
    """Measurements as numbers, with everything that no price changes counted once."""

    profile: Profile
    chips: list[Profile]  # of each measurement
    uses: list[ResourceUse]  # of each measurement
    places: list[tuple[int, str]]  # measurement and metric of each number
    names: list[str]  # of the measurement of each number
    measured: Array  # [M]
    deviation: Array  # [M] relative, nan where it is to be estimated

    @classmethod
    def of(cls, profile: Profile, measurements: Sequence[Measurement]) -> "_Problem":
        chips = [_measured_chip(profile, m) for m in measurements]
        places = [(i, metric) for i, m in enumerate(measurements) for metric in m.values]
        sd = [measurements[i].deviations.get(metric, math.nan) for i, metric in places]
        values = np.array([measurements[i].values[metric] for i, metric in places])
        return cls(
            profile,
            chips,
            [resource_use(p.chip, m.workload) for p, m in zip(chips, measurements, strict=True)],
            places,
            [measurements[i].name for i, _ in places],
            values,
            np.array(sd) / values,
        )

    def predicted(self, factors: Mapping[str, float]) -> Array:
        """What the chip with changed figures gives for each measured number [M]."""
        predictions = []
        for profile, use in zip(self.chips, self.uses, strict=True):
            changed = {key: profile.values[key] * f for key, f in factors.items()}
            chip = profile.chip_at(changed)
            predictions.append(price(use, area_m2(chip, use), prices_of(chip)))
        return np.array([predictions[i][SI_TOTALS[m]] * METRICS[m] for i, m in self.places])

    def sensitive(self) -> list[str]:
        """Figures that change a measured number at all."""
        base = self.predicted({})
        usable = [
            key
            for key, q in SCHEMA.items()
            if q.unit in FITTED_UNITS
            and self.profile.values[key]
            and key not in self.measured_figures
        ]
        return [key for key in usable if (self.predicted({key: 2.0}) != base).any()]

    @property
    def measured_figures(self) -> set[str]:
        """Figures that a measurement states itself."""
        return {k for c in self.chips for k in SCHEMA if c.values[k] != self.profile.values[k]}

    def solve(self, keys: Sequence[str], kept: Sequence[str]) -> "_Solution":
        """The best factors of the figures `keys`, and the noise that remains.

        Figures `kept` are not changed, though they may be anything that their prior allows.
        """
        every = np.ones(len(self.places), dtype=bool)
        noise = np.where(np.isnan(self.deviation), FIRST_NOISE, self.deviation)
        squares = _LeastSquares(self, list(keys), every, noise)
        theta = squares.minimise(np.zeros(len(keys)))
        for _ in range(2):  # with the noise that remains, where it was not given
            estimated = squares.remaining_noise(theta)
            noise = np.where(np.isnan(self.deviation), estimated, self.deviation)
            squares = replace(squares, noise=noise)
            theta = squares.minimise(theta)
        return _Solution(squares, theta, squares.deviations(theta, kept))

    def prior(self, key: str) -> float:
        """Deviation of a figure's logarithm before the fit."""
        entry = self.profile.entries[key]
        if entry.low and entry.high and entry.high > entry.low:
            return math.log(entry.high / entry.low) / (2 * NINETY)
        return FREE


@dataclass(frozen=True, eq=False)
class _LeastSquares:
    """The sum of squares of the module's docstring, for F figures and the numbers in use."""

    problem: _Problem
    keys: list[str]
    used: Any  # [M] bool: measured numbers that count
    noise: Array  # [M] relative deviations

    @property
    def prior(self) -> Array:
        """Deviations of the figures' logarithms before the fit [F]."""
        return np.array([self.problem.prior(key) for key in self.keys])

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
        estimated = self.used & np.isnan(self.problem.deviation)
        if not estimated.any():
            return LEAST_NOISE
        gap = self._log_errors(theta)[estimated]
        variances = np.diag(self._covariance(self._slopes(theta)))
        degrees = len(self.keys) - float((variances / self.prior**2).sum())  # set by the data
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
        moved = own @ fitted.T @ unfitted * np.array([self.problem.prior(key) for key in kept])
        return np.asarray(np.sqrt(np.diag(own) + (moved**2).sum(1)))

    def _reach(self) -> tuple[Array, Array]:
        """Least and greatest logarithm of each factor, within LARGEST and the figure's bounds."""
        values = self.problem.profile.values
        bounds = [(SCHEMA[k].least / values[k], SCHEMA[k].most / values[k]) for k in self.keys]
        least = [math.log(max(1 / LARGEST, low)) for low, _ in bounds]
        return np.array(least), np.array([math.log(min(LARGEST, high)) for _, high in bounds])

    def _cost(self, theta: Array) -> float:
        gap = self._gaps(theta)
        return float(gap @ gap + ((theta / self.prior) ** 2).sum())

    def _gaps(self, theta: Array) -> Array:
        """Errors of the predictions in use, in standard deviations."""
        gaps: Array = self._log_errors(theta)[self.used] / self.noise[self.used]
        return gaps

    def _log_errors(self, theta: Array) -> Array:
        """ln m(f) - ln y [M]."""
        return self._logs(theta) - np.log(self.problem.measured)

    def _logs(self, theta: Array) -> Array:
        factors = dict(zip(self.keys, np.exp(theta), strict=True))
        return np.asarray(np.log(self.problem.predicted(factors)))

    def _slopes(self, theta: Array) -> Array:
        """Derivatives of `_gaps` by each logarithm [used, F]."""
        if not self.keys:
            return np.zeros((int(self.used.sum()), 0))
        steps = 1e-5 * np.eye(len(self.keys))
        pairs = [(self._logs(theta + step), self._logs(theta - step)) for step in steps]
        jacobian = np.stack([(above - below) / 2e-5 for above, below in pairs], 1)
        slopes: Array = jacobian[self.used] / self.noise[self.used, None]
        return slopes

    def _covariance(self, slopes: Array) -> Array:
        return np.asarray(np.linalg.inv(slopes.T @ slopes + np.diag(1 / self.prior**2)))


@dataclass(frozen=True, eq=False)
class _Solution:
    """Fitted figures [F]."""

    squares: _LeastSquares
    theta: Array  # logarithms of their factors
    deviations: Array  # of these logarithms

    @property
    def keys(self) -> list[str]:
        return self.squares.keys

    @property
    def determined(self) -> list[str]:
        """Figures that the data made more certain."""
        pairs = zip(self.keys, self.deviations, self.squares.prior, strict=True)
        return [key for key, after, before in pairs if after < DETERMINED * before]

    @property
    def factors(self) -> dict[str, float]:
        return dict(zip(self.keys, np.exp(self.theta).tolist(), strict=True))


def _residuals(problem: _Problem, solution: _Solution) -> tuple[Residual, ...]:
    before = problem.predicted({}) / problem.measured - 1
    after = problem.predicted(solution.factors) / problem.measured - 1
    left_out = _left_out(problem, solution)
    return tuple(
        Residual(name, metric, float(y), float(b), float(a), error)
        for name, (_, metric), y, b, a, error in zip(
            problem.names, problem.places, problem.measured, before, after, left_out, strict=True
        )
    )


def _left_out(problem: _Problem, solution: _Solution) -> list[float | None]:
    """Residual of each number by a fit of the other measurements; None below three of them."""
    if len(problem.chips) < 3 or not solution.keys:
        return [None] * len(problem.places)
    errors: list[float | None] = [None] * len(problem.places)
    for left in range(len(problem.chips)):
        used = np.array([i != left for i, _ in problem.places])
        theta = replace(solution.squares, used=used).minimise(solution.theta)
        factors = dict(zip(solution.keys, np.exp(theta).tolist(), strict=True))
        residuals = problem.predicted(factors) / problem.measured - 1
        for n in np.flatnonzero(~used).tolist():
            errors[n] = float(residuals[n])
    return errors


def _measured_chip(profile: Profile, measurement: Measurement) -> Profile:
    try:
        return profile.with_values(measurement.settings)
    except HardwareError as error:
        raise CalibrationError(f"measurement {measurement.name}: {error}") from error


def _figure(profile: Profile, key: str, solution: _Solution) -> Figure:
    before = profile.values[key]
    if key not in solution.keys:
        return Figure(key, before, before, before, before, identified=False)
    deviation = float(solution.deviations[solution.keys.index(key)])
    after, reach = before * solution.factors[key], math.exp(NINETY * deviation)
    low, high = max(SCHEMA[key].least, after / reach), min(SCHEMA[key].most, after * reach)
    return Figure(key, before, after, low, high, identified=True)


def _fitted_profile(
    profile: Profile, figures: Sequence[Figure], measurements: Sequence[Measurement]
) -> Profile:
    """The profile with fitted figures, and settings limited to the range they were measured in."""
    entries = dict(profile.entries)
    for f in figures:
        if f.identified:
            entries[f.key] = replace(
                entries[f.key], value=f.after, low=f.low, high=f.high, fitted=None
            )
    for key in (key for key, q in SCHEMA.items() if q.whole):
        values = [float(m.settings.get(key, profile.values[key])) for m in measurements]
        if min(values) < max(values):
            entries[key] = _limited(entries[key], min(values), max(values))
    return replace(profile, entries=entries)


def _limited(entry: Entry, least: float, most: float) -> Entry:
    value, source = min(max(entry.value, least), most), entry.source
    if value != entry.value:
        source += f"; was {entry.value:g}, where nothing was measured"
    return replace(entry, value=value, source=source, fitted=(least, most))
