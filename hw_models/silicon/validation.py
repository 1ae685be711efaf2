"""The model of one crossbar beside what was measured of it."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from scipy.optimize import nnls

from hw_models.errors import ProfileError
from hw_models.silicon.area import macro_area
from hw_models.silicon.energy import product_energy
from hw_models.silicon.latency import product_latency
from hw_models.silicon.macro import Macro, Point
from hw_models.silicon.measured import Measured, MeasuredChip
from hw_models.silicon.processor import Processor, operation_energy

LEAST, MOST = 0.5, 2.0  # ratios that count as agreement
CALIBRATED = 0.05  # relative error that a calibrated model should stay within, in the median
ENOUGH = 3  # points of like data, of which some can be fitted and others predicted


@dataclass(frozen=True)
class Ratio:
    """A modelled figure beside a measured one, in the unit that the name of the figure says."""

    point: str
    figure: str  # energy_pJ, latency_ns, area_mm2, or a component's energy
    model: float
    measured: float

    @property
    def ratio(self) -> float:
        """Model over measurement."""
        return self.model / self.measured

    @property
    def within(self) -> bool:
        """True where the model is within half and twice the measurement."""
        return LEAST <= self.ratio <= MOST

    def to_json(self) -> dict[str, Any]:
        """All fields, and the ratio."""
        return asdict(self) | {"ratio": self.ratio, "within": self.within}


@dataclass(frozen=True)
class Calibration:
    """The model fitted to every second point of a chip, and its errors at the others."""

    data: str  # of these points
    fitted: int  # points
    parameters: int
    errors: tuple[float, ...]  # relative, of the predicted points

    @property
    def median(self) -> float:
        """Median of the relative errors, without sign."""
        return statistics.median(map(abs, self.errors))

    @property
    def worst(self) -> float:
        """Largest relative error, without sign."""
        return max(map(abs, self.errors))


@dataclass(frozen=True)
class Validation:
    """Everything that the model says of a chip beside its measurements."""

    chip: MeasuredChip
    energies: tuple[Ratio, ...]
    splits: tuple[Ratio, ...]
    latencies: tuple[Ratio, ...]
    area: Ratio | None
    calibrations: tuple[Calibration, ...]
    unmodelled: Mapping[str, str]  # measured figures that the model does not have, and why

    @property
    def uncalibrated(self) -> dict[str, int]:
        """Data with too few points to fit some and predict others -> how many there are."""
        sizes = {data: len(points) for data, points in _kinds(self.chip).items()}
        return {data: count for data, count in sizes.items() if count < ENOUGH}

    @property
    def energy_within(self) -> bool:
        """True where all points are within half and twice the measured energy."""
        return all(x.within for x in self.energies)

    def to_json(self) -> dict[str, Any]:
        """Ratios, and the errors of calibrations."""
        lists = ("energies", "splits", "latencies")
        return {
            "chip": self.chip.name,
            "group": self.chip.group,
            "source": self.chip.source,
            "energy_within": self.energy_within,
            "reasons": dict(self.chip.reasons),
            "unmodelled": dict(self.unmodelled),
            "area": self.area and self.area.to_json(),
            "calibrations": [
                asdict(x) | {"median": x.median, "worst": x.worst} for x in self.calibrations
            ],
        } | {name: [x.to_json() for x in getattr(self, name)] for name in lists}


def validate(chip: MeasuredChip) -> Validation:
    """Puts the model beside every measured figure of a chip.

    Args:
        chip: The chip.

    Returns:
        Ratios of model to measurement.
    """
    energies, splits, latencies = [], [], []
    unmodelled: dict[str, str] = {}
    for measured in chip.points:
        name = measured.point.name
        parts = modelled_energy(chip.macro, measured.point)
        if measured.energy_pJ is not None:
            energies.append(Ratio(name, "energy_pJ", sum(parts.values()), measured.energy_pJ))
        splits += [Ratio(name, key, parts[key], pJ) for key, pJ in measured.split_pJ.items()]
        if measured.latency_ns is None:
            continue
        try:
            modelled = _latency(chip, measured)
        except ProfileError as error:
            unmodelled["latency"] = str(error)
        else:
            latencies.append(Ratio(name, "latency_ns", modelled, measured.latency_ns))
    area, fits = _area(chip), calibrations(chip)
    return Validation(
        chip, tuple(energies), tuple(splits), tuple(latencies), area, fits, unmodelled
    )


def modelled_energy(structure: Macro | Processor, point: Point) -> dict[str, float]:
    """Energy in pJ by component: of a crossbar's product, or of a synaptic operation."""
    if isinstance(structure, Processor):
        return operation_energy(structure, point)
    return product_energy(structure, point)


