"""Events of a chip counted in recorded inputs, of which spike rates are only the mean.

C input channels, H W pixels of the input map, P kernel positions, G groups of channels, b bits of
an input, R recorded maps (samples x time steps), M = ceil(R / 8) bytes that hold one bit each.

Rates give the share of the rows that are active, as if a map's border were read as often as its
middle, and the share of converted sums with any active row as 1 - (1 - rho)^rows, as if inputs
spiked independently. Here both shares are counted, on the rows of each sum as the chip's mapping
places them.
"""

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hw_models.chip import Chip
from hw_models.errors import WorkloadError
from hw_models.events import Counts, EventCounts, reads_per_vector, shares_of
from hw_models.layer import Layer, pair
from hw_models.nonideality import tile_rows
from hw_models.workload import Workload

Bits = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class RecordedInputs:
    """What a layer has read in R maps.

    Args:
        bits: [b, C, H, W, M], the least significant bit of an input first; maps are packed along
            the last axis as by `np.packbits`, and its bits after the last map are 0.
        maps: R.
        dilation: Distance in pixels between the inputs of a window.
    """

    bits: Bits
    maps: int
    dilation: int = 1

    @classmethod
    def of(cls, values: NDArray[np.integer], bits: int, dilation: int = 1) -> "RecordedInputs":
        """Packs inputs.

        Args:
            values: [R, C, H, W], whole numbers 0 .. 2^bits - 1.
            bits: Of an input.
            dilation: Distance in pixels between the inputs of a window.

        Returns:
            The record.

        Raises:
            WorkloadError: A value is out of its range.
        """
        if values.size and not 0 <= values.min() <= values.max() < 2**bits:
            raise WorkloadError(f"recorded inputs: values of {bits} bits are needed")
        last = np.ascontiguousarray(np.moveaxis(values, 0, -1))
        planes = [np.packbits((last >> b & 1).astype(bool), axis=-1) for b in range(bits)]
        return cls(np.stack(planes), len(values), dilation)


@dataclass(frozen=True)
class Run:
    """Rows of a converted sum that lie at one kernel position."""

    position: int
    first: int  # channel of a group
    end: int  # one after the last


Sum = tuple[Run, ...]


def counted_shares(
    c: EventCounts, workload: Workload, recorded: Mapping[str, RecordedInputs]
) -> Counts:
    """Share of the dense events that remains for recorded inputs, 0..1.

    Args:
        c: Counts of the workload on a chip.
        workload: The layers.
        recorded: What each layer has read, by name.

    Returns:
        component -> [L], as `active_shares`; empty where the costs know no activity.

    Raises:
        WorkloadError: A layer has no record, or one of another shape.
    """
    if c.chip.defects.no_activity:
        return {}
    serial = np.broadcast_to(reads_per_vector(c.chip, c.layers), c.layers.taps.shape)
    shares = []
    for layer, reads in zip(workload.layers, serial.tolist(), strict=True):
        bits, x = _demand_record(layer, recorded)
        if reads == 1:  # all bits of an input at once
            bits = np.bitwise_or.reduce(bits, axis=0, keepdims=True)
        windows = _Windows(layer, x.dilation)
        sums = converted_rows(c.chip, layer, int(c.tiling.pe_crossbars))
        reads_counted = len(bits) * x.maps * windows.count
        shares.append(
            (
                windows.active_rows(bits) / (reads_counted * layer.in_channels * layer.taps),
                windows.busy_sums(bits, sums) / (reads_counted * layer.groups * len(sums)),
            )
        )
    rows, busy = np.array(shares).T
    return shares_of(c.chip, rows, busy)


