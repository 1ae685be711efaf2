"""How weight matrices lie on crossbars.

X crossbar side, k kernel side, C channels. A weight takes `slices` cells of a row, twice that
in a differential pair. `kernel_split` gives every kernel position arrays of its own (rows are
input channels); `im2col` unrolls the kernel into rows. Groups of a grouped convolution lie along
the diagonal of an array as long as they fit; the rows of a matrix too tall for one array are
spread evenly over several.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hw_models.layer_table import Array, LayerTable
from hw_models.parameters import Figures, Options, ScriptDefects


@dataclass(frozen=True, eq=False)
class Tiling:
    """Where the matrices of layers lie; every array is [L] or [N, L]."""

    slices: Any  # cells that hold the bits of one weight
    cells: Array  # cells that hold a weight
    columns: Array  # columns in use, of all groups
    row_tiles: Array  # arrays whose currents or sums make up one output
    blocks: Array  # arrays of one kernel position, or of all with im2col
    crossbars: Array
    pes: Array
    pe_crossbars: Any  # crossbars of one PE: a number, or [N, 1]


def tile(x: LayerTable, v: Figures, o: Options, s: ScriptDefects) -> Tiling:
    """The mapping of every layer."""
    size = v.crossbar_size
    slices, columns_per_weight = _columns_per_weight(x, v, o, s)
    split = o.mapping == "kernel_split"
    rows = x.group_channels if split else x.group_channels * x.kernel2
    reference = 1.0 if o.sign == "offset" and not s.one_cell_per_weight else 0.0
    outputs = x.out_channels / x.groups
    columns = outputs * columns_per_weight + reference * (outputs > 0)
    row_tiles = np.ceil(rows / size)
    apart = x.groups * row_tiles * np.ceil(columns / size)
    if x.grouped:
        packed = np.floor(size / np.maximum(np.maximum(rows, columns), 1))
        together = np.ceil(x.groups / np.maximum(packed, 1)) * (columns > 0)
        blocks = np.where(packed >= 1, together, apart)
    else:
        blocks = apart
    crossbars = blocks * x.kernel2 if split else blocks
    columns = columns * x.groups
    cells = rows * columns * (x.kernel2 if split else 1.0)
    if s.one_kernel:
        pe_crossbars: Any = x.kernel2.max(-1, keepdims=x.kernel2.ndim > 1)
    else:
        pe_crossbars = float(v.crossbars_per_pe)
    pes = blocks if split and s.one_kernel else np.ceil(crossbars / pe_crossbars)
    if split:
        row_tiles = row_tiles * x.kernel2
    return Tiling(slices, cells, columns, row_tiles, blocks, crossbars, pes, pe_crossbars)


def _columns_per_weight(x: LayerTable, v: Figures, o: Options, s: ScriptDefects) -> tuple[Any, Any]:
    """Slices of a weight, and columns it takes; a pair's sign needs no bit of its own."""
    if s.one_cell_per_weight:
        return 1.0, 1.0
    if o.sign == "differential":
        slices = np.ceil(np.maximum(x.weight_bits - 1, 1) / v.bits_per_cell)
        return slices, 2 * slices
    slices = np.ceil(x.weight_bits / v.bits_per_cell)
    return slices, slices


def converted_sums(t: Tiling, s: ScriptDefects, o: Options, x: LayerTable) -> Any:
    """Sums that are converted for one output: one for each crossbar, or for each PE's crossbars."""
    if not s.adc_per_pe:
        return t.row_tiles
    if s.one_kernel and o.mapping == "kernel_split":
        return t.row_tiles / x.kernel2
    return np.ceil(t.row_tiles / t.pe_crossbars)


def lossless_adc_bits(rows: Array, bits_per_cell: int, input_bits: Any) -> Any:
    """Fewest bits that tell every sum of `rows` cells apart: levels 0 .. rows (2^b - 1)."""
    largest = np.ceil(rows) * (2**bits_per_cell - 1) * (2.0**input_bits - 1)
    return np.ceil(np.log2(largest + 1))
