"""Windows that move over maps: of poolings, and of convolutions."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas_service.importers.nir_values import Pair, Shape, pair, wrong


@dataclass(frozen=True)
class Window:
    """How a window moves over a map; each is (height, width)."""

    sides: Pair
    stride: Pair
    padding: Pair = (0, 0)  # on each side
    dilation: Pair = (1, 1)

    def positions(self, size: Pair) -> Pair:
        """How many positions it has on a map: less than 1 where it does not fit.

        Per side floor((n + 2 p - d (k - 1) - 1) / s) + 1, as torch documents it.
        """
        columns = zip(size, self.sides, self.stride, self.padding, self.dilation, strict=True)
        height, width = ((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in columns)
        return height, width


def pooling_window(name: str, node: Any) -> Window:
    """The window of a pooling node; WorkloadError where it is none."""
    return Window(
        sides=pair(name, "kernel_size", node.kernel_size, least=1),
        stride=pair(name, "stride", node.stride, least=1),
        padding=pair(name, "padding", node.padding, least=0),
    )


def pooled_size(name: str, window: Window, shape: Shape, before: str) -> Pair:
    """The sides of a pooled map.

    Args:
        name: The node.
        window: Its window.
        shape: What it reads.
        before: The nodes it reads, for the message.

    Returns:
        (height, width).

    Raises:
        WorkloadError: It reads no map, or the window does not fit.
    """
    demand_dimensions(name, 3, shape, before)
    size = window.positions((shape[1], shape[2]))
    if min(size) < 1:
        raise wrong(name, f"a window of {by(window.sides)} on a map of {by(shape[1:])}: none fits")
    return size


def demand_dimensions(name: str, count: int, shape: Shape, before: str) -> None:
    """WorkloadError for what is neither a map, of 3 dimensions, nor a sequence, of 2."""
    if len(shape) != count:
        right = "a map (C, H, W)" if count == 3 else "a sequence (C, L)"
        raise wrong(name, f"{right} is needed, but {before} gives {shape}")


def by(sides: Sequence[int]) -> str:
    """Sides as a message shows them: `3 x 5`."""
    return " x ".join(map(str, sides))
