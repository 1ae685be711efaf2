"""Layers of the blocks of every network of a space, by formula: no network is built.

They equal those of a trace (`nas_service.snn.trace`), which a test keeps, and need no torch.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from hw_models import Layer
from hw_models.layer import synapses_of
from nas_service.snn.wiring import Maps
from nas_service.spaces.cell import EDGE_NAMES
from nas_service.spaces.operations import OPERATIONS, Matrix
from nas_service.spaces.task import PIXEL_BITS, Task

NORM = 2  # numbers of a batch norm for each channel
BITS = 8  # of weights; an architecture sets its own

Block = tuple[str, str]  # name of a block, and its operation; empty outside of cells
Blocks = dict[Block, Layer]


@dataclass(frozen=True)
class BlockLayers:
    """Layers of networks with one stem, cells with reductions between them, and a classifier.

    Args:
        task: The shape of the images, and their classes.
        operations: Names of the operations that an edge can carry.
        stem_stride: Stride of the stem's convolution.
        votes: Outputs that are averaged for each class.
    """

    task: Task
    operations: tuple[str, ...]
    stem_stride: int = 1
    votes: int = 1

    def body(self, widths: tuple[int, ...]) -> tuple[Blocks, Maps]:
        """Layers before the classifier.

        Args:
            widths: Channels of each cell.

        Returns:
            Layers of each block with each operation, and the values of each cell's node.

        Raises:
            SpecError: A map with an odd side would be halved.
        """
        first = self.task.last_side(len(widths), self.stem_stride) * 2 ** (len(widths) - 1)
        sides = [first // 2**k for k in range(len(widths))]
        blocks = {("stem", ""): self._stem(widths[0], first)}
        for k, (width, side) in enumerate(zip(widths, sides, strict=True)):
            blocks |= self._edges(f"cell{k}", width, side)
            if k + 1 < len(widths):
                name = f"reduction{k}"
                blocks[name, ""] = _reduction(name, width, widths[k + 1], side)
        return blocks, [width * side**2 for width, side in zip(widths, sides, strict=True)]

    def head(self, widths: tuple[int, ...], head_pool: int, hidden: int) -> Blocks:
        """The two layers of the classifier.

        Args:
            widths: Channels of each cell.
            head_pool: Side of the average pooling before the classifier; 0 pools the whole map.
            hidden: Neurons between the two layers.

        Returns:
            The layers of the blocks `hidden` and `readout`.

        Raises:
            SpecError: The sizes do not divide.
        """
        side = self.task.head_side(len(widths), head_pool, self.stem_stride)
        window = self.task.last_side(len(widths), self.stem_stride) // side
        inputs, outputs = widths[-1] * side**2, self.task.classes * self.votes
        first = Layer(
            "hidden",
            "linear",
            inputs,
            hidden,
            weight_bits=BITS,
            input_bits=(window**2).bit_length(),  # of the sum of a window of spikes
            parameters=inputs * hidden + NORM * widths[-1],
            scales=NORM * (widths[-1] + hidden),
            neurons=inputs * window**2,
            input_adds=inputs * (window**2 - 1),
        )
        second = Layer(
            "readout",
            "linear",
            hidden,
            outputs,
            weight_bits=BITS,
            parameters=hidden * outputs + outputs,
            neurons=hidden,
        )
        return {("hidden", ""): first, ("readout", ""): second}

    def _stem(self, width: int, side: int) -> Layer:
        return Layer(
            "stem",
            "conv",
            self.task.channels,
            width,
            kernel=3,
            stride=self.stem_stride,
            in_size=self.task.size,
            out_size=side,
            weight_bits=BITS,
            input_bits=PIXEL_BITS,
            once=not self.task.events,
            parameters=9 * self.task.channels * width + NORM * width,
            neurons=0,
        )

    def _edges(self, cell: str, width: int, side: int) -> Blocks:
        """Layers of every edge of a cell under every operation that has weights."""
        return {
            (name, operation): layer
            for edge in EDGE_NAMES
            for operation in self.operations
            for name, layer in _matrices(f"{cell}.edge{edge}", operation, width, side)
        }


def _matrices(edge: str, operation: str, width: int, side: int) -> Iterator[tuple[str, Layer]]:
    for matrix in OPERATIONS[operation].matrices:
        name = edge + matrix.suffix
        yield name, _matrix(name, matrix, width, side)


def _matrix(name: str, matrix: Matrix, width: int, side: int) -> Layer:
    padding = matrix.dilation * (matrix.kernel // 2)
    return Layer(
        name,
        "conv",
        width,
        width,
        kernel=matrix.kernel,
        groups=width if matrix.depthwise else 1,
        in_size=side,
        out_size=side,
        weight_bits=BITS,
        parameters=matrix.weights(width) + NORM * width,
        neurons=width * side**2,
        synapses=synapses_of(
            matrix.weights(width) // matrix.kernel**2,
            *(side, side, matrix.kernel, 1, padding, matrix.dilation),
        ),
    )


def _reduction(name: str, width: int, wider: int, side: int) -> Layer:
    """Norm, neurons, a convolution to the next cell's channels, norm, and a pooling by 2."""
    return Layer(
        name,
        "conv",
        width,
        wider,
        kernel=3,
        in_size=side,
        out_size=side,
        pool=2,
        weight_bits=BITS,
        parameters=9 * width * wider + NORM * (width + wider),
        neurons=width * side**2,
        scales=NORM * (width + wider),
    )
