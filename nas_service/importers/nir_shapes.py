"""The maps that nodes of a NIR graph read and put out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nas_service.importers.nir_inputs import what_to_drop
from nas_service.importers.nir_values import Pair, Shape, integers, pair, weight_shape, wrong

MAP_DIMENSIONS = {"Conv1d": 2, "Conv2d": 3}


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

    Raises:
        WorkloadError: It reads no map, or the window does not fit.
    """
    demand_map(name, "Conv2d", shape, before)
    size = window.positions((shape[1], shape[2]))
    if min(size) < 1:
        raise wrong(name, f"a window of {_x(window.sides)} on a map of {_x(shape[1:])}: none fits")
    return size


def convolution(name: str, node: Any, kind: str, shape: Shape, before: str) -> dict[str, Any]:
    """The fields of the Layer of a convolution.

    The arguments are those of `pooled_size`, and the kind of the node.

    Raises:
        WorkloadError: It contradicts what it reads, or no window fits.
    """
    demand_map(name, kind, shape, before)
    one = kind == "Conv1d"  # a map of height 1
    columns, rows, *sides = weight_shape(name, node, 3 if one else 4)
    (groups,) = set(pair(name, "groups", node.groups, least=1))
    if rows * groups != shape[0]:
        raise wrong(name, f"weights for {rows * groups} channels, but {before} gives {shape}")
    size = (shape[-2], shape[-1]) if not one else (1, shape[-1])
    declared = node.input_shape
    if declared is not None and _on_map(name, "input_shape", declared, 1, one, 1) != size:
        wanted = integers(name, "input_shape", declared, 1)
        raise wrong(name, f"input_shape = {wanted}, but {before} gives {shape}")
    kernel = (1, sides[0]) if one else (sides[0], sides[1])
    stride = _on_map(name, "stride", node.stride, 1, one, 1)
    dilation = _on_map(name, "dilation", node.dilation, 1, one, 1)
    padding = _padding(name, node, one, kernel, stride, dilation)
    out_size = _conv_size(name, node, Window(kernel, stride, padding, dilation), size)
    return {
        "kind": "conv",
        "in_channels": shape[0],
        "out_channels": columns,
        "kernel": kernel,
        "stride": stride,
        "groups": groups,
        "in_size": size,
        "out_size": out_size,
        "padding": padding if _is_wide(kernel, padding) else None,
    }


def _conv_size(name: str, node: Any, window: Window, size: Pair) -> Pair:
    if isinstance(node.padding, str) and node.padding == "same":
        return size
    out_size = window.positions(size)
    if min(out_size) < 1:
        far = "" if window.dilation == (1, 1) else f" dilated by {_x(window.dilation)}"
        raise wrong(
            name,
            f"a kernel of {_x(window.sides)}{far} on a map of {_x(size)} with a padding of "
            f"{_x(window.padding)}: none fits",
        )
    return out_size


def _padding(name: str, node: Any, one: bool, kernel: Pair, stride: Pair, dilation: Pair) -> Pair:
    """Zeros on each side of the map; the larger side where they differ."""
    padding = node.padding
    if not isinstance(padding, str):
        return _on_map(name, "padding", padding, 0, one, 0)
    if padding not in ("same", "valid") or (padding == "same" and stride != (1, 1)):
        raise wrong(
            name,
            f"padding = {padding!r:.60} at a stride of {_x(stride)}: zeros on each side are "
            "needed, or 'valid', or 'same' at a stride of 1",
        )
    if padding == "valid":
        return 0, 0
    height, width = (math.ceil(d * (k - 1) / 2) for k, d in zip(kernel, dilation, strict=True))
    return height, width


def _is_wide(kernel: Pair, padding: Pair) -> bool:
    """True for more zeros than let every window touch the map."""
    return any(p > k - 1 for k, p in zip(kernel, padding, strict=True))


def _on_map(name: str, what: str, value: Any, least: int, one: bool, above: int) -> Pair:
    """A value of a convolution; `above` is the height's for one in one dimension."""
    if not one:
        return pair(name, what, value, least)
    numbers = integers(name, what, value, least)
    if len(numbers) > 1:
        raise wrong(name, f"{what} = {numbers}, one number is needed")
    return above, numbers[0]


def linear(name: str, node: Any, shape: Shape, before: str, is_image: bool) -> dict[str, Any]:
    """The fields of the Layer of a matrix.

    The arguments are those of `pooled_size`, and whether it reads the input of the graph.

    Raises:
        WorkloadError: It has another number of inputs than it reads values.
    """
    columns, rows = weight_shape(name, node, 2)
    if math.prod(shape) != rows:
        hint = what_to_drop(shape, rows) if is_image else ""
        raise wrong(name, f"{rows} inputs, but {before} gives {shape}{hint}")
    return {"kind": "linear", "in_channels": rows, "out_channels": columns}


def flattened(name: str, node: Any, shape: Shape, before: str) -> Shape:
    """The shape after a Flatten node.

    The arguments are those of `pooled_size`. A declared `input_type` of as many values is the
    shape whose dimensions are counted.

    Raises:
        WorkloadError: The declared shape is another, or its dimensions are not there.
    """
    declared = (node.input_type or {}).get("input")
    if declared is not None:
        counted = integers(name, "input_type", declared, least=1)
        if math.prod(counted) != math.prod(shape):
            raise wrong(name, f"input_type = {counted}, but {before} gives {shape}")
        shape = counted
    start, end = (
        _dimension(name, what, getattr(node, what), shape) for what in ("start_dim", "end_dim")
    )
    if start > end:
        raise wrong(name, f"start_dim {start} lies after end_dim {end} of {shape}")
    return (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :])


def _dimension(name: str, what: str, value: Any, shape: Shape) -> int:
    (number, *more) = integers(name, what, value, least=-len(shape))
    if more or number >= len(shape):
        right = f"one of {-len(shape)}..{len(shape) - 1} for {shape}, which has no batch dimension,"
        raise wrong(name, f"{what} = {(number, *more)}, {right} is needed")
    return number % len(shape)


def demand_map(name: str, kind: str, shape: Shape, before: str) -> None:
    """WorkloadError for a shape on which this kind of window cannot move."""
    if len(shape) != MAP_DIMENSIONS[kind]:
        right = "a map (C, H, W)" if kind == "Conv2d" else "a sequence (C, L)"
        raise wrong(name, f"{right} is needed, but {before} gives {shape}")


def _x(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))
