"""Silicon area: what a chip has of each part, and how large one of each is.

N workloads, L layers; [..., L] is [L] for one workload and [N, L] for many.
"""

import math
from typing import Any

import numpy as np

from hw_models import adc
from hw_models.chip import Chip
from hw_models.events import Counts, EventCounts
from hw_models.layer_table import Array

RESIDENT_LAYERS = 5  # the script keeps membrane memory for its first five layers only (D6)
MEMORIES = ("input_memory", "neuron_memory")


def area_counts(c: EventCounts) -> Counts:
    """PEs, tiles and stored bits of each layer [..., L]; of all layers [..., 1] where shared."""
    pes, tiles = _pes_and_tiles(c)
    return {
        "pe": pes,
        "tile": tiles,
        "input_memory": c.input_map_bits,
        "neuron_memory": _membranes(c) * c.chip.figures.bits_per_value,
    }


def _pes_and_tiles(c: EventCounts) -> tuple[Any, Any]:
    """PEs and tiles that area is counted for: whole tiles, or the crossbars in use."""
    figures = c.chip.figures
    if c.chip.options.tiles == "whole" or c.chip.defects.tile_sharing:
        return c.tiles * figures.pes_per_tile, c.tiles
    pes = c.tiling.crossbars / c.tiling.pe_crossbars
    return pes, pes / figures.pes_per_tile


def area_prices(chip: Chip, pe_crossbars: Any) -> dict[str, Any]:
    """Area of one of each part that `area_counts` counts.

    Args:
        chip: The chip.
        pe_crossbars: Crossbars of one PE: a number, or one for each of N workloads [N].

    Returns:
        part -> m2, a number or [N].
    """
    pe_m2 = sum(pe_areas(chip, pe_crossbars).values())
    own = {"pe": pe_m2, "tile": sum(tile_areas(chip).values())}
    return own | dict.fromkeys(MEMORIES, chip.figures.sram_bit_area_m2)


def area_table(c: EventCounts) -> dict[str, Array]:
    """Area of one workload in m2 by component [L], or [L + 1] with what layers share last.

    With shared tiles a layer owns the PEs that it fills.
    """
    counts = area_counts(c)
    pes, tiles = counts["pe"], counts["tile"]
    if c.chip.defects.tile_sharing:
        pes = np.append(c.tiling.pes, pes[0] - c.tiling.pes.sum())
        tiles = np.append(np.zeros(len(c.tiling.pes)), tiles)
    per_pe = pe_areas(c.chip, c.tiling.pe_crossbars)
    table: dict[str, Array] = {name: pes * area for name, area in per_pe.items()}
    table |= {name: tiles * area for name, area in tile_areas(c.chip).items()}
    bit_m2 = c.chip.figures.sram_bit_area_m2
    return table | {name: counts[name] * bit_m2 for name in MEMORIES}


def tile_m2(chip: Chip) -> float:
    """Area in m2 of one tile whose PEs hold `crossbars_per_pe` crossbars each."""
    return _pes_m2(chip) + sum(tile_areas(chip).values())


def _pes_m2(chip: Chip) -> float:
    """Area in m2 of the PEs of one tile."""
    per_pe = pe_areas(chip, chip.figures.crossbars_per_pe)
    pes: float = chip.figures.pes_per_tile * sum(per_pe.values())
    return pes


def pe_areas(chip: Chip, crossbars: Any) -> dict[str, Any]:
    """Area in m2 of one PE with this number of crossbars, by component.

    Args:
        chip: The chip.
        crossbars: Crossbars of the PE: a number or an array.

    Returns:
        component -> area in m2, of the shape of `crossbars`.
    """
    figures, defects = chip.figures, chip.defects
    converters = chip.converters_per_set * (1.0 if defects.adc_per_pe else crossbars)
    areas = {
        "crossbar": crossbars * _crossbar_m2(chip),
        "adc": converters * adc.area_m2(figures, chip.options),
        "mux": converters * figures.mux_area_m2,
    }
    if not defects.script_subtractor and chip.is_differential and not chip.converts_pairs:
        areas["subtractor"] = converters * (figures.adc_bits / 2 * figures.adder_bit_area_m2)
    if not defects.free_partial_sums:
        areas["adder"] = converters * (figures.bits_per_value * figures.adder_bit_area_m2)
    if chip.has_dac:
        areas["dac"] = crossbars * (figures.crossbar_size * figures.dac_area_m2)
    if chip.options.rows == "driven":
        areas["rows"] = crossbars * (figures.crossbar_size * figures.driver_area_m2)
    return {name: figures.placement * m2 for name, m2 in areas.items()}


def tile_areas(chip: Chip) -> dict[str, float]:
    """Area in m2 of what a tile has once, by component."""
    figures = chip.figures
    areas = {
        "temp_buffer": figures.temp_buffer_area_m2,
        "tile_buffer": figures.tile_buffer_area_m2,
        "h_tree": _h_tree_m2(chip),
    }
    if chip.defects.script_subtractor:
        areas["subtractor"] = chip.converters_per_set * figures.subtractor_area_m2
    return areas


def _h_tree_m2(chip: Chip) -> float:
    """Wires of one bit a row that reach every PE of a tile, or the script's figure.

    An H-tree over P leaves in a square of side s has wires of length 3/2 s (sqrt(P) - 1)
    (Leiserson, 1980).
    """
    figures = chip.figures
    if chip.options.h_tree == "literal":
        return figures.h_tree_area_m2
    length_m = 1.5 * math.sqrt(_pes_m2(chip)) * (math.sqrt(figures.pes_per_tile) - 1)
    return figures.crossbar_size * figures.wire_pitch * 1e-6 * length_m


def _crossbar_m2(chip: Chip) -> float:
    if chip.defects.fixed_array:
        return chip.figures.crossbar_area_m2
    return chip.figures.crossbar_size**2 * chip.figures.cell_area_m2


def _membranes(c: EventCounts) -> Any:
    """Membrane potentials that are stored [..., L]."""
    if not c.chip.defects.five_membranes:
        return c.neurons
    resident = np.cumsum(c.layers.in_channels > 0, -1) <= RESIDENT_LAYERS
    return c.layers.out_channels * c.pixels * resident