def _demand_record(
    layer: Layer, recorded: Mapping[str, RecordedInputs]
) -> tuple[Bits, RecordedInputs]:
    if layer.name not in recorded:
        raise WorkloadError(f"layer {layer.name!r}: nothing was recorded of its inputs")
    x = recorded[layer.name]
    expected = (layer.input_bits, layer.in_channels, *pair(layer.in_size), -(-x.maps // 8))
    if x.bits.shape != expected or x.maps < 1:
        raise WorkloadError(
            f"layer {layer.name!r}: recorded inputs {list(x.bits.shape)}, {list(expected)} needed"
        )
    if (x.bits[..., -1] & (0xFF >> (x.maps - 1) % 8 + 1)).any():
        raise WorkloadError(f"layer {layer.name!r}: bits after the last of {x.maps} recorded maps")
    return x.bits, x


def converted_rows(chip: Chip, layer: Layer, pe_crossbars: int) -> list[Sum]:
    """The rows of each sum that is converted for one output, as `programming.py` places them.

    Args:
        chip: The chip.
        layer: The layer.
        pe_crossbars: Crossbars of one PE, which share converters with D4.

    Returns:
        One entry per converted sum: its rows, by kernel position and channel of a group.
    """
    channels, positions = layer.in_channels // layer.groups, layer.taps
    split = chip.options.mapping == "kernel_split"
    if split:
        height = tile_rows(channels, chip)
        sums: list[Sum] = [
            (Run(p, first, min(first + height, channels)),)
            for p in range(positions)
            for first in range(0, channels, height)
        ]
    else:
        rows = channels * positions
        height = tile_rows(rows, chip)
        sums = [
            tuple(_unrolled(first, min(first + height, rows), positions))
            for first in range(0, rows, height)
        ]
    if not chip.defects.adc_per_pe:
        return sums
    if split and chip.defects.one_kernel:
        tiles = len(sums) // positions
        return [_merged(sums[tile::tiles]) for tile in range(tiles)]
    starts = range(0, len(sums), pe_crossbars)
    return [_merged(sums[start : start + pe_crossbars]) for start in starts]


def _unrolled(first: int, end: int, positions: int) -> Iterator[Run]:
    """Rows first .. end of an unrolled kernel, whose row is channel * positions + position."""
    for p in range(positions):
        channels = math.ceil((first - p) / positions), math.ceil((end - p) / positions)
        if channels[0] < channels[1]:
            yield Run(p, *channels)


def _merged(sums: Iterable[Sum]) -> Sum:
    return tuple(itertools.chain(*sums))


class _Windows:
    """The windows of a layer's kernel on its input map."""

    def __init__(self, layer: Layer, dilation: int) -> None:
        self.layer, self.dilation = layer, dilation
        self._strides, self._sizes = pair(layer.stride), pair(layer.in_size)
        self._outputs, self._kernel = pair(layer.out_size), pair(layer.kernel)
        if layer.padding is None:
            self._padding = tuple(dilation * (k // 2) for k in self._kernel)
        else:
            self._padding = pair(layer.padding)

    @property
    def count(self) -> int:
        """Number of windows."""
        return math.prod(self._outputs)

    def active_rows(self, bits: Bits) -> int:
        """Set bits [b, C, H, W, M] that all windows read, each as often as it is read."""
        set_bits = np.bitwise_count(bits).sum((0, 1, 4), dtype=np.int64)  # [H, W]
        rows, columns = (self._readings(axis) for axis in (0, 1))
        return int(rows @ set_bits @ columns)

    def busy_sums(self, bits: Bits, sums: Iterable[Sum]) -> int:
        """Sums with any set row, over all bits, groups, windows and maps."""
        groups, channels = self.layer.groups, self.layer.in_channels // self.layer.groups
        grouped = bits.reshape(len(bits), groups, channels, *bits.shape[2:])

        @cache
        def any_channel(first: int, end: int) -> Bits:
            part = np.bitwise_or.reduce(grouped[:, :, first:end], axis=2)
            return np.pad(part, [(0, 0), (0, 0), *map(self._margins, (0, 1)), (0, 0)])

        busy = 0
        for runs in sums:
            parts = (self._at(any_channel(run.first, run.end), run.position) for run in runs)
            active = next(parts).copy()
            for part in parts:
                active |= part
            busy += int(np.bitwise_count(active).sum(dtype=np.int64))
        return busy

    def _readings(self, axis: int) -> NDArray[np.int64]:
        """How many windows read each row, or each column, of the map."""
        outputs = np.arange(self._outputs[axis]) * self._strides[axis] - self._padding[axis]
        read = np.add.outer(np.arange(self._kernel[axis]) * self.dilation, outputs).ravel()
        inside = read[(read >= 0) & (read < self._sizes[axis])]
        return np.bincount(inside, minlength=self._sizes[axis])

    def _margins(self, axis: int) -> tuple[int, int]:
        """Zeros before and after the map that windows read."""
        end = self._reach(axis, self._kernel[axis] - 1) - self._padding[axis]
        return self._padding[axis], max(0, end - self._sizes[axis])

    def _reach(self, axis: int, tap: int) -> int:
        """One after the last place in the padded map that a tap of the kernel reads."""
        return tap * self.dilation + (self._outputs[axis] - 1) * self._strides[axis] + 1

    def _at(self, padded: Bits, position: int) -> Bits:
        """What each window reads at one kernel position [b, G, outputs, outputs, M]."""
        taps = divmod(position, self._kernel[1])
        rows, columns = (
            slice(tap * self.dilation, self._reach(axis, tap), self._strides[axis])
            for axis, tap in enumerate(taps)
        )
        return padded[:, :, rows, columns]