def _latency(chip: MeasuredChip, measured: Measured) -> float:
    if isinstance(chip.macro, Processor):
        raise ProfileError("the time of a synaptic operation depends on how many run at once")
    return product_latency(chip.macro, measured.point)


def _area(chip: MeasuredChip) -> Ratio | None:
    if chip.area_mm2 is None or isinstance(chip.macro, Processor):
        return None
    modelled = sum(macro_area(chip.macro, chip.converter_bits).values())
    return Ratio("", "area_mm2", modelled, chip.area_mm2)


def calibrations(chip: MeasuredChip) -> tuple[Calibration, ...]:
    """Fits the energies of components to every second point, and predicts the others.

    Args:
        chip: The chip.

    Returns:
        One for each kind of data with at least three points.
    """
    return tuple(
        _calibration(chip, data, points)
        for data, points in _kinds(chip).items()
        if len(points) >= ENOUGH
    )


def _kinds(chip: MeasuredChip) -> dict[str, list[Measured]]:
    """Points with a measured energy, by what was measured."""
    kinds: dict[str, list[Measured]] = {}
    for measured in chip.points:
        if measured.energy_pJ is not None:
            kinds.setdefault(measured.data, []).append(measured)
    return kinds


def _calibration(chip: MeasuredChip, data: str, points: Sequence[Measured]) -> Calibration:
    """Two factors by least squares of relative errors: of rows and array, and of the readout."""
    parts = np.array([_sides(modelled_energy(chip.macro, m.point)) for m in points])
    energies = np.array([m.energy_pJ for m in points])
    relative = parts / energies[:, None]
    factors, _ = nnls(relative[::2], np.ones(len(relative[::2])))
    errors = relative[1::2] @ factors - 1
    return Calibration(data, len(relative[::2]), parts.shape[1], tuple(errors.tolist()))


def _sides(parts: Mapping[str, float]) -> tuple[float, float]:
    """Energy of what grows with the rows, and of what is there for each sum."""
    grows = sum(parts.get(name, 0.0) for name in ("rows", "array"))
    return grows, sum(parts.values()) - grows


@dataclass(frozen=True)
class Summary:
    """How many of the counted chips (groups A and B) the model meets."""

    energy: tuple[int, int]  # chips all of whose energies are within, of how many
    energy_unseen: tuple[int, int]  # the same of group B alone
    area: tuple[int, int]
    latency: tuple[int, int]
    calibration_median: float  # relative error at all points that were predicted
    calibration_worst: float
    calibration_worst_at: str  # the chip

    @classmethod
    def of(cls, validations: Sequence[Validation]) -> "Summary":
        """Counts chips of groups A and B; others are reported alone."""
        counted = [v for v in validations if v.chip.group in "AB"]
        errors = [(abs(e), v.chip.name) for v in counted for c in v.calibrations for e in c.errors]
        worst, name = max(errors, default=(0.0, ""))
        return cls(
            energy=_within([v.energies for v in counted]),
            energy_unseen=_within([v.energies for v in counted if v.chip.group == "B"]),
            area=_within([(v.area,) for v in counted if v.area]),
            latency=_within([v.latencies for v in counted]),
            calibration_median=statistics.median(e for e, _ in errors) if errors else 0.0,
            calibration_worst=worst,
            calibration_worst_at=name,
        )


def _within(chips: Sequence[Sequence[Ratio]]) -> tuple[int, int]:
    """Chips all of whose ratios are within, and chips that have ratios."""
    known = [ratios for ratios in chips if ratios]
    return sum(all(x.within for x in ratios) for ratios in known), len(known)
