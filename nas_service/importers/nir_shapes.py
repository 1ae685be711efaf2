"""The shapes that matrices of vectors read, and that Flatten nodes give."""

import math
from typing import Any

from nas_service.importers.nir_inputs import what_to_drop
from nas_service.importers.nir_values import Shape, declared_shape, integers, weight_shape, wrong


def linear(name: str, node: Any, shape: Shape, before: str, is_image: bool) -> dict[str, Any]:
    """The fields of the Layer of a matrix.

    Args:
        name: The node.
        node: A Linear or an Affine.
        shape: What it reads.
        before: The nodes it reads, for the message.
        is_image: It reads the input of the graph.

    Returns:
        key -> value, without name and sources.

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

    The arguments are those of `linear`. A declared `input_type` of as many values is the
    shape whose dimensions are counted.

    Raises:
        WorkloadError: The declared shape is another, or its dimensions are not there.
    """
    counted = declared_shape(name, "input_type", node) or shape
    if math.prod(counted) != math.prod(shape):
        raise wrong(name, f"input_type = {counted}, but {before} gives {shape}")
    start, end = (
        _dimension(name, what, getattr(node, what), counted) for what in ("start_dim", "end_dim")
    )
    if start > end:
        raise wrong(name, f"start_dim {start} lies after end_dim {end} of {counted}")
    return (*counted[:start], math.prod(counted[start : end + 1]), *counted[end + 1 :])


def _dimension(name: str, what: str, value: Any, shape: Shape) -> int:
    number, *more = integers(name, what, value, least=-len(shape))
    if more or number >= len(shape):
        right = f"one of {-len(shape)}..{len(shape) - 1} for {shape}, which has no batch dimension,"
        raise wrong(name, f"{what} = {value!s:.60}, {right} is needed")
    return number % len(shape)
