"""Weights as a real array holds them: spread, stuck cells, drift, wires, finite on/off ratio.

Figures come from the chip's profile. O outputs, C input channels, P kernel positions, S slices of
a weight, D columns of a sign (2 for a differential pair, 1 for an offset), K draws. Conductances
are in steps of one level, (1/R_on - 1/R_off) / (2^b_cell - 1), so an ideal cell of level n holds n
above what an off cell conducts.
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
    """The levels that a layer's weights are written to, and where the cells stand."""

    levels: NDArray[np.int64]  # [O, C, P, S, D], 0 .. 2^b_cell - 1
    bits: int
    chip: Chip

    @classmethod
    def of(cls, weights: NDArray[Any], bits: int, chip: Chip) -> "Cells":
        """Cells for integer weights [O, C, P] of so many bits, -(2^(b-1) - 1) .. 2^(b-1) - 1."""
        largest = 2 ** (bits - 1) - 1
        if weights.ndim != 3 or not np.issubdtype(weights.dtype, np.integer):
            raise HardwareError(f"weights {weights.dtype} {weights.shape}: integers [O, C, P]")
        if weights.size and int(np.abs(weights.astype(np.int64)).max()) > largest:
            raise HardwareError(f"weights beyond {largest}, the largest of {bits} bits")
        values = weights.astype(np.int64)
        if chip.options.sign == "differential":
            columns = np.stack([np.maximum(values, 0), np.maximum(-values, 0)], -1)
        else:
            columns = (values + 2 ** (bits - 1))[..., None]
        b_cell = chip.figures.bits_per_cell
        shifts = b_cell * np.arange(slices(bits, chip))
        levels = (columns[..., None, :] >> shifts[:, None]) & (2**b_cell - 1)
        return cls(levels, bits, chip)

    def conductances(self, die: np.random.Generator, draws: int) -> Array:
        """What so many chips hold [K, O, C, P, S, D], in steps; off cells conduct `off_steps`."""
        v = self.chip.figures
        shape = (draws, *self.levels.shape)
        g = np.broadcast_to(self.levels + off_steps(self.chip), shape).astype(np.float64)
        if v.conductance_spread:  # log-normal with mean 1: a conductance is never negative
            sigma = math.sqrt(math.log1p(v.conductance_spread**2))
            g *= die.lognormal(-(sigma**2) / 2, sigma, shape)
        if v.stuck_on or v.stuck_off:
            fate = die.random(shape)
            g[fate < v.stuck_on] = 2**v.bits_per_cell - 1 + off_steps(self.chip)
            g[fate > 1 - v.stuck_off] = off_steps(self.chip)
        if v.drift_seconds != 1 and (v.drift_exponent or v.drift_spread):
            exponent = np.maximum(die.normal(v.drift_exponent, v.drift_spread, shape), 0)
            g *= v.drift_seconds**-exponent
        if v.wire_resistance_Ohm:
            g /= 1 + g * step_S(self.chip) * v.wire_resistance_Ohm * self._wires()
        return np.asarray(g)

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
        """Effective weights [K, O, C, P] in integer steps, read without conversion error."""
        levels = conductances - off_steps(self.chip)
        values = np.einsum("...sd,sd->...", levels, merge(self.bits, self.chip))
        offset = 0 if self.chip.options.sign == "differential" else 2 ** (self.bits - 1)
        return np.asarray(values - offset)


def slices(bits: int, chip: Chip) -> int:
    """Cells that hold the bits of one weight; a pair's sign needs no bit."""
    magnitude = bits - 1 if chip.options.sign == "differential" else bits
    return math.ceil(max(magnitude, 1) / chip.figures.bits_per_cell)


def merge(bits: int, chip: Chip) -> Array:
    """Value of each slice and column [S, D]: shifts, and the sign of a pair."""
    shifts = 2.0 ** (chip.figures.bits_per_cell * np.arange(slices(bits, chip)))
    signs = [1.0, -1.0] if chip.options.sign == "differential" else [1.0]
    return np.outer(shifts, signs)


def tile_rows(rows: int, chip: Chip) -> int:
    """Rows that are used of an array: a tall matrix is spread evenly."""
    return math.ceil(rows / math.ceil(rows / chip.figures.crossbar_size))


def step_S(chip: Chip) -> float:
    """Conductance of one level, in siemens."""
    v = chip.figures
    span = 1 / v.on_resistance_Ohm - 1 / v.off_resistance_Ohm
    if not span > 0:
        raise HardwareError("on_resistance = off_resistance: a cell that holds nothing")
    return float(span / (2**v.bits_per_cell - 1))


def off_steps(chip: Chip) -> float:
    """What an off cell conducts, in steps of one level."""
    return 1 / chip.figures.off_resistance_Ohm / step_S(chip)
