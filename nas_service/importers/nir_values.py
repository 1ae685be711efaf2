"""Numbers of NIR nodes, which come from files of unknown origin."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from hw_models import WorkloadError
from hw_models.layer import MAX_SIZE

Pair = tuple[int, int]  # height, width
Shape = tuple[int, ...]  # (C, H, W), (C, L) or (N,)


def wrong(name: str, problem: str) -> WorkloadError:
    """The error about a node."""
    return WorkloadError(f"node {name!r:.100}: {problem}")


def pair(name: str, what: str, value: Any, least: int) -> Pair:
    """Height and width; one number is both.

    Args:
        name: The node's name.
        what: The name of the value.
        value: Anything.
        least: The smallest number that is possible.

    Returns:
        (height, width).

    Raises:
        WorkloadError: It is not one or two integers of at least `least`.
    """
    sides = integers(name, what, value, least)
    if len(sides) > 2:
        raise wrong(name, f"{what} = {sides}, one number or (height, width) is needed")
    return sides[0], sides[-1]


def integers(name: str, what: str, value: Any, least: int) -> tuple[int, ...]:
    """Integers of an array, in `least`..MAX_SIZE.

    The arguments are those of `pair`.

    Raises:
        WorkloadError: It has other values, or none.
    """
    try:
        numbers = [n.item() for n in np.atleast_1d(np.asarray(value)).ravel()]
        whole = [int(n) for n in numbers]
        good = numbers == whole and all(least <= n <= MAX_SIZE for n in whole)
    except (TypeError, ValueError, OverflowError, AttributeError):
        whole, good = [], False
    if not good or not whole:
        right = f"integers in {least}..{MAX_SIZE} are needed"
        raise wrong(name, f"{what} = {_plain(value)!r:.60}, {right}")
    return tuple(whole)


def declared_shape(name: str, what: str, node: Any) -> Shape | None:
    """The shape that a node says it reads; None where it says none.

    Args:
        name: The node's name.
        what: What its file calls the shape.
        node: An Input, an Output or a Flatten.

    Returns:
        The shape, without batch.

    Raises:
        WorkloadError: It is no shape.
    """
    shape = node.input_type
    if isinstance(shape, Mapping):
        shape = shape.get("input")
    return None if shape is None else integers(name, what, shape, least=1)


def size_of(value: Any) -> int:
    """How many numbers an array, a tensor or a number holds."""
    return math.prod(np.shape(value))


def weight_shape(name: str, node: Any, dimensions: int) -> tuple[int, ...]:
    """The sides of a node's weights.

    Args:
        name: The node's name.
        node: A node with weights.
        dimensions: How many sides they must have.

    Returns:
        The sides.

    Raises:
        WorkloadError: They have another number of sides, or none of a side.
    """
    shape = tuple(int(n) for n in np.shape(node.weight))
    if len(shape) != dimensions or not all(shape):
        raise wrong(name, f"weights {shape}, {dimensions} dimensions are needed")
    return shape


def parameters_of(name: str, node: Any) -> int:
    """Weights and biases of a node.

    A bias of zeros does not count: NIR's convolutions have one where the network has none.

    Raises:
        WorkloadError: The number of biases is not that of the outputs.
    """
    bias, outputs = _array(name, "bias", getattr(node, "bias", 0)), np.shape(node.weight)[0]
    if bias.size not in (1, outputs):
        raise wrong(name, f"{bias.size} biases of {outputs} outputs")
    return size_of(node.weight) + (int(bias.size) if bias.any() else 0)


def demand_channel_scales(name: str, node: Any, shape: tuple[int, ...]) -> None:
    """WorkloadError for a scale that is not one factor per channel, as weights can contain it."""
    scale, size = _array(name, "scale", node.scale), math.prod(shape)
    by_channel = scale.reshape(shape[0], -1) if scale.size == size else scale
    if scale.size not in (1, shape[0], size) or (
        scale.size == size and (by_channel != by_channel[:, :1]).any()
    ):
        right = f"1, or one for each of {shape[0]} channels as weights before it can contain them"
        raise wrong(name, f"{scale.size} factors for the values {shape}: {right}, is needed")


def demand_neurons(name: str, node: Any, shape: tuple[int, ...]) -> None:
    """WorkloadError where a node's parameters are neither one, one per channel nor one each."""
    sizes = {size_of(x) for k, x in vars(node).items() if k in ("tau", "tau_mem", "r", "threshold")}
    if not sizes <= {1, shape[0], math.prod(shape)}:
        kind, many = type(node).__name__, ", ".join(map(str, sorted(sizes)))
        right = f"1, {shape[0]} (one for each channel) or {math.prod(shape)} are needed"
        raise WorkloadError(f"node {name!r} ({kind}): {many} neurons for {shape} values: {right}")


def _plain(value: Any) -> Any:
    """An array or a number of NumPy as messages show it: without its type."""
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else value


def _array(name: str, what: str, value: Any) -> Any:
    """Numbers as an array of NumPy; WorkloadError where they are none, or not in its reach."""
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:  # torch: on a GPU, or with a gradient
        raise wrong(name, f"{what} is no array: detach it, and move it to the CPU") from error
    if array.dtype.kind not in "biuf":
        raise wrong(name, f"{what} = {_plain(value)!r:.60}, numbers are needed")
    return array
