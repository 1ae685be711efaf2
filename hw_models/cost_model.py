"""What workloads cost on a chip: counts of events times the price of each.

Counts come from the workload and the chip's structure (events.py, area.py, latency.py), prices
from the chip's figures, so every energy and area is a sum of products, for one workload or for
thousands. N workloads, L layers, C components.
"""

from collections.abc import Mapping as Table
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from hw_models.area import area_counts, area_prices, area_table
from hw_models.chip import Chip
from hw_models.events import (
    EventCounts,
    active_shares,
    bits_per_read,
    component_events,
    count_events,
    stored_bytes,
)
from hw_models.latency import Timing, batch_makespans, layer_schedule
from hw_models.layer_index import LayerIndex
from hw_models.layer_table import Array, LayerTable, over_layers
from hw_models.lookup import can_look_up, looked_up_totals
from hw_models.mapping import bits_in_cell, lossless_adc_bits
from hw_models.operations import count_operations
from hw_models.prices import Prices, prices_of, weighted_sum
from hw_models.recorded import RecordedInputs, counted_shares
from hw_models.report import SHARED, BatchReport, Breakdown, HardwareReport, Mapping
from hw_models.schedule import Schedule
from hw_models.script_failures import where_script_fails
from hw_models.workload import Workload

BATCH_CELLS = 2**14  # layers costed at once: arrays that fit into a core's cache


@dataclass(frozen=True, eq=False)
class ResourceUse:
    """Sums of counts over layers, to be priced: numbers for one workload, [N] for N of them."""

    dense_events: dict[str, Any]  # component -> events if every input spikes
    events: dict[str, Any]  # component -> events at the workload's spike rates
    areas: dict[str, Any]  # part -> how many
    pe_crossbars: Any  # crossbars of one PE: a number, or [N]
    cycles: Any  # read cycles of the longest path
    interval_cycles: Any  # read cycles between two inferences
    exact: dict[str, Any]  # totals that no price changes

    def as_columns(self) -> "ResourceUse":
        """The same as [N, 1], to be multiplied by prices [draws]."""
        tables = ("dense_events", "events", "areas", "exact")
        columns: dict[str, Any] = {
            name: {key: n[:, None] for key, n in getattr(self, name).items()} for name in tables
        }
        columns["cycles"] = self.cycles[:, None]
        columns["interval_cycles"] = self.interval_cycles[:, None]
        return replace(self, **columns)


