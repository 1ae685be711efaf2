"""What is programmed on each crossbar: the cells that the cost model counts, with their levels.

O outputs, C input channels of a group, P kernel positions, X side of a crossbar. Matrices lie as
`mapping.py` counts them: a group's rows are its channels, on crossbars of their own for each kernel
position (`kernel_split`), or channels times positions (`im2col`); its columns are outputs, then
slices, then the columns of a sign, and with an offset a reference column of off cells at the end.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.chip import Chip
from hw_models.errors import HardwareError
from hw_models.nonideality import Cells, merge, tile_rows

Integers = NDArray[np.int64]
NONE = -1  # in place of an output, a crossbar or a column


@dataclass(frozen=True, eq=False)
class Crossbar:
    """The used rows and columns of one crossbar; the others hold nothing.

    An output is the sum, over all columns of it on all crossbars of its layer, of `worth` times the
    column's current less that of its reference, in steps of one level. With an offset
    2^(bits - 1) times the sum of the group's inputs is subtracted from it.
    """

    levels: Integers  # [rows, columns]: 0 conducts as an off cell
    inputs: Integers  # [rows]: channel * P + position, with the channels of all groups in order
    outputs: Integers  # [columns]; NONE for a reference
    worth: NDArray[np.float64]  # [columns]: of one level, in integer steps of a weight
    references: Integers  # [columns, 2]: crossbar of the layer and its column; NONE where none is


@dataclass(frozen=True, eq=False)
class _Block:
    """A group's matrix at one kernel position, or at all of them."""

    levels: Integers  # [rows, columns]
    inputs: Integers
    outputs: Integers
    worth: NDArray[np.float64]

    @property
    def has_reference(self) -> bool:
        return bool(len(self.outputs)) and int(self.outputs[-1]) == NONE


def program(weights: NDArray[Any], bits: int, groups: int, chip: Chip) -> tuple[Crossbar, ...]:
    """The crossbars that hold a layer's weights.

    Args:
        weights: Integers [O, C, P], -(2^(bits-1) - 1) .. 2^(bits-1) - 1; outputs group by group.
        bits: Bits of a weight.
        groups: Groups of channels that are convolved separately.
        chip: The chip.

    Returns:
        As many crossbars as the cost model counts.

    Raises:
        HardwareError: The profile counts one cell for a weight of any number of bits, as SpikeSim's
            script does, which no array can hold; or the weights do not fit.
    """
    if chip.defects.one_cell_per_weight:
        raise HardwareError(
            f"chip {chip.name}: one cell for a weight of {bits} bits (D15) cannot be programmed: a "
            "profile with one_cell_per_weight = false, such as 'corrected', is needed"
        )
    parts = _parts(Cells.of(weights, bits, chip), groups)
    size = chip.figures.crossbar_size
    crossbars: list[Crossbar] = []
    for blocks in parts:
        side = max(max(b.levels.shape) for b in blocks)
        together = size // side if groups > 1 else 0
        if together:
            shared = (blocks[i : i + together] for i in range(0, len(blocks), together))
            crossbars += [_diagonal(own, len(crossbars) + i) for i, own in enumerate(shared)]
        else:
            for block in blocks:
                crossbars += _split(block, chip, len(crossbars))
    return tuple(crossbars)


def _parts(cells: Cells, groups: int) -> Iterator[list[_Block]]:
    """The groups' blocks: at once with `im2col`, else for each kernel position."""
    outputs, _, positions, *_ = cells.levels.shape
    each = [range(positions)]
    if cells.chip.options.mapping == "kernel_split":
        each = [range(p, p + 1) for p in range(positions)]
    for taken in each:
        yield [_block(cells, taken, group, outputs // groups) for group in range(groups)]


def _block(cells: Cells, positions: range, group: int, outputs: int) -> _Block:
    _, channels, all_positions, s, d = cells.levels.shape
    own = cells.levels[group * outputs : (group + 1) * outputs, :, positions.start : positions.stop]
    levels = own.transpose(1, 2, 0, 3, 4).reshape(channels * len(positions), outputs * s * d)
    rows = np.add.outer(np.arange(channels) * all_positions, np.array(positions)).ravel()
    columns = np.repeat(np.arange(outputs), s * d) + group * outputs
    worth = np.tile(merge(cells.bits, cells.chip).ravel(), outputs)
    if not cells.chip.is_differential:
        levels = np.concatenate([levels, np.zeros((len(levels), 1), np.int64)], 1)
        columns, worth = np.append(columns, NONE), np.append(worth, 0.0)
    return _Block(levels, rows + group * channels * all_positions, columns, worth)


def _diagonal(blocks: list[_Block], number: int) -> Crossbar:
    """Several groups on one crossbar; the cells between them are off."""
    corners = np.cumsum([(0, 0), *(b.levels.shape for b in blocks)], 0)
    levels = np.zeros(corners[-1], np.int64)
    references = np.full((corners[-1][1], 2), NONE)
    for (row, column), b in zip(corners, blocks, strict=False):
        height, width = b.levels.shape
        levels[row : row + height, column : column + width] = b.levels
        if b.has_reference:
            references[column : column + width - 1] = number, column + width - 1
    return Crossbar(
        levels,
        np.concatenate([b.inputs for b in blocks]),
        np.concatenate([b.outputs for b in blocks]),
        np.concatenate([b.worth for b in blocks]),
        references,
    )


def _split(block: _Block, chip: Chip, first: int) -> Iterator[Crossbar]:
    """One group on as many crossbars as it needs: row by row of them."""
    (rows, columns), size = block.levels.shape, chip.figures.crossbar_size
    height, across = tile_rows(rows, chip), math.ceil(columns / size)
    for i, row in enumerate(range(0, rows, height)):
        last = first + (i + 1) * across - 1  # has the reference of these rows
        for column in range(0, columns, size):
            own = slice(column, min(column + size, columns))
            outputs = block.outputs[own]
            references = np.full((len(outputs), 2), NONE)
            if block.has_reference:
                references[outputs != NONE] = last, (columns - 1) % size
            yield Crossbar(
                block.levels[row : row + height, own],
                block.inputs[row : row + height],
                outputs,
                block.worth[own],
                references,
            )
