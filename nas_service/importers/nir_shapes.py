"""The maps that nodes of a NIR graph read and put out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hw_models import WorkloadError
from nas_service.importers.nir_structure import Structure
from nas_service.importers.nir_values import Pair, integers, pair, weight_shape, wrong

Shape = tuple[int, ...]
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
        said = f"input_shape = {integers(name, 'input_shape', declared, 1)}"
        raise wrong(name, f"{said}, but {before} gives {shape}")
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
        hint = _drop(shape, rows) if is_image else ""
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
        said = integers(name, "input_type", declared, least=1)
        if math.prod(said) != math.prod(shape):
            raise wrong(name, f"input_type = {said}, but {before} gives {shape}")
        shape = said
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


def input_shapes(graph: Structure, given: Sequence[int] | None) -> dict[str, Shape]:
    """The shapes of the inputs of a graph, without batch and time.

    Args:
        graph: The graph.
        given: The shape of its input where the graph does not say it; None to demand it.

    Raises:
        WorkloadError: An input without a shape, with too many dimensions, or that contradicts
            the given one.
    """
    said = {
        name: _declared(name, graph.nodes[name])
        for name in graph.inputs
        if type(graph.nodes[name]).__name__ == "Input"
    }
    if given is not None:
        name = _meant(said)
        said[name] = _agreed(name, said[name], integers(name, "input_shape", given, least=1))
    for name, shape in said.items():
        if shape is None:
            sides = _expected(graph.readers(name))
            raise wrong(name, f"the graph does not say its shape: add --input {sides}{_PYTHON}")
        if len(shape) > 3:
            raise wrong(name, f"shape = {shape} has {len(shape)} dimensions{_drop(shape, None)}")
    return {name: shape for name, shape in said.items() if shape is not None}


_PYTHON = " (in Python input_shape=...)"


def _declared(name: str, node: Any) -> Shape | None:
    shape = (node.input_type or {}).get("input")
    return None if shape is None else integers(name, "shape", shape, least=1)


def _meant(said: dict[str, Shape | None]) -> str:
    """The input that a given shape is for."""
    names = [name for name, shape in said.items() if shape is None or len(said) == 1]
    if len(names) != 1:
        raise WorkloadError(
            f"graph: one input_shape is given, for the inputs {sorted(said)}: each must have its "
            "shape in the graph"
        )
    return names[0]


def _agreed(name: str, said: Shape | None, given: Shape) -> Shape:
    """The given shape; a declared one may be only ones, or have a batch and time steps."""
    if said is None or math.prod(said) == 1 or said[-len(given) :] == given:
        return given
    raise wrong(name, f"shape = {said} in the graph contradicts the given {given}")


def _drop(shape: Shape, size: int | None) -> str:
    """Which leading dimensions of a shape are to be dropped, so that `size` values are left."""
    for more in range(1, len(shape)):
        rest = shape[more:]
        if math.prod(rest) == size or (size is None and len(rest) == 3):
            first = ", ".join(map(str, shape[:more]))
            sides = ",".join(map(str, rest))
            which = "first dimension" if more == 1 else f"first {more} dimensions"
            return f": drop the {which}, {first} (batch or time steps): --input {sides}{_PYTHON}"
    return ""


def _expected(readers: Sequence[Any]) -> str:
    """The shape that the nodes after an input need, as far as they say it."""
    for node in readers:
        kind, shape = type(node).__name__, getattr(getattr(node, "weight", None), "shape", ())
        if kind == "Conv2d" and len(shape) == 4:
            sides = ("H", "W") if node.input_shape is None else node.input_shape
            return ",".join(str(n) for n in (int(shape[1]) * int(node.groups), *sides))
        if kind in ("Linear", "Affine") and len(shape) == 2:
            return str(int(shape[1]))
    return "C,H,W"


def _x(sides: Sequence[int]) -> str:
    return " x ".join(map(str, sides))
