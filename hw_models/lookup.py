"""Totals of N workloads from figures of their distinct layers, each of which is costed once.

What a layer costs depends on no other layer, but for when it runs. So its energy, area and counts
are rows of a table; a workload's are the sum of its rows, always in the order of its layers.
K distinct layers, L layers of a workload, F figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.area import area_counts, area_prices
from hw_models.chip import Chip
from hw_models.events import active_shares, component_events, count_events, stored_bytes
from hw_models.latency import Timing
from hw_models.layer_index import LayerIndex
from hw_models.layer_table import Array, LayerTable
from hw_models.operations import layer_operations
from hw_models.prices import Prices, weighted_sum

COUPLED = ("one_kernel", "tile_sharing", "five_membranes", "last_halt")  # layers to each other
CHUNK = 2**15  # layers costed or added up at once: arrays that fit into a core's cache
TIMES = ("cycles", "steps", "linear")  # figures that are not added up


def can_look_up(chip: Chip) -> bool:
    """True where a layer's figures depend on no other layer.

    Args:
        chip: The chip.

    Returns:
        False for a chip with a defect of SpikeSim's script that ties layers together.
    """
    return not any(getattr(chip.defects, name) for name in COUPLED)


@dataclass(frozen=True, eq=False)
class LayerFigures:
    """Figures of the distinct layers."""

    names: tuple[str, ...]
    sums: Array  # [K, F] that are added up over the layers of a workload
    times: dict[str, Array]  # each [K]

    @classmethod
    def of(cls, chip: Chip, prices: Prices, layers: LayerTable) -> "LayerFigures":
        """Costs layers [K], some at a time."""
        starts = range(0, len(layers), CHUNK)
        parts = [_figures(chip, prices, layers.part(slice(i, i + CHUNK))) for i in starts]
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        times = {name: columns.pop(name) for name in TIMES}
        return cls(tuple(columns), np.stack(list(columns.values()), -1), times)


def looked_up_totals(chip: Chip, prices: Prices, layers: LayerIndex) -> dict[str, Array]:
    """Totals of N workloads, the numbers that `CostModel.estimate` gives one by one, to 1e-12.

    Args:
        chip: The chip; `can_look_up` is true for it.
        prices: What it spends on each event.
        layers: The workloads.

    Returns:
        total -> [N], in SI units.
    """
    figures = LayerFigures.of(chip, prices, layers.distinct)
    step = max(1, CHUNK // layers.which.shape[1])
    parts = [
        _totals(chip, prices, figures, layers.part(slice(start, start + step)))
        for start in range(0, len(layers), step)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _figures(chip: Chip, prices: Prices, layers: LayerTable) -> dict[str, Array]:
    """Figures of layers by name, each [K]."""
    c = count_events(chip, layers)
    events, shares = component_events(c), active_shares(c)
    active = {name: n * shares[name] if name in shares else n for name, n in events.items()}
    figures: dict[str, Any] = {
        "energy_J": weighted_sum(active, prices.energies_J),
        "dense_energy_J": weighted_sum(events, prices.energies_J),
        "area_m2": weighted_sum(area_counts(c), area_prices(chip, c.tiling.pe_crossbars)),
        "parameters": layers.trained_numbers,
        "memory_B": sum(stored_bytes(c).values()),
        "crossbars": c.tiling.crossbars,
        "pes": c.tiling.pes,
        "tiles": c.tiles,
        "cells": c.tiling.cells,
        **layer_operations(layers),
        "cycles": c.step_cycles,
        "steps": c.steps,
        "linear": layers.linear,
    }
    shape = layers.taps.shape
    return {name: np.broadcast_to(np.asarray(x, float), shape) for name, x in figures.items()}


def _totals(
    chip: Chip, prices: Prices, figures: LayerFigures, layers: LayerIndex
) -> dict[str, Array]:
    """Totals of some workloads, priced."""
    which = np.ascontiguousarray(layers.which.T)  # [L, N]
    sums = dict(zip(figures.names, _added(figures.sums, which), strict=True))
    times = _timing(chip, figures.times, which, layers)
    factor = layers.time_steps[:, 0] if chip.defects.time_twice else 1.0
    latency_s = times.makespans() * factor * prices.read_s
    leakage_J = prices.leakage_W_m2 * sums["area_m2"] * latency_s
    cells = sums["crossbars"] * chip.figures.crossbar_size**2
    return sums | {
        "utilisation": sums.pop("cells") / cells,
        "latency_s": latency_s,
        "energy_J": sums["energy_J"] + leakage_J,
        "dense_energy_J": sums["dense_energy_J"] + leakage_J,
        "interval_s": times.interval * prices.read_s,
    }


def _added(figures: Array, which: NDArray[np.intp]) -> Array:
    """Rows of a table [K, F] added up, one after the other in the order of the layers [F, N]."""
    total = figures.take(which[0], 0)
    row = np.empty_like(total)
    for layer in which[1:]:
        figures.take(layer, 0, out=row, mode="clip")  # within the table, so that nothing is clipped
        total += row
    return np.ascontiguousarray(total.T)


def _timing(
    chip: Chip, times: Mapping[str, Array], which: NDArray[np.intp], layers: LayerIndex
) -> Timing:
    """How long each layer of each workload runs [N, L]."""
    own = {name: column.take(which).T for name, column in times.items()}
    return Timing(chip, **own, loops=layers.loops, sources=layers.sources)
