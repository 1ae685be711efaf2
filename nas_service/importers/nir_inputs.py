"""The shapes of what a NIR graph reads: those it declares, or the one that is given for it."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from hw_models import WorkloadError
from nas_service.importers.nir_structure import Structure
from nas_service.importers.nir_values import Shape, declared_shape, integers, pair, wrong

_PYTHON = " (in Python input_shape=...)"


def input_shapes(graph: Structure, given: Sequence[int] | None) -> dict[str, Shape]:
    """The shapes of the inputs of a graph, without batch and time.

    Args:
        graph: The graph.
        given: The shape of its input where the graph does not say it; None to demand it.

    Returns:
        Input -> (C, H, W) or (N,).

    Raises:
        WorkloadError: An input without a shape, with too many dimensions, or that contradicts
            the given one.
    """
    declared = {
        name: declared_shape(name, "shape", graph.nodes[name])
        for name in graph.inputs
        if type(graph.nodes[name]).__name__ == "Input"
    }
    if given is not None:
        name = _meant(declared)
        shape = integers(name, "input_shape", given, least=1)
        declared[name] = _agreed(name, declared[name], shape)
    return {name: _demanded(name, shape, graph) for name, shape in declared.items()}


def _demanded(name: str, shape: Shape | None, graph: Structure) -> Shape:
    """The shape of an input; WorkloadError where it has none, or batch and time."""
    if shape is None:
        sides = _expected(graph.readers(name))
        raise wrong(name, f"the graph does not say its shape: add --input {sides}{_PYTHON}")
    if len(shape) > 3:
        drop = what_to_drop(shape, None)
        raise wrong(name, f"shape = {shape} has {len(shape)} dimensions{drop}")
    return shape


def demand_declared(name: str, node: Any, shape: Shape, before: str) -> None:
    """WorkloadError for an end of a graph that declares other values than it reads.

    Batch and time steps may be declared too, or of a map (C, H, W) the channels alone.

    Args:
        name: The node.
        node: An Output, or the Input of an inner graph.
        shape: What it reads.
        before: The nodes it reads, for the message.
    """
    declared = declared_shape(name, "shape", node)
    if declared is not None and math.prod(declared) % math.prod(shape) and declared != shape[:1]:
        raise wrong(name, f"shape = {declared}, but {before} gives {shape}")


def _meant(declared: dict[str, Shape | None]) -> str:
    """The input that a given shape is for."""
    names = [name for name, shape in declared.items() if shape is None or len(declared) == 1]
    if len(names) != 1:
        raise WorkloadError(
            f"graph: one input_shape is given, for the inputs {sorted(declared)}: each must have "
            "its shape in the graph"
        )
    return names[0]


def _agreed(name: str, declared: Shape | None, given: Shape) -> Shape:
    """The given shape; a declared one may be only ones, or have a batch and time steps."""
    if declared is None or math.prod(declared) == 1 or declared[-len(given) :] == given:
        return given
    raise wrong(name, f"shape = {declared} in the graph contradicts the given {given}")


def what_to_drop(shape: Shape, size: int | None) -> str:
    """Which leading dimensions of an input's shape are batch or time steps, for a message.

    Args:
        shape: The shape.
        size: Values that must be left; None for a map (C, H, W).

    Returns:
        The end of a message; empty where there is nothing to drop.
    """
    for more in range(1, len(shape)):
        rest = shape[more:]
        if math.prod(rest) == size or (size is None and len(rest) == 3):
            first = ", ".join(map(str, shape[:more]))
            sides = ",".join(map(str, rest))
            which = "first dimension" if more == 1 else f"first {more} dimensions"
            return f": drop the {which}, {first} (batch or time steps): --input {sides}{_PYTHON}"
    return ""


def _expected(readers: Sequence[tuple[str, Any]]) -> str:
    """The shape that the nodes after an input need, as far as they say it."""
    for name, node in readers:
        kind, weight = type(node).__name__, np.shape(getattr(node, "weight", ()))
        if kind == "Conv2d" and len(weight) == 4:
            channels = weight[1] * pair(name, "groups", node.groups, least=1)[0]
            if node.input_shape is None:
                return f"{channels},H,W"
            return ",".join(map(str, (channels, *pair(name, "input_shape", node.input_shape, 1))))
        if kind in ("Linear", "Affine") and len(weight) == 2:
            return str(weight[1])
    return "C,H,W"
