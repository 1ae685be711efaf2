"""How weight matrices lie on crossbars.

X crossbar side, k kernel side, C channels; every array is [L] for one workload of L layers and
[N, L] for N workloads, written [..., L]. A weight takes `slices` cells of a row, twice that in a
differential pair. `kernel_split` gives every kernel position arrays of its own (rows are input
channels); `im2col` unrolls the kernel into rows. Groups of a grouped convolution lie along the
diagonal of an array as long as they fit; the rows of a matrix too tall for one array are spread
evenly over several.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hw_models.chip import Chip
from hw_models.layer_table import Array, LayerTable


@dataclass(frozen=True, eq=False)
class Tiling:
    """Where the matrices of layers lie; every array is [..., L]."""

    slices: Any  # cells that hold the bits of one weight
    cells: Array  # cells that hold a weight
    columns: Array  # columns in use, of all groups
    row_tiles: Array  # arrays whose currents or sums make up one output
    crossbars: Array
    pes: Array
    pe_crossbars: Any  # crossbars of one PE: a number, or [N, 1]


def tile(chip: Chip, layers: LayerTable) -> Tiling:
    """Place every layer's matrix on crossbars, PEs and tiles.

    With `kernel_split` a layer takes k^2 ceil(C_in / X) ceil(C_out columns / X) crossbars, with
    `im2col` ceil(k^2 C_in / X) ceil(C_out columns / X); PEs hold `crossbars_per_pe` of them.

    Args:
        chip: The chip.
        layers: Layers [..., L].

    Returns:
        Counts [..., L].
    """
    split = chip.options.mapping == "kernel_split"
    positions = layers.taps if split else 1.0
    rows = layers.group_channels if split else layers.group_channels * layers.taps
    slices, columns_per_weight = _columns_per_weight(chip, layers)
    group_columns = _group_columns(chip, layers, columns_per_weight)
    row_tiles = np.ceil(rows / chip.figures.crossbar_size)
    blocks = _blocks(chip, layers, rows, row_tiles, group_columns)
    crossbars = blocks * positions if split else blocks
    columns = group_columns * layers.groups
    pe_crossbars = _pe_crossbars(chip, layers)
    script_pes = split and chip.defects.one_kernel
    return Tiling(
        slices=slices,
        cells=rows * columns * positions,
        columns=columns,
        row_tiles=row_tiles * positions if split else row_tiles,
        crossbars=crossbars,
        pes=blocks if script_pes else np.ceil(crossbars / pe_crossbars),
        pe_crossbars=pe_crossbars,
    )


def converted_sums(chip: Chip, layers: LayerTable, tiling: Tiling) -> Any:
    """Analog sums that are converted for one output: one per crossbar, or per PE (D4).

    Args:
        chip: The chip.
        layers: Layers [..., L].
        tiling: Where `tile` placed these layers.

    Returns:
        Counts [..., L].
    """
    if not chip.defects.adc_per_pe:
        return tiling.row_tiles
    if chip.defects.one_kernel and chip.options.mapping == "kernel_split":
        return tiling.row_tiles / layers.taps
    return np.ceil(tiling.row_tiles / tiling.pe_crossbars)


def lossless_adc_bits(rows: Array, cell_bits: Any, input_bits: Any) -> Any:
    """Fewest bits that distinguish every sum of cells.

    Args:
        rows: Rows that contribute to a sum [..., L].
        cell_bits: Bits b of a weight in one cell: a number or [..., L].
        input_bits: Bits b_in of an input within one read.

    Returns:
        ceil(log2(1 + rows (2^b - 1) (2^b_in - 1))) [..., L].
    """
    largest = np.ceil(rows) * (2.0**cell_bits - 1) * (2.0**input_bits - 1)
    return np.ceil(np.log2(largest + 1))


def bits_in_cell(chip: Chip, layers: LayerTable) -> Any:
    """Bits of a weight in one cell: those of the cell, or fewer if the weight has no more.

    Args:
        chip: The chip.
        layers: Layers [..., L].

    Returns:
        Numbers [..., L].
    """
    if chip.defects.one_cell_per_weight:
        return chip.figures.bits_per_cell
    return np.minimum(chip.figures.bits_per_cell, _magnitude_bits(chip, layers))


def _magnitude_bits(chip: Chip, layers: LayerTable) -> Any:
    """Bits of a weight that cells hold; a pair's sign needs no bit of its own."""
    return np.maximum(layers.weight_bits - 1, 1) if chip.is_differential else layers.weight_bits


def _columns_per_weight(chip: Chip, layers: LayerTable) -> tuple[Any, Any]:
    """Slices of a weight, and columns it takes."""
    if chip.defects.one_cell_per_weight:
        return 1.0, 1.0
    slices = np.ceil(_magnitude_bits(chip, layers) / chip.figures.bits_per_cell)
    return slices, 2 * slices if chip.is_differential else slices


def _group_columns(chip: Chip, layers: LayerTable, columns_per_weight: Any) -> Any:
    """Columns of one group; with an offset one more, whose sum is subtracted."""
    outputs = layers.out_channels / layers.groups
    has_reference = not chip.is_differential and not chip.defects.one_cell_per_weight
    return outputs * columns_per_weight + (1.0 if has_reference else 0.0) * (outputs > 0)


def _blocks(chip: Chip, layers: LayerTable, rows: Any, row_tiles: Any, columns: Any) -> Any:
    """Crossbars of one kernel position, or of all with im2col."""
    size = chip.figures.crossbar_size
    separate = layers.groups * row_tiles * np.ceil(columns / size)
    if not layers.grouped:
        return separate
    groups_per_array = np.floor(size / np.maximum(np.maximum(rows, columns), 1))
    shared = np.ceil(layers.groups / np.maximum(groups_per_array, 1)) * (columns > 0)
    return np.where(groups_per_array >= 1, shared, separate)


def _pe_crossbars(chip: Chip, layers: LayerTable) -> Any:
    """Crossbars of one PE; in the script as many as the largest kernel has positions (D11)."""
    if chip.defects.one_kernel:
        return layers.taps.max(-1, keepdims=layers.taps.ndim > 1)
    return float(chip.figures.crossbars_per_pe)
