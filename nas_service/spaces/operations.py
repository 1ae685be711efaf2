"""Operations that an edge of a cell can carry, as data: all facts about each, in one entry."""

from dataclasses import dataclass
from typing import Literal

from nas_service.errors import SpecError, pick

BACK = "back:"  # before an operation: from the later node to the earlier, one time step late


@dataclass(frozen=True)
class Matrix:
    """One weight matrix of an operation: neurons, a convolution of their spikes, a batch norm."""

    kernel: int
    suffix: str = ""  # after the edge's name, in the name of the layer
    dilation: int = 1  # distance in pixels between the inputs of a window
    depthwise: bool = False  # each channel by itself

    def weights(self, channels: int) -> int:
        """Number of weights between maps of `channels` channels."""
        return self.taps(channels) * channels

    def taps(self, channels: int) -> int:
        """Inputs of one output value."""
        return self.kernel**2 * (1 if self.depthwise else channels)


@dataclass(frozen=True)
class Operation:
    """One operation on an edge. It keeps the shape of its map.

    Either it has weight matrices, which read spikes one after the other, or a pooling window, or
    it passes its input on unchanged, or it carries nothing.
    """

    matrices: tuple[Matrix, ...] = ()
    pooling: Literal["", "mean", "max"] = ""  # over a window of stride 1
    window: int = 1  # side of the pooling window, in pixels
    carries: bool = True  # False: there is no edge
    threshold: float | None = None  # of its neurons; None: that of the whole network

    @property
    def suffixes(self) -> tuple[str, ...]:
        """What follows the edge's name in the names of its layers."""
        return tuple(matrix.suffix for matrix in self.matrices)

    @property
    def weighted(self) -> bool:
        """True where two uses of the operation hold different weights."""
        return bool(self.matrices)

    @property
    def passes(self) -> bool:
        """True where the output is the input."""
        return self.carries and not self.acts

    @property
    def acts(self) -> bool:
        """True where the output is a function of the input other than the input itself."""
        return bool(self.matrices or self.pooling)

    @property
    def linear(self) -> bool:
        """True where op(a + b) = op(a) + op(b), so that sums may be pulled out of it."""
        return self.pooling == "mean"

    @property
    def additions(self) -> int:
        """Additions, or comparisons, for each value of the map: those of a pooling window."""
        return self.window**2 - 1

    @property
    def keeps_places(self) -> bool:
        """True where its gradient needs the place of each maximum."""
        return self.pooling == "max"

    def weights(self, channels: int) -> int:
        """Number of weights between maps of `channels` channels."""
        return sum(matrix.weights(channels) for matrix in self.matrices)

    def taps(self, channels: int) -> int:
        """The most inputs that one output value of a matrix adds up; 0 without weights."""
        return max((matrix.taps(channels) for matrix in self.matrices), default=0)


def conv(kernel: int, dilation: int = 1, threshold: float | None = None) -> Operation:
    """LIF, a convolution of `kernel` x `kernel`, batch norm, in this order.

    Args:
        kernel: Side of the window in inputs.
        dilation: Distance in pixels between the inputs of the window.
        threshold: Of the neurons; None for that of the whole network.

    Returns:
        The operation.
    """
    return Operation((Matrix(kernel, dilation=dilation),), threshold=threshold)


def separable(kernel: int) -> Operation:
    """LIF, convolution, batch norm twice: depthwise, then across channels (1x1)."""
    return Operation((Matrix(kernel, ".depthwise", depthwise=True), Matrix(1, ".pointwise")))


OPERATIONS = {
    "zeroize": Operation(carries=False),
    "skip": Operation(),
    "conv1x1": conv(1),
    "conv3x3": conv(3),
    "conv5x5": conv(5),
    "conv3x3_dilated2": conv(3, dilation=2),
    "sepconv3x3": separable(3),
    "conv3x3_th0.5": conv(3, threshold=0.5),
    "conv3x3_th1": conv(3, threshold=1.0),
    "conv3x3_th1.5": conv(3, threshold=1.5),
    "avgpool3x3": Operation(pooling="mean", window=3),
    "maxpool3x3": Operation(pooling="max", window=3),
}

# The order is the digit of a preset's text form: SNASNet writes zeroize as 0, skip as 1, ...
PRESETS: dict[str, tuple[str, ...]] = {
    "snasnet5": ("zeroize", "skip", "conv1x1", "conv3x3", "avgpool3x3"),  # Kim et al., ECCV 2022
    "light3": ("zeroize", "skip", "conv3x3"),  # LightSNN: spikes stay binary
    # ours, what helps or does not hurt in our own ablation (docs/spaces.md)
    "neuronas": (
        "zeroize",
        "skip",
        "conv1x1",
        "conv3x3",
        "conv5x5",
        "avgpool3x3",
        "maxpool3x3",
    ),
    # SpikeNAS-Bench (IEEE TAI 2025): the threshold is searched
    "bench-threshold": ("zeroize", "skip", "conv3x3_th0.5", "conv3x3_th1", "conv3x3_th1.5"),
}


def operations_of(choice: str | tuple[str, ...]) -> tuple[str, ...]:
    """The names of a preset, or the given names.

    Raises:
        SpecError: A name is unknown, or there are not at least two different ones.
    """
    if isinstance(choice, str):
        return pick(PRESETS, choice, "operation preset")
    for name in choice:
        pick(OPERATIONS, name, "operation")
    if len(set(choice)) != len(choice) or len(choice) < 2:
        raise SpecError(f"operations {list(choice)}: at least two different names are needed")
    return choice


def operation(state: str) -> Operation:
    """The operation of a state, in either direction; raises SpecError for an unknown name."""
    known = OPERATIONS.get(state)  # the fast way: cells ask thousands of times
    return known or pick(OPERATIONS, state.removeprefix(BACK), "operation")


def states_of(names: tuple[str, ...], backward: bool) -> tuple[str, ...]:
    """The states of a pair of nodes: the operations, with `backward` in the other direction too.

    Args:
        names: Names of the operations.
        backward: Whether an edge may lead from the later node to the earlier one.

    Returns:
        The names, then with `backward` those that carry something again, each after `back:`.
    """
    other = (BACK + name for name in names if OPERATIONS[name].carries)
    return (*names, *other) if backward else names
