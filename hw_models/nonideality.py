"""Weights as a real array stores them: spread, stuck cells, drift, wires, finite on/off ratio.

Figures come from the chip's profile. O outputs, C input channels, P kernel positions, S slices of
a weight, D columns of a sign (2 for a differential pair, 1 for an offset), K draws. Conductances
are in steps of one level, (1/R_on - 1/R_off) / (2^b_cell - 1), so an ideal cell of level n conducts
n steps more than an off cell.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.chip import Chip
from hw_models.errors import HardwareError
from hw_models.layer_table import Array


@dataclass(frozen=True, eq=False)
class Cells:
    """The cells of a layer's crossbars and the levels its weights are written to.

    Args:
        levels: Level of each cell [O, C, P, S, D], 0 .. 2^b_cell - 1.
        bits: Bits of a weight.
        chip: Whose non-idealities apply.
    """

    levels: NDArray[np.int64]
    bits: int
    chip: Chip

    @classmethod
    def of(cls, weights: NDArray[Any], bits: int, chip: Chip) -> "Cells":
        """Cells that hold integer weights.

        Args:
            weights: Integers [O, C, P], -(2^(bits-1) - 1) .. 2^(bits-1) - 1.
            bits: Bits of a weight.
            chip: The chip.

        Returns:
            The cells, with their levels 0 .. 2^cell_bits - 1.

        Raises:
            HardwareError: Weights of another type, shape or range.
        """
        largest = 2 ** (bits - 1) - 1
        if weights.ndim != 3 or not np.issubdtype(weights.dtype, np.integer):
            raise HardwareError(f"weights {weights.dtype} {weights.shape}: integers [O, C, P]")
        if weights.size and int(np.abs(weights.astype(np.int64)).max()) > largest:
            raise HardwareError(f"weights beyond {largest}, the largest of {bits} bits")
        values = weights.astype(np.int64)
        if chip.is_differential:
            columns = np.stack([np.maximum(values, 0), np.maximum(-values, 0)], -1)
        else:
            columns = (values + 2 ** (bits - 1))[..., None]
        b_cell = chip.figures.bits_per_cell
        shifts = b_cell * np.arange(slices(bits, chip))
        levels = (columns[..., None, :] >> shifts[:, None]) & (2**b_cell - 1)
        return cls(levels, bits, chip)

    def conductances(self, rng: np.random.Generator, draws: int) -> Array:
        """Conductances of the cells on simulated chips, see `imperfect`.

        Args:
            rng: Source of the random draws.
            draws: Number K of chips.

        Returns:
            [K, O, C, P, S, D] in steps of one level; an off cell conducts `off_steps`.
        """
        ideal = np.broadcast_to(self.levels + off_steps(self.chip), (draws, *self.levels.shape))
        return imperfect(ideal, self._wires(), self.chip, rng)

    def _wires(self) -> Array:
        """Wire segments in series with each cell [C, P, S, D] per output [O, ...]: row + column."""
        outputs, channels, positions, s, d = self.levels.shape
        unrolled = self.chip.options.mapping == "im2col"
        row = np.arange(channels * positions).reshape(channels, positions)
        row = row if unrolled else np.repeat(np.arange(channels)[:, None], positions, 1)
        height = tile_rows(channels * positions if unrolled else channels, self.chip)
        column = np.arange(outputs * s * d).reshape(outputs, 1, 1, s, d)
        size = self.chip.figures.crossbar_size
        distance: Array = (row % height)[None, :, :, None, None] + column % size + 1.0
        return distance

    def weights(self, conductances: Array) -> Array:
        """Weights that the cells amount to, if they are read without conversion error.

        Args:
            conductances: Of the cells [K, O, C, P, S, D], in steps.

        Returns:
            Weights [K, O, C, P] in integer steps.
        """
        levels = conductances - off_steps(self.chip)
        values = np.einsum("...sd,sd->...", levels, merge(self.bits, self.chip))
        offset = 0 if self.chip.is_differential else 2 ** (self.bits - 1)
        return np.asarray(values - offset)


def imperfect(ideal: Array, wires: Array, chip: Chip, rng: np.random.Generator) -> Array:
    """Conductances that cells have on a simulated chip.

    Spread is log-normal with mean 1, drift (t / 1 s)^-nu, and a wire of n segments of resistance r
    divides a conductance g by 1 + g n r.

    Args:
        ideal: As they should be, in steps of one level, of any shape.
        wires: Segments of wire in series with each cell, of a shape that broadcasts: in a crossbar
            the number of its row plus that of its column, plus 1.
        chip: The chip, with its imperfections.
        rng: Source of the random draws.

    Returns:
        Conductances of the same shape, in steps of one level.
    """
    figures, shape = chip.figures, ideal.shape
    g = ideal.astype(np.float64)
    if figures.conductance_spread:  # log-normal with mean 1: a conductance is never negative
        sigma = math.sqrt(math.log1p(figures.conductance_spread**2))
        g *= rng.lognormal(-(sigma**2) / 2, sigma, shape)
    if figures.stuck_on or figures.stuck_off:
        uniform = rng.random(shape)
        g[uniform < figures.stuck_on] = 2**figures.bits_per_cell - 1 + off_steps(chip)
        g[uniform > 1 - figures.stuck_off] = off_steps(chip)
    if figures.drift_seconds != 1 and (figures.drift_exponent or figures.drift_spread):
        exponent = np.maximum(rng.normal(figures.drift_exponent, figures.drift_spread, shape), 0)
        g *= figures.drift_seconds**-exponent
    if figures.wire_resistance_Ohm:
        g /= 1 + g * step_S(chip) * figures.wire_resistance_Ohm * wires
    return np.asarray(g)


def slices(bits: int, chip: Chip) -> int:
    """Cells that hold the bits of one weight; a pair's sign needs no bit.

    Args:
        bits: Bits of a weight.
        chip: The chip.

    Returns:
        The number S of cells.
    """
    magnitude = bits - 1 if chip.is_differential else bits
    return math.ceil(max(magnitude, 1) / chip.figures.bits_per_cell)


def merge(bits: int, chip: Chip) -> Array:
    """What one level of each cell of a weight is worth: 2^(b_cell s), and the sign of a pair.

    Args:
        bits: Bits of a weight.
        chip: The chip.

    Returns:
        Values [S, D] of slices and columns, in steps of an integer weight; D is 2 for a
        differential pair, else 1.
    """
    shifts = 2.0 ** (chip.figures.bits_per_cell * np.arange(slices(bits, chip)))
    signs = [1.0, -1.0] if chip.is_differential else [1.0]
    return np.outer(shifts, signs)


def tile_rows(rows: int, chip: Chip) -> int:
    """Rows of an array that are used; a matrix too tall for one array is spread evenly.

    Args:
        rows: Rows of the matrix.
        chip: The chip.

    Returns:
        ceil(rows / ceil(rows / X)), X the side of a crossbar.
    """
    return math.ceil(rows / math.ceil(rows / chip.figures.crossbar_size))


def step_S(chip: Chip) -> float:
    """Conductance of one level in siemens: (1/R_on - 1/R_off) / (2^b_cell - 1).

    Raises:
        HardwareError: Both resistances are equal.
    """
    figures = chip.figures
    span = 1 / figures.on_resistance_Ohm - 1 / figures.off_resistance_Ohm
    if not span > 0:
        raise HardwareError(
            "on_resistance = off_resistance: a cell cannot hold a level, make off_resistance larger"
        )
    return float(span / (2**figures.bits_per_cell - 1))


def off_steps(chip: Chip) -> float:
    """Conductance of an off cell, in steps of one level."""
    return 1 / chip.figures.off_resistance_Ohm / step_S(chip)
