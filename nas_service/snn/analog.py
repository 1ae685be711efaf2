"""A trained network on simulated, imperfect chips: crossbars and converters compute its products.

T*B folded time steps and images, C channels, P pixels of a kernel, L output pixels, G arrays that
add up to one output, R rows of an array, O outputs, S slices of a weight, D columns of a sign.
Spikes are read in one step; means of spikes (average pooling before a matrix) bit by bit. Pixels
of a directly coded image see the same imperfect cells but no converter: they are no integers.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hw_models.chip import Chip
from hw_models.nonideality import Cells, merge, off_steps, tile_rows
from nas_service.data.batches import Examples
from nas_service.snn.network import Network
from nas_service.snn.quantization import integer_weights, matrix_of, quantizer_of
from nas_service.snn.trace import pooling_before
from nas_service.snn.training import accuracy

SUMS_AT_ONCE = 2**25  # partial sums in memory at a time: 128 MiB
TOLERANCE = 1e-3  # distance of a mean of spikes from an integer number of spikes


def accuracy_on_chip(
    network: Network, images: Examples, chip: Chip, draws: int, seed: int
) -> tuple[float, ...]:
    """Accuracy of a trained network on simulated chips.

    Args:
        network: Unchanged afterwards; no global random number is drawn.
        images: Labelled images.
        chip: The chip, with its imperfections.
        draws: The number of chips that are drawn.
        seed: Seed of the draws.

    Returns:
        The accuracy on each chip, 0..1.
    """
    accuracies = []
    for draw in range(draws):
        with simulated(network, chip, np.random.default_rng([seed, draw])):
            accuracies.append(accuracy(network, images))
    return tuple(accuracies)


@contextmanager
def simulated(network: Network, chip: Chip, generator: np.random.Generator) -> Iterator[None]:
    """A context in which one simulated chip computes all matrix products of a network.

    Args:
        network: A network with quantized weights; unchanged after the context.
        chip: The chip, with its imperfections.
        generator: Source of the draws of its cells' conductances.

    Yields:
        Nothing; the network computes on the chip within the block.
    """
    replaced: list[nn.Module] = []
    try:
        for block in network.blocks().values():
            matrix = matrix_of(block)
            vars(matrix)["forward"] = _reader(
                matrix, pooling_before(block, matrix), chip, generator
            )
            replaced.append(matrix)
        yield
    finally:
        for module in replaced:
            del vars(module)["forward"]


def _reader(
    matrix: nn.Conv2d | nn.Linear, window: int, chip: Chip, generator: np.random.Generator
) -> Callable[[Tensor], Tensor]:
    """The product with a matrix that is programmed into a chip.

    Its inputs are multiples of 1 / window^2, or pixels.
    """
    integers, scale = integer_weights(matrix)
    bits = quantizer_of(matrix).rounding.bits
    cells = Cells.of(
        integers.flatten(2).numpy() if integers.dim() == 4 else integers.numpy()[..., None],
        bits,
        chip,
    )
    conductances = cells.conductances(generator, 1)
    weights = torch.from_numpy(cells.weights(conductances)[0]).float().reshape(integers.shape)
    groups = matrix.groups if isinstance(matrix, nn.Conv2d) else 1
    arrays = [Arrays.of(part, cells) for part in np.split(conductances[0], groups)]
    steps = window**2

    def sums(levels: Tensor) -> Tensor:
        """Sums [T*B, L, O]; each group of channels has separate arrays."""
        parts = _windows(matrix, levels).chunk(groups, 1)
        read = (own.read(part, steps) for own, part in zip(arrays, parts, strict=True))
        return torch.cat(list(read), -1)

    def read(x: Tensor) -> Tensor:
        inputs = x * steps
        levels = inputs.round()
        if levels.min() < 0 or (inputs - levels).abs().max() > TOLERANCE:
            products = _product(matrix, x, weights)
        else:
            products = _unfolded(matrix, x, sums(levels)) / steps
        y = products * _along_channels(scale, x)
        return y if matrix.bias is None else y + _along_channels(matrix.bias, x)

    return read


def _product(matrix: nn.Conv2d | nn.Linear, x: Tensor, weights: Tensor) -> Tensor:
    if isinstance(matrix, nn.Linear):
        return nn.functional.linear(x, weights)
    return nn.functional.conv2d(
        x, weights, None, matrix.stride, matrix.padding, matrix.dilation, matrix.groups
    )


def _windows(matrix: nn.Conv2d | nn.Linear, x: Tensor) -> Tensor:
    """Inputs of every output pixel [T*B, C, P, L]."""
    if isinstance(matrix, nn.Linear):
        return x[..., None, None]
    rows = nn.functional.unfold(
        x,
        matrix.kernel_size,
        dilation=matrix.dilation,
        padding=matrix.padding,  # type: ignore[arg-type]
        stride=matrix.stride,
    )
    windows: Tensor = rows.unflatten(1, (x.shape[1], -1))
    return windows


def _unfolded(matrix: nn.Conv2d | nn.Linear, x: Tensor, sums: Tensor) -> Tensor:
    """Sums [T*B, L, O] in the shape of the matrix's outputs."""
    if isinstance(matrix, nn.Linear):
        return sums[:, 0]
    window = matrix.dilation[0] * (matrix.kernel_size[0] - 1) + 1
    reach = x.shape[-1] + 2 * int(matrix.padding[0]) - window
    side = reach // matrix.stride[0] + 1
    maps: Tensor = sums.transpose(1, 2).unflatten(2, (side, side))
    return maps


