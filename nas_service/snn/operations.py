"""Operations as modules: from the table of a space to what runs on an edge."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from nas_service.errors import pick
from nas_service.snn.neurons import LIF, SNASNET, BatchNormLIF, Neuron, SpikeConv2d
from nas_service.snn.neurons.scan import in_cpp
from nas_service.snn.quantization import Rounding, quantize
from nas_service.spaces.operations import Operation

BN_MOMENTUM = 0.3  # with the usual 0.1 the running statistics lag a short training by epochs


class StepNorm(nn.BatchNorm2d):
    """A batch norm with the statistics of each time step by itself, over folded time [T*B, ...].

    SNASNet trains so, step by step; folded statistics see all steps together.
    """

    def __init__(self, channels: int, time_steps: int, momentum: float) -> None:
        super().__init__(channels, momentum=momentum)
        self.time_steps = time_steps

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        return torch.cat([super(StepNorm, self).forward(part) for part in x.chunk(self.time_steps)])


class SmoothPool2d(nn.AvgPool2d):
    """nn.AvgPool2d with stride 1; beside C++ a depthwise convolution, several times faster."""

    def __init__(self, kernel: int) -> None:
        super().__init__(kernel, stride=1, padding=kernel // 2)
        self.kernel = kernel

    def forward(self, x: Tensor) -> Tensor:
        if x.dtype != torch.float32 or not in_cpp(x):
            return super().forward(x)
        channels, k = x.shape[1], self.kernel
        weight = x.new_full((channels, 1, k, k), 1 / k**2)
        return nn.functional.conv2d(x, weight, padding=k // 2, groups=channels)


@dataclass(frozen=True)
class Style:
    """What all modules of a network share."""

    time_steps: int
    rounding: Rounding
    neuron: Neuron = SNASNET
    norm_each_step: bool = False
    momentum: float = BN_MOMENTUM

    def lif(self, threshold: float | None = None) -> LIF:
        """A layer of neurons, with a threshold of its own if one is given."""
        own = self.neuron.threshold if threshold is None else threshold
        return LIF(self.time_steps, replace(self.neuron, threshold=own))

    def norm(self, channels: int) -> nn.BatchNorm2d:
        if self.norm_each_step:
            return StepNorm(channels, self.time_steps, self.momentum)
        return nn.BatchNorm2d(channels, momentum=self.momentum)

    def norm_lif(self, channels: int) -> list[nn.Module]:
        """A batch norm and neurons right behind it, in one where time is folded."""
        if self.norm_each_step:
            return [self.norm(channels), self.lif()]
        return [BatchNormLIF(channels, self.time_steps, self.neuron, self.momentum)]

    def with_bits(self, bits: int) -> "Style":
        return replace(self, rounding=replace(self.rounding, bits=bits))


def conv_bn(
    c_in: int, c_out: int, kernel: int, style: Style, groups: int = 1, stride: int = 1
) -> list[nn.Module]:
    """A quantised convolution that keeps the size of its map, and its batch norm."""
    conv = SpikeConv2d(c_in, c_out, kernel, stride, padding=kernel // 2, groups=groups, bias=False)
    return [quantize(conv, style.rounding), style.norm(c_out)]


def _conv(operation: Operation, channels: int, style: Style) -> nn.Module:
    lif = style.lif(operation.threshold)
    return nn.Sequential(lif, *conv_bn(channels, channels, operation.kernel, style))


def _separable(operation: Operation, channels: int, style: Style) -> nn.Module:
    depthwise = conv_bn(channels, channels, operation.kernel, style, groups=channels)
    pointwise = conv_bn(channels, channels, 1, style)
    stages = {
        "depthwise": nn.Sequential(style.lif(operation.threshold), *depthwise),
        "pointwise": nn.Sequential(style.lif(operation.threshold), *pointwise),
    }
    return nn.Sequential(OrderedDict(stages))


def _skip(*_: object) -> nn.Module:
    return nn.Identity()


def _avgpool(operation: Operation, *_: object) -> nn.Module:
    return SmoothPool2d(operation.kernel)


def _maxpool(operation: Operation, *_: object) -> nn.Module:
    return nn.MaxPool2d(operation.kernel, stride=1, padding=operation.kernel // 2)


BUILDERS: dict[str, Callable[[Operation, int, Style], nn.Module]] = {
    "skip": _skip,
    "conv": _conv,
    "separable": _separable,
    "avgpool": _avgpool,
    "maxpool": _maxpool,
}


def build(operation: Operation, channels: int, style: Style) -> nn.Module:
    """The module of one edge; every operation keeps the shape [T*B, C, H, W]."""
    return pick(BUILDERS, operation.kind, "kind of operation")(operation, channels, style)
