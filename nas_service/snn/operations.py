"""The module that computes an operation on an edge. T time steps, B batch, C channels."""

from collections import OrderedDict
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from nas_service.snn.neurons import LIF, SNASNET, BatchNormLIF, Neuron, SpikeConv2d
from nas_service.snn.neurons.scan import in_cpp
from nas_service.snn.quantization import Rounding, quantize
from nas_service.spaces.operations import Matrix, Operation

BN_MOMENTUM = 0.3  # with the usual 0.1, running statistics of a short training are epochs old


class StepNorm(nn.BatchNorm2d):
    """A batch norm of folded time [T*B, C, H, W] with separate statistics of each time step.

    This is how SNASNet trains; `nn.BatchNorm2d` computes statistics over all steps together.
    """

    def __init__(self, channels: int, time_steps: int, momentum: float) -> None:
        super().__init__(channels, momentum=momentum)
        self.time_steps = time_steps

    def forward(self, x: Tensor) -> Tensor:
        """The normalised currents, in training by the statistics of each step."""
        if not self.training:
            return super().forward(x)
        return torch.cat([super(StepNorm, self).forward(part) for part in x.chunk(self.time_steps)])


class SmoothPool2d(nn.AvgPool2d):
    """nn.AvgPool2d with stride 1.

    On a CPU it is a depthwise convolution, several times faster, where the C++ backend runs.
    """

    def __init__(self, kernel: int) -> None:
        super().__init__(kernel, stride=1, padding=kernel // 2)
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        """The means over the window, a map of the same size."""
        if x.dtype != torch.float32 or not in_cpp(x):
            return super().forward(x)
        channels, k = x.shape[1], self.kernel
        weight = x.new_full((channels, 1, k, k), 1 / k**2)
        return nn.functional.conv2d(x, weight, padding=k // 2, groups=channels)


@dataclass(frozen=True)
class Style:
    """Settings that all modules of a network share."""

    time_steps: int
    rounding: Rounding
    neuron: Neuron = SNASNET
    norm_each_step: bool = False
    momentum: float = BN_MOMENTUM

    def lif(self, threshold: float | None = None) -> LIF:
        """A layer of neurons, with its own threshold if one is given."""
        own = self.neuron.threshold if threshold is None else threshold
        return LIF(self.time_steps, replace(self.neuron, threshold=own))

    def norm(self, channels: int) -> nn.BatchNorm2d:
        """A batch norm of maps with these channels."""
        if self.norm_each_step:
            return StepNorm(channels, self.time_steps, self.momentum)
        return nn.BatchNorm2d(channels, momentum=self.momentum)

    def norm_lif(self, channels: int) -> list[nn.Module]:
        """A batch norm followed by neurons, as one module where time is folded."""
        if self.norm_each_step:
            return [self.norm(channels), self.lif()]
        return [BatchNormLIF(channels, self.time_steps, self.neuron, self.momentum)]

    def with_bits(self, bits: int) -> "Style":
        """The same settings with another number of weight bits."""
        return replace(self, rounding=replace(self.rounding, bits=bits))


def conv_bn(
    c_in: int,
    c_out: int,
    kernel: int,
    style: Style,
    groups: int = 1,
    stride: int = 1,
    dilation: int = 1,
) -> list[nn.Module]:
    """A quantized convolution and its batch norm; with stride 1 it keeps the size of its map.

    Args:
        c_in: Channels of the inputs.
        c_out: Channels of the outputs.
        kernel: Side of the window in inputs, odd.
        style: Settings of all modules.
        groups: Groups of channels that are convolved separately.
        stride: Distance in pixels between neighbouring windows.
        dilation: Distance in pixels between the inputs of a window.

    Returns:
        The convolution [N, C_in, H, W] to [N, C_out, H', W'] and the batch norm.
    """
    padding = dilation * (kernel // 2)
    conv = SpikeConv2d(
        c_in, c_out, kernel, stride, padding=padding, dilation=dilation, groups=groups, bias=False
    )
    return [quantize(conv, style.rounding), style.norm(c_out)]


def build(operation: Operation, channels: int, style: Style) -> nn.Module:
    """Makes the module of one edge.

    Args:
        operation: The operation.
        channels: Channels C of its maps.
        style: Settings of all modules.

    Returns:
        A module that keeps the shape [T*B, C, H, W].

    Raises:
        ValueError: The operation transmits nothing.
    """
    if operation.weighted:
        return _convolutions(operation, channels, style)
    if operation.pooling == "mean":
        return SmoothPool2d(operation.window)
    if operation.pooling == "max":
        return nn.MaxPool2d(operation.window, stride=1, padding=operation.window // 2)
    if operation.passes:
        return nn.Identity()
    raise ValueError(f"{operation}: an operation that transmits nothing has no module")


def _convolutions(operation: Operation, channels: int, style: Style) -> nn.Module:
    """LIF, convolution and batch norm for each matrix; several are named by their suffixes."""
    stages = {
        matrix.suffix.removeprefix("."): nn.Sequential(
            style.lif(operation.threshold), *_matrix(matrix, channels, style)
        )
        for matrix in operation.matrices
    }
    return stages[""] if "" in stages else nn.Sequential(OrderedDict(stages))


def _matrix(matrix: Matrix, channels: int, style: Style) -> list[nn.Module]:
    groups = channels if matrix.depthwise else 1
    return conv_bn(channels, channels, matrix.kernel, style, groups, dilation=matrix.dilation)