@dataclass(frozen=True)
class CostModel:
    """Costs of workloads on one chip."""

    chip: Chip

    @cached_property
    def prices(self) -> Prices:
        """What the chip spends on each count."""
        return prices_of(self.chip)

    def estimate(
        self, workload: Workload, recorded: Table[str, RecordedInputs] | None = None
    ) -> HardwareReport:
        """Costs of one inference, layer by layer and component by component.

        Args:
            workload: The layers of a network.
            recorded: What each layer has read, by name, to count events in; None to take the
                workload's spike rates.

        Returns:
            Tables [L + shared, C] in SI units whose sums are the totals, and where and when each
            layer runs.
        """
        chip, counts = self.chip, count_events(self.chip, LayerTable.of(workload))
        plan = layer_schedule(counts, workload)
        area = _breakdown(area_table(counts))
        latency = _breakdown({"fill": plan.fill, "steady": plan.steady}, chip.read_s)
        leakage_J = _leakage_J(chip, area, latency)
        if recorded is None:
            shares = active_shares(counts)
        else:
            shares = counted_shares(counts, workload, recorded)
        dense, event = self._energy_tables(counts, shares, leakage_J)
        return HardwareReport(
            profile=chip.name,
            rows=(*(layer.name for layer in workload.layers), SHARED),
            memory_B=_breakdown(stored_bytes(counts)),
            area_m2=area,
            latency_s=latency,
            energy_J=event,
            dense_energy_J=dense,
            mapping=_mapping(counts, plan),
            parameters=workload.parameters,
            crossbars=int(counts.tiling.crossbars.sum()),
            tiles=int(counts.tiles.sum()),
            interval_s=float(Timing.of(counts).interval) * chip.read_s,
            warnings=tuple(_warnings(workload, counts)),
            operations={n: float(x) for n, x in count_operations(counts.layers).items()},
        )

    def estimate_batch(self, layers: LayerTable | LayerIndex) -> BatchReport:
        """Totals of N workloads: the numbers that `estimate` gives one by one, to 1e-12.

        Args:
            layers: The workloads as arrays [N, L], or as choices among distinct layers.

        Returns:
            Totals [N] in SI units, for each workload the same to the last bit in every batch.
        """
        if isinstance(layers, LayerIndex):
            if can_look_up(self.chip):
                return BatchReport(looked_up_totals(self.chip, self.prices, layers))
            layers = layers.table()
        step = max(1, BATCH_CELLS // layers.taps.shape[1])
        parts = [
            self._totals(layers.part(slice(start, start + step)))
            for start in range(0, len(layers), step)
        ]
        return BatchReport({name: np.concatenate([p[name] for p in parts]) for name in parts[0]})

    def _totals(self, layers: LayerTable) -> dict[str, Array]:
        use = batch_resource_use(self.chip, layers)
        return price(use, area_m2(self.chip, use), self.prices)

    def _energy_tables(
        self, c: EventCounts, shares: Table[str, Any], leakage_J: float
    ) -> tuple[Breakdown, Breakdown]:
        """Energy [L + shared, C] with every input spiking, and with these shares of events."""
        counts = component_events(c)
        names = (*counts, "leakage") if leakage_J else tuple(counts)
        values = np.zeros((len(names), len(c.layers.taps) + 1))  # [C, L + shared]
        values[-1, -1] = leakage_J
        values[: len(counts), :-1] = list(counts.values())
        values[: len(counts)] *= self._price_column(tuple(counts))
        dense = Breakdown(names, values.T)
        if not shares:
            return dense, dense
        event = values.copy()
        for i, name in enumerate(counts):
            if name in shares:
                event[i, :-1] *= shares[name]
        return dense, Breakdown(names, event.T)

    def _price_column(self, names: tuple[str, ...]) -> Array:
        """Energy prices of components [C, 1]."""
        if names not in self._price_columns:
            prices = [[self.prices.energies_J[name]] for name in names]
            self._price_columns[names] = np.array(prices)
        return self._price_columns[names]

    @cached_property
    def _price_columns(self) -> dict[tuple[str, ...], Array]:
        return {}


def resource_use(chip: Chip, workload: Workload) -> ResourceUse:
    """What a workload uses of a chip, summed over its layers: everything but the prices.

    Args:
        chip: The chip; its prices are not read.
        workload: The layers of a network.

    Returns:
        Sums, each a number.
    """
    c = count_events(chip, LayerTable.of(workload))
    plan = layer_schedule(c, workload)
    return _summed(c, sum(plan.fill) + sum(plan.steady))


def batch_resource_use(chip: Chip, layers: LayerTable) -> ResourceUse:
    """What N workloads use of a chip, as `resource_use` for each.

    Args:
        chip: The chip; its prices are not read.
        layers: The workloads as arrays [N, L].

    Returns:
        Sums [N].
    """
    c = count_events(chip, layers)
    return _summed(c, batch_makespans(c))


def _summed(c: EventCounts, cycles: Any) -> ResourceUse:
    """Counts summed over layers, with the read cycles of the longest path."""
    layers, tiling, shares = c.layers, c.tiling, active_shares(c)
    counts = component_events(c)
    dense = {name: over_layers(n) for name, n in counts.items()}
    crossbars = over_layers(tiling.crossbars)
    cells = crossbars * c.chip.figures.crossbar_size**2
    shared = np.ndim(tiling.pe_crossbars) > 0  # [N, 1]: one number per workload
    return ResourceUse(
        dense_events=dense,
        events=dense | {n: over_layers(counts[n], x) for n, x in shares.items() if n in counts},
        areas={name: over_layers(n) for name, n in area_counts(c).items()},
        pe_crossbars=tiling.pe_crossbars[:, 0] if shared else tiling.pe_crossbars,
        cycles=cycles,
        interval_cycles=Timing.of(c).interval,
        exact={
            "parameters": over_layers(layers.trained_numbers),
            "memory_B": sum(over_layers(column) for column in stored_bytes(c).values()),
            "crossbars": crossbars,
            "pes": over_layers(tiling.pes),
            "tiles": over_layers(c.tiles),
            "utilisation": over_layers(tiling.cells) / cells,
            **count_operations(layers),
        },
    )


def area_m2(chip: Chip, use: ResourceUse) -> Any:
    """Area of one or of N workloads on a chip.

    Args:
        chip: The chip.
        use: Sums of one workload, or of N [N].

    Returns:
        Area in m2: a number or [N].
    """
    return weighted_sum(use.areas, area_prices(chip, use.pe_crossbars))


def price(use: ResourceUse, area_m2: Any, prices: Prices) -> dict[str, Any]:
    """Totals in SI units from counts and prices.

    Args:
        use: Sums of one workload, of N [N], or of N as columns [N, 1].
        area_m2: Their areas: a number, [N], or [N, draws].
        prices: Of one chip, or arrays [draws] of many.

    Returns:
        total -> number, [N], or [N, draws] for columns priced by many chips.
    """
    latency_s = use.cycles * prices.read_s
    leakage_J = prices.leakage_W_m2 * area_m2 * latency_s
    return {
        **use.exact,
        "area_m2": area_m2,
        "latency_s": latency_s,
        "energy_J": weighted_sum(use.events, prices.energies_J) + leakage_J,
        "dense_energy_J": weighted_sum(use.dense_events, prices.energies_J) + leakage_J,
        "interval_s": use.interval_cycles * prices.read_s,
    }


def _leakage_J(chip: Chip, area: Breakdown, latency: Breakdown) -> float:
    leakage_W_m2 = chip.figures.leakage_W_m2
    return leakage_W_m2 * (area.total * latency.total) if leakage_W_m2 else 0.0


def _mapping(c: EventCounts, plan: Schedule) -> Mapping:
    """Where each layer lies and when it runs."""
    chip, tiling = c.chip, c.tiling
    utilisation = tiling.cells / (tiling.crossbars * chip.figures.crossbar_size**2)
    adc_bits = lossless_adc_bits(
        c.sum_rows, bits_in_cell(chip, c.layers), bits_per_read(chip, c.layers)
    )
    return Mapping(
        crossbars=_integers(tiling.crossbars),
        pes=_integers(tiling.pes),
        utilisation=tuple(utilisation.tolist()),
        lossless_adc_bits=_integers(adc_bits),
        start_s=tuple([cycles * chip.read_s for cycles in plan.start]),
        end_s=tuple([cycles * chip.read_s for cycles in plan.end]),
    )


def _integers(values: Array) -> tuple[int, ...]:
    return tuple(values.astype(np.int64).tolist())


def _warnings(workload: Workload, c: EventCounts) -> list[str]:
    """What a reader of the figures should be careful about."""
    defects = c.chip.defects
    warnings = [] if defects.pooled_sizes else list(workload.unnamed_poolings)
    if defects.one_kernel and defects.last_halt:
        warnings += where_script_fails(workload, c)
    return warnings


def _breakdown(table: Table[str, Any], factor: float = 1.0) -> Breakdown:
    """Columns of figures as one array; a column without a shared figure gets a 0 there."""
    lengths = [len(column) for column in table.values()]
    rows, least = max(lengths), min(lengths)
    values = np.zeros((len(table), rows + (rows == least)))  # [C, L + shared]
    if rows == least:
        values[:, :-1] = list(table.values())
    else:
        for i, column in enumerate(table.values()):
            values[i, : len(column)] = column
    if factor != 1:
        values *= factor
    return Breakdown(tuple(table), values.T)
