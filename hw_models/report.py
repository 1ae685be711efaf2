"""Costs of a workload on a chip, layer by layer and component by component."""

import math
from collections.abc import Mapping as Table
from dataclasses import asdict, dataclass, field, fields
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.assumption import Assumption
from hw_models.errors import ReportError
from hw_models.html_table import html_table
from hw_models.metrics import metrics_of
from hw_models.operations import operations_from_json

SHARED = "shared"  # last row: costs of no single layer


@dataclass(frozen=True, eq=False)
class Breakdown:
    """One quantity as an array whose sum is its total.

    Args:
        components: Names of the columns.
        values: Figures [rows, components], finite and >= 0.

    Raises:
        ReportError: Another shape, or a figure that is negative or not finite.
    """

    components: tuple[str, ...]
    values: NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.shape[1] != len(self.components):
            raise ReportError(f"{self.values.shape} values for {len(self.components)} components")
        if self.values.size and not 0 <= self.values.min() <= self.values.max() < math.inf:
            raise ReportError(f"{self.components}: every figure is finite and >= 0")
        self.values.flags.writeable = False

    @property
    def total(self) -> float:
        """Sum of the array, rounded once."""
        return math.fsum(self.values.ravel().tolist())

    def by_row(self) -> tuple[float, ...]:
        """Sum over the components of each row."""
        return tuple(math.fsum(row) for row in self.values.tolist())

    def by_component(self) -> dict[str, float]:
        """Sum over the rows of each component."""
        sums = (math.fsum(column) for column in self.values.T.tolist())
        return dict(zip(self.components, sums, strict=True))

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Breakdown)
            and self.components == other.components
            and np.array_equal(self.values, other.values)
        )


QUANTITIES = ("memory_B", "area_m2", "latency_s", "energy_J", "dense_energy_J")
SHOWN = {  # in a notebook: heading, factor from SI
    "memory_B": ("memory KiB", 1 / 1024),
    "area_m2": ("area mm2", 1e6),
    "latency_s": ("latency ms", 1e3),
    "energy_J": ("energy uJ", 1e6),
}


@dataclass(frozen=True)
class Mapping:
    """Where each layer lies and when it runs; one entry per layer."""

    crossbars: tuple[int, ...]
    pes: tuple[int, ...]
    utilisation: tuple[float, ...]  # share of the cells that hold a weight, 0..1
    lossless_adc_bits: tuple[int, ...]  # fewest that lose nothing of a sum
    start_s: tuple[float, ...]  # of the first time step
    end_s: tuple[float, ...]  # of the last time step


