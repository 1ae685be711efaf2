"""Measurements as numbers that a chip's figures predict. M measured numbers."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hw_models.calibration.measurements import METRICS, Measurement
from hw_models.chip import Chip
from hw_models.cost_model import ResourceUse, area_m2, price, resource_use
from hw_models.errors import CalibrationError, HardwareError
from hw_models.layer_table import Array
from hw_models.parameters import SCHEMA
from hw_models.prices import prices_of
from hw_models.profile import Profile

Mask = NDArray[np.bool_]
FITTED_UNITS = ("pJ", "pJ/mm", "um2", "MHz", "mW/mm2")
NINETY = 1.645  # standard deviations either side of a 90 % interval
FREE = 1.0  # prior deviation of the logarithm of a figure without a range
SI_TOTALS = {"energy_uJ": "energy_J", "latency_ms": "latency_s", "area_mm2": "area_m2"}


@dataclass(frozen=True, eq=False)
class MeasuredNumbers:
    """Measured numbers, with everything that no price changes counted once.

    Args:
        profile: The chip before the fit.
        chips: The chip of each measurement; the same object for the same settings.
        uses: What each measurement uses of its chip.
        places: Measurement and metric of each number.
        names: Name of each number's measurement.
        values: The numbers [M].
        deviations: Their relative standard deviations [M], nan where they are to be estimated.
    """

    profile: Profile
    chips: list[Profile]
    uses: list[ResourceUse]
    places: list[tuple[int, str]]
    names: list[str]
    values: Array
    deviations: Array

    @classmethod
    def of(cls, profile: Profile, measurements: Sequence[Measurement]) -> "MeasuredNumbers":
        """The numbers of measurements.

        Args:
            profile: The chip before the fit.
            measurements: What was measured.

        Returns:
            M numbers, in the order of the measurements.

        Raises:
            CalibrationError: A measurement has a setting that no chip can have, or the chip
                predicts 0 for it.
        """
        by_settings = {_settings(m): _measured_chip(profile, m) for m in reversed(measurements)}
        chips = [by_settings[_settings(m)] for m in measurements]
        places = [(i, metric) for i, m in enumerate(measurements) for metric in m.values]
        deviations = [measurements[i].deviations.get(metric, math.nan) for i, metric in places]
        values = np.array([measurements[i].values[metric] for i, metric in places])
        numbers = cls(
            profile,
            chips,
            [resource_use(p.chip, m.workload) for p, m in zip(chips, measurements, strict=True)],
            places,
            [measurements[i].name for i, _ in places],
            values,
            np.array(deviations) / values,
        )
        for (i, metric), y in zip(places, numbers.predicted({}), strict=True):
            if y <= 0:
                place = measurements[i].place
                raise CalibrationError(
                    f"{place}: the chip predicts {metric} = 0, which no factor changes"
                )
        return numbers

    def predicted(self, factors: Mapping[str, float]) -> Array:
        """What the chip with changed figures gives for each measured number [M].

        Args:
            factors: Factor on the figures that change, by key.

        Returns:
            Numbers in the units of the measurements [M].
        """
        profiles = {id(profile): profile for profile in self.chips}
        chips = {key: _changed(profile, factors) for key, profile in profiles.items()}
        prices = {key: prices_of(chip) for key, chip in chips.items()}
        predictions = [
            price(use, area_m2(chips[id(profile)], use), prices[id(profile)])
            for profile, use in zip(self.chips, self.uses, strict=True)
        ]
        return np.array([predictions[i][SI_TOTALS[m]] * METRICS[m] for i, m in self.places])

    def sensitive(self) -> list[str]:
        """Keys of the figures that change a measured number at all."""
        base, values, stated = self.predicted({}), self.profile.values, self.measured_figures
        usable = [
            key
            for key, q in SCHEMA.items()
            if q.unit in FITTED_UNITS and values[key] and key not in stated
        ]
        return [key for key in usable if (self.predicted({key: 2.0}) != base).any()]

    @property
    def measured_figures(self) -> set[str]:
        """Figures that a measurement states itself."""
        own = self.profile.values
        return {key for c in self.chips for key, y in c.values.items() if y != own[key]}

    def prior(self, key: str) -> float:
        """Deviation of a figure's logarithm before the fit."""
        entry = self.profile.entries[key]
        if entry.low and entry.high and entry.high > entry.low:
            return math.log(entry.high / entry.low) / (2 * NINETY)
        return FREE

    def measurements(self, chosen: Mask) -> set[int]:
        """Positions of the measurements that some numbers [M] belong to."""
        return {self.places[n][0] for n in np.flatnonzero(chosen).tolist()}

    def of_measurements(self, chosen: set[int]) -> Mask:
        """Which numbers belong to some of the measurements, bool [M]."""
        return np.array([i in chosen for i, _ in self.places])


def _settings(measurement: Measurement) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(measurement.settings.items()))


def _changed(profile: Profile, factors: Mapping[str, float]) -> Chip:
    return profile.chip_at({key: profile.entries[key].value * f for key, f in factors.items()})


def _measured_chip(profile: Profile, measurement: Measurement) -> Profile:
    try:
        return profile.with_values(measurement.settings)
    except HardwareError as error:
        raise CalibrationError(f"{measurement.place}: {error}") from error
