"""Convolutions of NIR graphs as layers; one in one dimension is one of maps of height 1."""

import math
from typing import Any

from hw_models.layer import synapses_of
from nas_service.importers.nir_values import Pair, Shape, integers, pair, weight_shape, wrong
from nas_service.importers.nir_windows import Window, by, demand_dimensions


def convolution(name: str, node: Any, shape: Shape, before: str) -> dict[str, Any]:
    """The fields of the Layer of a convolution.

    Args:
        name: The node.
        node: A Conv1d or a Conv2d.
        shape: What it reads, (C, L) or (C, H, W).
        before: The nodes it reads, for the message.

    Returns:
        key -> value, without name and sources.

    Raises:
        WorkloadError: It contradicts what it reads, or no window fits.
    """
    demand_dimensions(name, 2 if _is_sequence(node) else 3, shape, before)
    size = _two_sides(node, shape[1:], above=1)
    if node.input_shape is not None and _values(name, node, "input_shape", 1, above=1) != size:
        wanted = integers(name, "input_shape", node.input_shape, least=1)
        raise wrong(name, f"input_shape = {wanted}, but {before} gives {shape}")
    groups, outputs = _channels(name, node, shape, before)
    window = _window(name, node)
    zeros, kernel = window.padding, window.sides
    out_size = size if _is_same(node) else _output(name, window, size)
    sizes = out_size, size, kernel, window.stride, zeros, window.dilation
    return {
        "kind": "conv",
        "in_channels": shape[0],
        "out_channels": outputs,
        "kernel": kernel,
        "stride": window.stride,
        "groups": groups,
        "in_size": size,
        "out_size": out_size,
        "synapses": synapses_of(shape[0] // groups * outputs, *sizes),
        "padding": zeros if any(p >= k for p, k in zip(zeros, kernel, strict=True)) else None,
    }


def _channels(name: str, node: Any, shape: Shape, before: str) -> tuple[int, int]:
    """Groups and output channels."""
    outputs, inputs, *_ = weight_shape(name, node, len(shape) + 1)
    groups, other = pair(name, "groups", node.groups, least=1)
    if groups != other or inputs * groups != shape[0]:
        channels = f"{inputs} channels" if groups == 1 else f"{groups} groups of {inputs} channels"
        raise wrong(name, f"weights for {channels}, but {before} gives {shape}")
    return groups, outputs


def _window(name: str, node: Any) -> Window:
    kernel = _two_sides(node, tuple(int(n) for n in node.weight.shape[2:]), above=1)
    stride = _values(name, node, "stride", 1, above=1)
    dilation = _values(name, node, "dilation", 1, above=1)
    padding = node.padding
    if not isinstance(padding, str):
        zeros = _values(name, node, "padding", 0, above=0)
    elif padding == "valid":
        zeros = 0, 0
    elif padding == "same" and stride == (1, 1):  # one side of an even kernel has one less
        height, width = (math.ceil(d * (k - 1) / 2) for k, d in zip(kernel, dilation, strict=True))
        zeros = height, width
    else:
        raise wrong(
            name,
            f"padding = {padding!r:.60} at a stride of {by(stride)}: zeros on each side are "
            "needed, or 'valid', or 'same' at a stride of 1",
        )
    return Window(kernel, stride, zeros, dilation)


def _output(name: str, window: Window, size: Pair) -> Pair:
    out_size = window.positions(size)
    if min(out_size) < 1:
        far = "" if window.dilation == (1, 1) else f" dilated by {by(window.dilation)}"
        zeros = f"with a padding of {by(window.padding)}"
        raise wrong(
            name, f"a kernel of {by(window.sides)}{far} on a map of {by(size)} {zeros}: none fits"
        )
    return out_size


def _is_same(node: Any) -> bool:
    return isinstance(node.padding, str) and node.padding == "same"


def _is_sequence(node: Any) -> bool:
    return type(node).__name__ == "Conv1d"


def _values(name: str, node: Any, what: str, least: int, above: int) -> Pair:
    """A value in both directions; `above` in that of a sequence's height."""
    value = getattr(node, what)
    if not _is_sequence(node):
        return pair(name, what, value, least)
    numbers = integers(name, what, value, least)
    if len(numbers) > 1:
        raise wrong(name, f"{what} = {numbers}, one number is needed")
    return above, numbers[0]


def _two_sides(node: Any, sides: Shape, above: int) -> Pair:
    return (above, sides[0]) if _is_sequence(node) else (sides[0], sides[1])