def _along_channels(values: Tensor, x: Tensor) -> Tensor:
    return values.detach().view(-1, *[1] * (x.dim() - 2))


@dataclass(frozen=True, eq=False)
class Arrays:
    """The arrays of one layer on one chip."""

    conductances: Tensor  # [G, R, O * S * D]
    cells: Cells

    @classmethod
    def of(cls, conductances: NDArray[np.float64], cells: Cells) -> "Arrays":
        """The arrays that a layer's cells lie on.

        Args:
            conductances: Of the cells [O, C, P, S, D], in steps.
            cells: The cells.

        Returns:
            G arrays of R rows each, unused ones with no conductance.
        """
        rows = (
            torch.from_numpy(conductances).float().permute(1, 2, 0, 3, 4).flatten(2)
        )  # [C, P, O S D]
        return cls(_tiled(rows, cells), cells)

    def read(self, windows: Tensor, most: int) -> Tensor:
        """Multiplies inputs by the programmed weights, bit by bit, through the converters.

        Args:
            windows: Integers 0 .. most [T*B, C, P, L].
            most: The largest possible input.

        Returns:
            Sums of integer products [T*B, L, O].
        """
        per_pixel = self.conductances.shape[0] * self.conductances.shape[2] * windows.shape[-1]
        parts = windows.split(max(1, SUMS_AT_ONCE // per_pixel))
        return torch.cat([self._read_part(part, most) for part in parts])

    def _read_part(self, windows: Tensor, most: int) -> Tensor:
        planes = range(most.bit_length())
        bits = [((windows.int() >> bit) & 1).float() for bit in planes]
        return torch.stack(
            [2.0**b * self._read_bits(x) for b, x in zip(planes, bits, strict=True)]
        ).sum(0)

    def _read_bits(self, spikes: Tensor) -> Tensor:
        """One read: spikes [T*B, C, P, L] through arrays, converters and shift-adders."""
        cells, v = self.cells, self.cells.chip.figures
        rows = _tiled(spikes.permute(1, 2, 0, 3), cells)  # [G, R, T*B, L]
        inputs = rows.flatten(2).transpose(1, 2)  # [G, T*B*L, R]
        sums = converted(torch.bmm(inputs, self.conductances), v.adc_bits)
        values = torch.from_numpy(merge(cells.bits, cells.chip)).float().flatten()  # [S * D]
        merged: Tensor = sums.sum(0).unflatten(1, (-1, len(values))) @ values  # [T*B*L, O]
        if cells.chip.options.sign == "offset":
            active = inputs.sum(2)  # [G, T*B*L]
            off = converted(active * off_steps(cells.chip), v.adc_bits).sum(0) * values.sum()
            merged -= (off + active.sum(0) * 2 ** (cells.bits - 1))[:, None]
        outputs: Tensor = merged.unflatten(0, (spikes.shape[0], -1))
        return outputs


def converted(sums: Tensor, bits: int) -> Tensor:
    """Sums as an analog-to-digital converter gives them: integers 0 .. 2^bits - 1.

    A step of the converter is one level of a cell, so no information is lost with
    `lossless_adc_bits` or more.

    Args:
        sums: In levels of a cell; changed in place.
        bits: Resolution of the converter.

    Returns:
        The same tensor.
    """
    return sums.round_().clamp_(0, 2**bits - 1)


def _tiled(rows: Tensor, cells: Cells) -> Tensor:
    """Rows [C, P, ...] on the arrays of one output [G, R, ...]; missing rows are 0."""
    unrolled = cells.chip.options.mapping == "im2col"
    lines = rows.flatten(0, 1)[None] if unrolled else rows.transpose(0, 1)  # [1 or P, rows, ...]
    height = tile_rows(lines.shape[1], cells.chip)
    missing = -lines.shape[1] % height
    filled = torch.cat([lines, lines.new_zeros(len(lines), missing, *lines.shape[2:])], 1)
    tiled: Tensor = filled.unflatten(1, (-1, height)).flatten(0, 1)
    return tiled
