"""A trained network as it is deployed: integer weights, a scale and a bias per output channel.

Nothing is rounded again: the batch norm after a matrix becomes a factor and a shift of its channel.
A separate batch norm, where branches meet, becomes a scale and a bias of the currents. Integer
weights are multiplied by spikes, so sums are integers below 2^24, which float32 adds exactly: they
do not depend on batch, layout or threads. The stem multiplies its integers by unrounded pixels.
"""

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from nas_service.errors import DataError, SpecError, did_you_mean
from nas_service.snn.checkpoint import demand_fitting, write
from nas_service.snn.network import Network
from nas_service.snn.neurons import LIF, BatchNormLIF
from nas_service.snn.quantization import (
    Rounding,
    integer_weights,
    matrix_of,
    quantize,
    quantizer_of,
)
from nas_service.snn.trace import pooling_before

FORMAT = {"format": "nas-deployed-1"}
EXACT = 2**24  # float32 holds all integers up to this one


class Affine(nn.Module):
    """Currents [T*B, C, ...] times a scale plus a bias of their channel: a folded batch norm.

    Product and sum are rounded separately: a fused operation would give results that depend on
    how a layout is vectorised.
    """

    scale: Tensor
    bias: Tensor

    def __init__(self, scale: Tensor, bias: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", scale)  # [C]
        self.register_buffer("bias", bias)  # [C]

    def forward(self, x: Tensor) -> Tensor:
        """The scaled and shifted currents [T*B, C, ...]."""
        scale, bias = self.along_channels(x)
        return (x * scale).add_(bias)

    def along_channels(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Scale and bias [C, 1, 1] for maps, [C] for vectors."""
        shape = (-1, *[1] * (x.dim() - 2))
        return self.scale.view(shape), self.bias.view(shape)


class IntegerMatrix(Affine):
    """Currents [T*B, C_out, ...] from spikes or their sums over a window, by integer sums.

    Args:
        weight: Integers [C_out, ...], int8.
        scale: [C_out]: the current of one integer step.
        bias: [C_out]: added to the currents.
        convolution: stride, padding, dilation and groups; None for a linear layer.
        bits: Bits of a weight.
        inputs: The largest input, in spikes.
        spikes: False where inputs are pixels or currents, which are no integers.
    """

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
        self.register_buffer("weight", weight)
        self.convolution = convolution
        self.bits = bits
        self.inputs = inputs
        self.spikes = spikes

    def sums(self, x: Tensor) -> Tensor:
        """Integer sums of integer inputs, exact while `largest_sum` is below 2^24."""
        weight = self.weight.to(x.dtype)
        if self.convolution is None:
            return nn.functional.linear(x, weight)
        return nn.functional.conv2d(x, weight, **self.convolution)

    def largest_sum(self) -> int:
        """Upper bound of a sum over spikes and of all its partial sums."""
        per_channel = self.weight.to(torch.int64).abs().flatten(1).sum(1)
        return int(per_channel.max()) * self.inputs

    def forward(self, x: Tensor) -> Tensor:
        """The currents [T*B, C_out, ...] of inputs [T*B, C_in, ...]."""
        scale, bias = self.along_channels(x)
        return self.sums(x).mul_(scale).add_(bias)


GEOMETRY = ("stride", "padding", "dilation", "groups")


def fold(
    matrix: nn.Conv2d | nn.Linear,
    norm: nn.BatchNorm2d | None = None,
    window: int = 1,
    spikes: bool = True,
) -> IntegerMatrix:
    """Folds the batch norm after a quantized matrix, and the mean before it, into the matrix.

    Args:
        matrix: The matrix.
        norm: The batch norm right after it, if there is one.
        window: Side of the average pooling right before it; 1 for none. The deployed matrix reads
            sums over this window.
        spikes: False where the inputs are no spikes.

    Returns:
        The matrix in integers, with its scale and bias.

    Raises:
        SpecError: The matrix or its batch norm cannot be deployed.
    """
    weight, scale = integer_weights(matrix)
    bias = torch.zeros_like(scale) if matrix.bias is None else matrix.bias.detach().clone()
    if norm is not None:
        factor, shift = affine_of(norm)
        scale, bias = scale * factor, bias * factor + shift
    convolution = None
    if isinstance(matrix, nn.Conv2d):
        if matrix.padding_mode != "zeros":
            raise SpecError(f"{matrix}: only padding with zeros can be deployed")
        convolution = {name: getattr(matrix, name) for name in GEOMETRY}
    bits = quantizer_of(matrix).rounding.bits
    return IntegerMatrix(weight, scale / window**2, bias, convolution, bits, window**2, spikes)


def affine_of(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Factor and shift [C] of a batch norm with its running statistics.

    Raises:
        SpecError: It has no running statistics.
    """
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise SpecError("batch norm without running statistics: it cannot be deployed")
    factor = (variance + norm.eps).rsqrt()
    if norm.affine:
        factor = factor * norm.weight.detach()
    shift = -mean * factor
    return factor, shift + norm.bias.detach() if norm.affine else shift


def deployed(network: Network) -> Network:
    """A deployed copy of a trained network.

    Args:
        network: Left unchanged.

    Returns:
        The copy in evaluation mode, its weights integers.

    Raises:
        SpecError: A part of the network cannot be deployed.
    """
    twin = copy.deepcopy(network).eval().requires_grad_(False)
    for block in twin.blocks().values():
        _fold(block, matrix_of(block))
    for parent in list(twin.modules()):
        for name, norm in list(parent.named_children()):
            if isinstance(norm, BatchNormLIF):
                setattr(parent, name, nn.Sequential(Affine(*affine_of(norm)), norm.lif))
            elif isinstance(norm, nn.BatchNorm2d):
                setattr(parent, name, Affine(*affine_of(norm)))
    return twin


def _fold(block: nn.Module, matrix: nn.Conv2d | nn.Linear) -> None:
    """Replaces a block's matrix by its integers and the batch norm right after it by nothing.

    An average pooling before the matrix becomes a sum, so that its inputs are integers.
    """
    parts = dict(block.named_children())
    names = list(parts)
    position = list(parts.values()).index(matrix)
    before = list(parts.values())[:position]
    after = parts[names[position + 1]] if position + 1 < len(names) else None
    norm = after if isinstance(after, nn.BatchNorm2d) else None
    spikes = any(isinstance(m, LIF | BatchNormLIF) for m in before)
    folded = fold(matrix, norm, pooling_before(block, matrix), spikes)
    setattr(block, names[position], folded)
    if norm is not None:
        setattr(block, names[position + 1], nn.Identity())
    for name, pool in zip(names, before, strict=False):
        if isinstance(pool, nn.AvgPool2d):
            setattr(block, name, summing(pool))


def summing(pool: nn.AvgPool2d) -> nn.AvgPool2d:
    """The pooling without its division: sums over its windows.

    Raises:
        SpecError: Its windows are not all of one size.
    """
    if pool.ceil_mode or not pool.count_include_pad or pool.divisor_override is not None:
        raise SpecError(f"{pool}: only means over complete windows can be deployed")
    return nn.AvgPool2d(pool.kernel_size, pool.stride, pool.padding, divisor_override=1)


def integer_matrices(twin: nn.Module) -> dict[str, IntegerMatrix]:
    """All matrices of a deployed network, by the name of their module."""
    return {n: m for n, m in twin.named_modules() if isinstance(m, IntegerMatrix)}


def quantize_after(network: Network, roundings: Mapping[str, Rounding]) -> Network:
    """A copy of a trained network whose weights are quantized anew.

    Args:
        network: Left unchanged.
        roundings: By the name of a block; the other blocks keep theirs.

    Returns:
        The copy.

    Raises:
        SpecError: A block is unknown, or a rounding needs training.
    """
    copied = copy.deepcopy(network)
    blocks = copied.blocks()
    for name, rounding in roundings.items():
        if name not in blocks:
            raise SpecError(f"no block {name!r} to quantize{did_you_mean(name, blocks)}")
        if rounding.step_size == "learned":
            raise SpecError(f"block {name!r}: step_size = 'learned' needs a training")
        quantize(matrix_of(blocks[name]), rounding)
    return copied


def save_deployed(twin: Network, path: Path) -> None:
    """Writes a deployed network as safetensors.

    Args:
        twin: A network that `deployed` returned.
        path: The file; its folder is made where it is missing.
    """
    write(twin.state_dict(), path, FORMAT)


def load_deployed(network: Network, path: Path) -> Network:
    """Reads a deployed network.

    Args:
        network: An untrained network of the same architecture; left unchanged.
        path: A file that `save_deployed` wrote.

    Returns:
        A copy of the network with the file's tensors.

    Raises:
        DataError: A tensor is missing, unknown, of another shape or type, not finite, or needs
            more bits than the architecture has.
    """
    twin = deployed(network)
    tensors = _read(path)
    _demand_integers(twin, tensors, path)
    twin.load_state_dict(tensors)
    return twin


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  no mapping
            metadata = file.metadata()
    except Exception as error:  # safetensors raises several unrelated types
        raise DataError(f"{path}: not a safetensors file: missing, cut or damaged") from error
    if metadata != FORMAT:
        raise DataError(f"{path}: format {metadata}, must be {FORMAT}")
    return tensors


def _demand_integers(twin: Network, tensors: Mapping[str, Tensor], path: Path) -> None:
    try:
        demand_fitting(tensors, twin.state_dict())
    except ValueError as error:
        raise DataError(f"{path}: of another architecture: {error}") from None
    for name, matrix in integer_matrices(twin).items():
        largest = int(tensors[f"{name}.weight"].to(torch.int64).abs().max())
        if largest > (limit := 2 ** (matrix.bits - 1) - 1):
            raise DataError(f"{path}: {name}.weight reaches {largest}, must be {limit} at most")
