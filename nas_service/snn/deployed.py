"""A trained network as it is deployed: whole weights, a scale and a bias per output channel.

Nothing is rounded again: the batch norm behind a matrix is a factor and a shift of its channel. A
batch norm of its own, where branches meet, stays as a scale and a bias of the currents. The
integers meet spikes, so sums are whole numbers below 2^24, which float32 adds exactly: they do
not depend on batch, layout or threads. Pixels meet the integers of the stem as they are.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from nas_service.errors import DataError, SpecError, did_you_mean
from nas_service.snn.checkpoint import write
from nas_service.snn.network import Network
from nas_service.snn.neurons import LIF, BatchNormLIF
from nas_service.snn.quantization import (
    Rounding,
    integer_weights,
    matrix_of,
    quantize,
    quantizer_of,
)
from nas_service.snn.trace import pooled_in_front

FORMAT = {"format": "nas-deployed-1"}
EXACT = 2**24  # whole numbers up to here are float32 numbers


class Affine(nn.Module):
    """Currents [T*B, C, ...] times a scale plus a bias of their channel: a batch norm at rest.

    Two roundings, one after each: fused to one, they would depend on how a layout is vectorised.
    """

    scale: Tensor
    bias: Tensor

    def __init__(self, scale: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)  # [C]
        self.register_buffer("bias", bias)  # [C]

    def forward(self, x: Tensor) -> Tensor:
        scale, bias = self.along_channels(x)
        return (x * scale).add_(bias)

    def along_channels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and bias [C, 1, 1] for maps, [C] for vectors."""
        shape = (-1, *[1] * (x.dim() - 2))
        return self.scale.view(shape), self.bias.view(shape)


class IntegerMatrix(Affine):
    """Spikes, or their sums over a window, to currents [T*B, C_out, ...] through whole sums."""

    weight: Tensor

    def __init__(
        self,
        weight: Tensor,
        scale: Tensor,
        bias: Tensor,
        convolution: dict[str, Any] | None = None,
        bits: int = 8,
        inputs: int = 1,
        spikes: bool = True,
    ) -> None:
        super().__init__(scale, bias)
        self.register_buffer("weight", weight)  # [C_out, ...] int8
        self.convolution = convolution  # stride, padding, dilation, groups; None: vectors
        self.bits = bits
        self.inputs = inputs  # largest input, in spikes
        self.spikes = spikes  # False: it meets pixels, or currents that are no whole numbers

    def sums(self, x: Tensor) -> Tensor:
        """Whole inputs to whole sums, exact while `largest_sum` is below 2^24."""
        weight = self.weight.to(x.dtype)
        if self.convolution is None:
            return nn.functional.linear(x, weight)
        return nn.functional.conv2d(x, weight, **self.convolution)

    def largest_sum(self) -> int:
        """Bound on a sum of spikes, and on all that is added up on the way to it."""
        per_channel = self.weight.to(torch.int64).abs().flatten(1).sum(1)
        return int(per_channel.max()) * self.inputs

    def forward(self, x: Tensor) -> Tensor:
        scale, bias = self.along_channels(x)
        return self.sums(x).mul_(scale).add_(bias)


GEOMETRY = ("stride", "padding", "dilation", "groups")


def fold(
    matrix: nn.Conv2d | nn.Linear,
    norm: nn.BatchNorm2d | None = None,
    window: int = 1,
    spikes: bool = True,
) -> IntegerMatrix:
    """A quantised matrix with the batch norm behind it and the mean over a window before it."""
    weight, scale = integer_weights(matrix)
    bias = torch.zeros_like(scale) if matrix.bias is None else matrix.bias.detach().clone()
    if norm is not None:
        factor, shift = at_rest(norm)
        scale, bias = scale * factor, bias * factor + shift
    convolution = None
    if isinstance(matrix, nn.Conv2d):
        if matrix.padding_mode != "zeros":
            raise SpecError(f"{matrix}: only padding with zeros can be deployed")
        convolution = {name: getattr(matrix, name) for name in GEOMETRY}
    bits = quantizer_of(matrix).rounding.bits
    return IntegerMatrix(weight, scale / window**2, bias, convolution, bits, window**2, spikes)