@dataclass(frozen=True)
class HardwareReport:
    """Costs of one inference; rows are the layers in order, then one for what they share.

    `energy_J` is at the workload's spike rates, `dense_energy_J` with every input spiking.
    `latency_s` is the longest path: what each layer adds to it, 0 for layers off the path.

    Raises:
        ReportError: Tables of another number of rows, or an `interval_s` that is not > 0.
    """

    profile: str
    rows: tuple[str, ...]
    memory_B: Breakdown
    area_m2: Breakdown
    latency_s: Breakdown
    energy_J: Breakdown
    dense_energy_J: Breakdown
    mapping: Mapping
    parameters: int
    crossbars: int
    tiles: int
    interval_s: float  # between two inferences in a pipeline of them
    warnings: tuple[str, ...] = ()
    assumed: tuple[Assumption, ...] = ()  # figures that the network does not say
    operations: Table[str, float] = field(default_factory=dict)  # see `count_operations`

    def __post_init__(self) -> None:
        for name in QUANTITIES:
            if len(getattr(self, name).values) != len(self.rows):
                raise ReportError(f"{name}: {len(self.rows)} rows are needed")
        if any(len(column) != len(self.rows) - 1 for column in vars(self.mapping).values()):
            raise ReportError(f"mapping: {len(self.rows) - 1} layers are needed")
        if not self.interval_s > 0 or not math.isfinite(self.interval_s):
            raise ReportError(f"interval_s = {self.interval_s!r}: a time > 0 is needed")

    def totals(self) -> dict[str, float]:
        """Totals in SI units."""
        filled = zip(self.mapping.utilisation, self.mapping.crossbars, strict=True)
        return {
            **{name: getattr(self, name).total for name in QUANTITIES},
            **{name: getattr(self, name) for name in ("parameters", "crossbars", "tiles")},
            "pes": sum(self.mapping.pes),
            "interval_s": self.interval_s,
            "utilisation": math.fsum(u * n for u, n in filled) / self.crossbars,
            **self.operations,
        }

    def metrics(self) -> dict[str, float]:
        """Totals by name, in the units of the names."""
        return metrics_of(self.totals())

    def _repr_html_(self) -> str:
        """Totals, then the costs of each layer, as a notebook shows them."""
        totals = [(name, _shown(value)) for name, value in self.metrics().items()]
        columns = [
            [_shown(value * factor) for value in getattr(self, name).by_row()]
            for name, (_, factor) in SHOWN.items()
        ]
        rows = zip(self.rows, *columns, strict=True)
        head = ("layer", *(title for title, _ in SHOWN.values()))
        notes = "".join(f"<p>{escape(text)}</p>" for text in self.warnings)
        caption = f"Estimate on {self.profile}"
        return html_table(("metric", "value"), totals, caption) + html_table(head, rows) + notes

    def to_json(self) -> dict[str, Any]:
        """Every field as JSON types."""
        tables = {name: _breakdown_json(getattr(self, name)) for name in QUANTITIES}
        counts = {n: getattr(self, n) for n in ("profile", *_COUNTS, "interval_s")}
        mapping = {name: list(column) for name, column in asdict(self.mapping).items()}
        texts = {"rows": list(self.rows), "warnings": list(self.warnings)}
        assumed = {"assumed": [x.to_json() for x in self.assumed]} if self.assumed else {}
        counts |= {"operations": dict(self.operations)} if self.operations else {}
        return {**counts, **texts, **assumed, "mapping": mapping, **tables}

    @classmethod
    def from_json(cls, data: Any) -> "HardwareReport":
        """The inverse of `to_json`.

        Raises:
            ReportError: A key is missing, or a value is none that a report can have.
        """
        try:
            tables: dict[str, Any] = {name: _breakdown(data[name]) for name in QUANTITIES}
            counts: dict[str, Any] = {name: _count(data[name]) for name in _COUNTS}
            texts: dict[str, Any] = {
                name: tuple(map(str, data[name])) for name in ("rows", "warnings")
            }
            return cls(
                profile=str(data["profile"]),
                interval_s=float(data["interval_s"]),
                mapping=_mapping(data["mapping"]),
                assumed=tuple(map(Assumption.from_json, data.get("assumed", ()))),
                operations=operations_from_json(data.get("operations", {})),
                **tables,
                **counts,
                **texts,
            )
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise ReportError(f"stored hardware report is damaged: {error}") from error


_COUNTS = ("parameters", "crossbars", "tiles")


@dataclass(frozen=True, eq=False)
class BatchReport:
    """Totals of N workloads, as arrays [N] in SI units; the keys are those of `HardwareReport`."""

    totals: dict[str, NDArray[np.float64]]

    def metrics(self) -> dict[str, NDArray[np.float64]]:
        """Arrays [N] by metric, in the units a person reads."""
        return metrics_of(self.totals)


def _shown(value: float) -> str:
    """Four digits, without an exponent above 1,000."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def _breakdown_json(breakdown: Breakdown) -> dict[str, Any]:
    return {"components": list(breakdown.components), "values": breakdown.values.tolist()}


def _breakdown(data: Any) -> Breakdown:
    components = tuple(map(str, data["components"]))
    values = np.array(data["values"], dtype=np.float64).reshape(-1, len(components))
    return Breakdown(components, values)


def _mapping(data: Any) -> Mapping:
    columns = {f.name: data[f.name] for f in fields(Mapping)}
    counts = ("crossbars", "pes", "lossless_adc_bits")
    checked: dict[str, Any] = {
        name: tuple(_count(x) if name in counts else _share(x) for x in column)
        for name, column in columns.items()
    }
    return Mapping(**checked)


def _share(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ReportError(f"{value!r:.60} is not a number >= 0")
    return float(value)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ReportError(f"{value!r:.60} is not a whole number >= 0")
    return value
