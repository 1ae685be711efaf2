"""Products of a signal with a weight matrix, as torch computes them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from hw_models import WorkloadError
from hw_models.layer import synapses_of
from nas_service.importers.nir_values import Pair
from nas_service.importers.torch_signals import Signal

PRODUCTS = ("mm", "addmm", "bmm", "baddbmm")
CONVOLUTION = "convolution"
MATRICES = (*PRODUCTS, CONVOLUTION)
Cannot = Callable[[str], WorkloadError]
SignalOf = Callable[[Tensor], Signal | None]


@dataclass(frozen=True)
class Product:
    """A product of inputs with a weight matrix."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    inputs: int  # channels, or features
    outputs: int
    vectors: int  # samples, times time steps
    convolution: tuple[Pair, Pair, Pair, int] | None = None  # stride, padding, dilation, groups

    @property
    def numbers(self) -> int:
        """Weights and biases."""
        return self.weight.numel() + (0 if self.bias is None else self.bias.numel())


def product_of(name: str, args: Sequence[Any], signal: SignalOf, cannot: Cannot) -> Product:
    """What an operation multiplies.

    Args:
        name: One of MATRICES.
        args: Its arguments.
        signal: What a tensor depends on; None for weights.
        cannot: The error for a reason.

    Returns:
        The inputs, the weights and their channels.

    Raises:
        WorkloadError: Both depend on the example, or no crossbar computes such a product.
    """
    if name == CONVOLUTION:
        return _convolution(args, signal, cannot)
    left, right = args[-2:]
    bias = args[0] if name in ("addmm", "baddbmm") else None
    if left.dim() == 3 and len(left) == len(right) == 1:  # as einsum gives it
        left, right = left[0], right[0]
    if left.dim() == 3 or (signal(args[-2]) and signal(args[-1])):
        raise cannot("products of two signals, or of stacked matrices, are not supported")
    if signal(args[-1]) is not None:  # weights times inputs [in, B]
        outputs, inputs = left.shape
        return Product(args[-1], left, bias, inputs, outputs, right.shape[1])
    inputs, outputs = right.shape
    return Product(args[-2], args[-1], bias, inputs, outputs, len(left))


def _convolution(args: Sequence[Any], signal: SignalOf, cannot: Cannot) -> Product:
    x, weight, bias, stride, padding, dilation, transposed, _, groups = args
    if signal(weight) is not None:
        raise cannot("a convolution with weights that depend on the input is not supported")
    if transposed:
        raise cannot("transposed convolutions are not supported")
    if x.dim() not in (3, 4):
        raise cannot(f"convolutions of {x.dim() - 2} dimensions are not supported, only of 1 and 2")
    settings = (_pair(stride, 1), _pair(padding, 0), _pair(dilation, 1), int(groups))
    return Product(x, weight, bias, x.shape[1], weight.shape[0], len(x), settings)


def _pair(sides: Sequence[int], one: int) -> Pair:
    """Height and width; a map of one dimension is one row."""
    numbers = [int(n) for n in sides]
    return (one, numbers[0]) if len(numbers) == 1 else (numbers[0], numbers[1])


def map_shape(x: Tensor) -> Pair:
    """Height and width of a map [N, C, H, W], or of one row [N, C, L]."""
    return _pair(x.shape[2:], 1)


def shape_of(product: Product, x: Tensor, out: Tensor, padded: Pair) -> dict[str, Any]:
    """Kind, channels and sizes of a layer.

    Args:
        product: What it multiplies.
        x: The map without zeros around it.
        out: The output.
        padded: Zeros that were put on each side of the map before; the larger of two sides.

    Returns:
        Arguments of a `Layer`.
    """
    channels = {"in_channels": product.inputs, "out_channels": product.outputs}
    if product.convolution is None:
        return {"kind": "linear", **channels}
    stride, padding, dilation, groups = product.convolution
    kernel, size, result = _pair(product.weight.shape[2:], 1), map_shape(x), map_shape(out)
    zeros = padding[0] + padded[0], padding[1] + padded[1]
    full = [(n + k - 2) // s + 1 for n, k, s in zip(size, kernel, stride, strict=True)]
    beyond = any(n > most for n, most in zip(result, full, strict=True))
    matrix = product.inputs // groups * product.outputs
    return {
        "kind": "conv",
        **channels,
        "synapses": synapses_of(matrix, result, size, kernel, stride, zeros, dilation),
        "kernel": kernel,
        "stride": stride,
        "groups": groups,
        "in_size": size,
        "out_size": result,
        **({"padding": zeros} if beyond else {}),
    }
