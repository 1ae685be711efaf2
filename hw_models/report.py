"""What a workload costs on a chip, layer by layer and component by component."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.errors import ReportError

SHARED = "shared"  # last row: what no single layer owns


@dataclass(frozen=True, eq=False)
class Breakdown:
    """One quantity as an array [rows x components]; its total is the sum of the array."""

    components: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.components):
            raise ReportError(f"{self.values.shape} values for {len(self.components)} components")
        if not np.isfinite(self.values).all() or (self.values < 0).any():
            raise ReportError(f"{self.components}: every figure is finite and >= 0")
        self.values.flags.writeable = False

    @property
    def total(self) -> float:
        return math.fsum(self.values.flat)

    def by_row(self) -> tuple[float, ...]:
        return tuple(math.fsum(row) for row in self.values)

    def by_component(self) -> dict[str, float]:
        sums = (math.fsum(column) for column in self.values.T)
        return dict(zip(self.components, sums, strict=True))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Breakdown)
            and self.components == other.components
            and np.array_equal(self.values, other.values)
        )


QUANTITIES = ("memory_B", "area_m2", "latency_s", "energy_J")


@dataclass(frozen=True)
class HardwareReport:
    """Costs of one inference. Rows are the layers in order, then one row for the shared rest."""

    profile: str
    rows: tuple[str, ...]
    memory_B: Breakdown
    area_m2: Breakdown
    latency_s: Breakdown
    energy_J: Breakdown
    parameters: int
    crossbars: int
    tiles: int
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in QUANTITIES:
            if len(getattr(self, name).values) != len(self.rows):
                raise ReportError(f"{name}: {len(self.rows)} rows are needed")

    def metrics(self) -> dict[str, float]:
        """Totals by name, in the units a person reads."""
        return {
            "parameters": self.parameters,
            "memory_KiB": self.memory_B.total / 1024,
            "area_mm2": self.area_m2.total * 1e6,
            "latency_ms": self.latency_s.total * 1e3,
            "energy_uJ": self.energy_J.total * 1e6,
            "crossbars": self.crossbars,
        }

    def to_json(self) -> dict[str, Any]:
        tables = {name: _breakdown_json(getattr(self, name)) for name in QUANTITIES}
        counts = {n: getattr(self, n) for n in ("profile", "parameters", "crossbars", "tiles")}
        return {**counts, "rows": list(self.rows), **tables, "warnings": list(self.warnings)}

    @classmethod
    def from_json(cls, data: Any) -> "HardwareReport":
        """The inverse of `to_json`; raises ReportError where the text is damaged."""
        try:
            tables: dict[str, Any] = {name: _breakdown(data[name]) for name in QUANTITIES}
            counts: dict[str, Any] = {
                name: _count(data[name]) for name in ("parameters", "crossbars", "tiles")
            }
            texts: dict[str, Any] = {
                name: tuple(map(str, data[name])) for name in ("rows", "warnings")
            }
            return cls(profile=str(data["profile"]), **tables, **counts, **texts)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ReportError(f"stored hardware report is damaged: {error}") from error


def _breakdown_json(b: Breakdown) -> dict[str, Any]:
    return {"components": list(b.components), "values": b.values.tolist()}


def _breakdown(data: Any) -> Breakdown:
    components = tuple(map(str, data["components"]))
    values = np.array(data["values"], dtype=np.float64).reshape(-1, len(components))
    return Breakdown(components, values)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ReportError(f"{value!r:.60} is no count")
    return value
