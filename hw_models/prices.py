"""What a chip spends on one event of each kind, and on each second."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hw_models import adc
from hw_models.area import tile_m2
from hw_models.chip import Chip


@dataclass(frozen=True)
class Prices:
    """What a chip spends on each count: numbers, or arrays [draws] for many chips."""

    energies_J: Mapping[str, Any]  # of one event of each component
    read_s: Any
    leakage_W_m2: Any


def energy_prices(chip: Chip) -> dict[str, float]:
    """J of one event of each component, as `component_events` counts them."""
    figures, defects = chip.figures, chip.defects
    per_bit = not defects.buffers_per_read
    tile_side_m = math.sqrt(tile_m2(chip))
    wire_bit_J = figures.wire_bit_energy_J_m * tile_side_m
    return {
        "crossbar": _crossbar_read_J(chip),
        "rows": figures.row_cell_energy_J,
        "adc": adc.energy_J(figures, chip.options),
        "mux": figures.mux_energy_J,
        "subtractor": figures.subtractor_energy_J
        if defects.script_subtractor
        else figures.adder_bit_energy_J,
        "adder": figures.adder_bit_energy_J,
        "temp_buffer": figures.temp_buffer_energy_J,
        "tile_buffer": figures.sram_bit_energy_J if per_bit else figures.tile_buffer_energy_J,
        "h_tree": wire_bit_J if per_bit else figures.h_tree_energy_J,
        "fetch": figures.fetch_energy_J,
        "sum_wires": wire_bit_J,
        "network": wire_bit_J,
        "neuron_memory": figures.sram_bit_energy_J,
        "neuron": figures.neuron_energy_J
        if defects.neuron_per_read
        else figures.neuron_update_energy_J,
        "elementwise": figures.adder_bit_energy_J,
        "dac": figures.dac_bit_energy_J,
    }


def _crossbar_read_J(chip: Chip) -> float:
    """J of one count of `crossbar`: of one cell, or of a whole array with D3."""
    if not chip.defects.fixed_array:
        if chip.options.cell_energy == "conductance":
            return _conducting_J(chip)
        return chip.figures.cell_read_energy_J
    if chip.defects.energy_is_area:
        return chip.figures.crossbar_area_m2
    return chip.figures.crossbar_energy_J


def _conducting_J(chip: Chip) -> float:
    """V^2 G t of a cell, half of which are on, while its column is read and converted."""
    figures = chip.figures
    conductance_S = (1 / figures.on_resistance_Ohm + 1 / figures.off_resistance_Ohm) / 2
    return figures.read_voltage**2 * conductance_S * chip.column_s


def prices_of(chip: Chip) -> Prices:
    """What one chip spends on each count."""
    return Prices(energy_prices(chip), chip.read_s, chip.figures.leakage_W_m2)


def weighted_sum(counts: Mapping[str, Any], prices: Mapping[str, Any]) -> Any:
    """Sum over components of counts times prices.

    Args:
        counts: component -> number, [N], or [N, 1].
        prices: component -> number, or [draws] of many chips; at least the components counted.

    Returns:
        A number or [N]; [N, draws] for counts [N, 1].
    """
    if np.ndim(next(iter(counts.values()))) < 2:
        return sum(n * prices[name] for name, n in counts.items())
    return np.concatenate(list(counts.values()), -1) @ np.stack([prices[n] for n in counts])