def at_rest(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Factor and shift [C] of a batch norm with its running statistics."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise SpecError("batch norm without running statistics: it cannot be deployed")
    factor = (variance + norm.eps).rsqrt()
    if norm.affine:
        factor = factor * norm.weight.detach()
    shift = -mean * factor
    return factor, shift + norm.bias.detach() if norm.affine else shift


def deployed(network: Network) -> Network:
    """The network in evaluation with whole weights; the one given is left as it is."""
    twin = copy.deepcopy(network).eval().requires_grad_(False)
    for block in twin.blocks().values():
        _fold(block, matrix_of(block))
    for parent in list(twin.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, BatchNormLIF):
                setattr(parent, name, nn.Sequential(Affine(*at_rest(norm)), norm.lif))
            elif isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, Affine(*at_rest(norm)))
    return twin


def _fold(block: nn.Module, matrix: nn.Conv2d | nn.Linear) -> None:
    """A block's matrix becomes integers, the batch norm right behind it nothing.

    An average pooling in front becomes a sum, so that the matrix meets whole numbers.
    """
    parts = dict(block.named_children())
    names = list(parts)
    at = list(parts.values()).index(matrix)
    front = list(parts.values())[:at]
    behind = parts[names[at + 1]] if at + 1 < len(names) else None
    norm = behind if isinstance(behind, nn.BatchNorm2d) else None
    window, spikes = (
        pooled_in_front(block, matrix),
        any(isinstance(m, LIF | BatchNormLIF) for m in front),
    )
    setattr(block, names[at], fold(matrix, norm, window, spikes))
    if norm is not None:
        setattr(block, names[at + 1], nn.Identity())
    for name, pool in zip(names, front, strict=False):
        if isinstance(pool, nn.AvgPool2d):
            setattr(block, name, summing(pool))


def summing(pool: nn.AvgPool2d) -> nn.AvgPool2d:
    """The pooling without its division."""
    if pool.ceil_mode or not pool.count_include_pad or pool.divisor_override is not None:
        raise SpecError(f"{pool}: only means over whole windows can be deployed")
    return nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, divisor_override=1)


def integer_matrices(twin: nn.Module) -> dict[str, IntegerMatrix]:
    """Every matrix of a deployed network, by the name of its module."""
    return {n: m for n, m in twin.named_modules() if isinstance(m, IntegerMatrix)}


def quantize_after(network: Network, roundings: Mapping[str, Rounding]) -> Network:
    """A copy of a trained network, its blocks' matrices rounded as given by name.

    Blocks that are not named keep their rounding. Raises SpecError for an unknown name, and for
    steps that would have to be learned.
    """
    copied = copy.deepcopy(network)
    blocks = copied.blocks()
    for name, rounding in roundings.items():
        if name not in blocks:
            raise SpecError(f"no block {name!r} to round{did_you_mean(name, blocks)}")
        if rounding.step_size == "learned":
            raise SpecError(f"block {name!r}: learned steps need training, not only rounding")
        quantize(matrix_of(blocks[name]), rounding)
    return copied


def save_deployed(twin: Network, path: Path) -> None:
    """A deployed network as safetensors, written beside its place and renamed into it."""
    write(twin.state_dict(), path, FORMAT)


def load_deployed(network: Network, path: Path) -> Network:
    """The deployed twin of an untrained network of the same architecture, its numbers from a file.

    Raises DataError naming the file and the tensor that is missing, unknown, of another shape or
    type, not finite, or no integer of so many bits.
    """
    twin = deployed(network)
    tensors = _read(path)
    _demand_fitting(twin, tensors, path)
    twin.load_state_dict(tensors)
    return twin


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            found, metadata = {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118
    except Exception as error:  # safetensors raises several unrelated types
        raise DataError(f"{path}: not a safetensors file ({error})") from error
    if metadata != FORMAT:
        raise DataError(f"{path}: format {metadata}, must be {FORMAT}")
    return found


def _demand_fitting(twin: Network, tensors: Mapping[str, Tensor], path: Path) -> None:
    expected = twin.state_dict()
    if odd := set(expected) ^ set(tensors):
        raise DataError(f"{path}: of another architecture, differs in {sorted(odd)}")
    for name, own in expected.items():
        said, found = f"{path}: {name}", tensors[name]
        if (found.shape, found.dtype) != (own.shape, own.dtype):
            raise DataError(
                f"{said} is {found.dtype} {tuple(found.shape)}, must be "
                f"{own.dtype} {tuple(own.shape)}"
            )
        if not torch.isfinite(found).all():
            raise DataError(f"{said} holds numbers that are not finite")
    for name, matrix in integer_matrices(twin).items():
        largest = int(tensors[f"{name}.weight"].to(torch.int64).abs().max())
        if largest > (limit := 2 ** (matrix.bits - 1) - 1):
            raise DataError(f"{path}: {name}.weight reaches {largest}, must be {limit} at most")
