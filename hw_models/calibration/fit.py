"""A chip's figures fitted to measurements.

With f the factors on the figures, m what the chip predicts and y what was measured, the fit
minimises
    sum ((ln m(f) - ln y) / sigma)^2 + sum (ln f / s)^2.
sigma is a measurement's relative standard deviation, given or estimated from the residuals; s is
the figure's own range (low, high) read as a 90 % interval, or a factor e where it has none. A
figure that the data leave as uncertain as before keeps its value, and what it may be instead
widens the intervals of the others. A measurement with a number that contradicts the others is not
fitted to.
M measured numbers, F fitted figures.
"""

import difflib
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from hw_models.calibration.contradictions import contradicting
from hw_models.calibration.least_squares import Solution, solve
from hw_models.calibration.measured_numbers import FITTED_UNITS, NINETY, Mask, MeasuredNumbers
from hw_models.calibration.measurements import Measurement
from hw_models.errors import CalibrationError
from hw_models.parameters import SCHEMA
from hw_models.profile import Entry, Profile

CLOSE = 0.01  # relative error of a metric that needs no fit


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
    contradicts: bool  # the other measurements
    fitted: bool  # not of a measurement with a number that contradicts


@dataclass(frozen=True)
class Calibration:
    """A fitted chip."""

    profile: Profile
    figures: tuple[Figure, ...]
    residuals: tuple[Residual, ...]
    measurements: int  # that the figures were fitted to

    @property
    def improved(self) -> bool:
        """True where the data determine a figure; else the profile is what it was."""
        return any(figure.identified for figure in self.figures)

    @property
    def error(self) -> float:
        """Root mean square of the residuals of what was fitted to."""
        residuals = [r.after for r in self.residuals if r.fitted]
        return math.sqrt(sum(error**2 for error in residuals) / len(residuals))

    @property
    def unmoved(self) -> dict[str, float]:
        """Metrics that no determined figure moves: root mean square of what they are off by.

        Those less off than CLOSE are left out.
        """
        errors: dict[str, list[float]] = {}
        for r in (r for r in self.residuals if r.fitted):
            errors.setdefault(r.metric, []).append(r.before)
        moved = {r.metric for r in self.residuals if r.fitted and not _same(r.before, r.after)}
        means = {m: math.sqrt(sum(x**2 for x in own) / len(own)) for m, own in errors.items()}
        return {m: mean for m, mean in means.items() if m not in moved and mean > CLOSE}

    @property
    def contradicting(self) -> list[Residual]:
        """The numbers that contradict the other measurements; theirs were not fitted to."""
        return [residual for residual in self.residuals if residual.contradicts]

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
    numbers = MeasuredNumbers.of(profile, measurements)
    requested = _requested(keys, numbers) or numbers.sensitive()
    if not requested:
        raise CalibrationError("no figure of this profile moves any of the measured metrics")
    wrong = contradicting(numbers, requested)
    used = ~numbers.of_measurements(numbers.measurements(wrong))
    solution = solve(numbers, requested, used)
    while solution.determined != solution.keys:  # the others keep their value
        kept = [key for key in requested if key not in solution.determined]
        solution = solve(numbers, solution.determined, used, kept)
    figures = tuple(_figure(profile, key, solution) for key in requested)
    fitted_to = [measurements[i] for i in sorted(numbers.measurements(used))]
    fitted = _fitted_profile(profile, figures, fitted_to)
    return Calibration(fitted, figures, _residuals(solution, wrong), len(fitted_to))


def _same(before: float, after: float) -> bool:
    return math.isclose(before, after, rel_tol=1e-9, abs_tol=1e-9)


def _requested(keys: Sequence[str], numbers: MeasuredNumbers) -> list[str]:
    """The figures that the user names, each once; at most as many as there are numbers."""
    requested = [_fittable(key, numbers.profile) for key in dict.fromkeys(keys)]
    if measured := sorted(numbers.measured_figures & set(requested)):
        raise CalibrationError(f"--fit {measured[0]}: the measurements have a column that sets it")
    if len(requested) > len(numbers.places):
        raise CalibrationError(
            f"{len(requested)} figures to fit and {len(numbers.places)} measured numbers: "
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


def _residuals(solution: Solution, wrong: Mask) -> tuple[Residual, ...]:
    numbers, used = solution.squares.numbers, solution.squares.used
    before = numbers.predicted({}) / numbers.values - 1
    after = numbers.predicted(solution.factors) / numbers.values - 1
    rows = zip(
        numbers.names,
        numbers.places,
        numbers.values.tolist(),
        before.tolist(),
        after.tolist(),
        _left_out(solution),
        wrong.tolist(),
        used.tolist(),
        strict=True,
    )
    return tuple(Residual(name, metric, *values) for name, (_, metric), *values in rows)


def _left_out(solution: Solution) -> list[float | None]:
    """Residual of each number by a fit of the other measurements; None below three of them."""
    numbers, used = solution.squares.numbers, solution.squares.used
    if len(numbers.chips) < 3 or not solution.keys:
        return [None] * len(numbers.places)
    errors: list[float | None] = [None] * len(numbers.places)
    for left in range(len(numbers.chips)):
        own = numbers.of_measurements({left})
        theta = replace(solution.squares, used=used & ~own).minimise(solution.theta)
        factors = dict(zip(solution.keys, np.exp(theta).tolist(), strict=True))
        residuals = numbers.predicted(factors) / numbers.values - 1
        for n in np.flatnonzero(own).tolist():
            errors[n] = float(residuals[n])
    return errors


def _figure(profile: Profile, key: str, solution: Solution) -> Figure:
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
