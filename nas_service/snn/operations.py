"""Operations as modules: from the table of a space to what runs on an edge."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from torch import nn

from nas_service.errors import pick
from nas_service.snn.neurons import LIF, SNASNET, Neuron
from nas_service.snn.quantization import Rounding, quantize
from nas_service.spaces.operations import Operation

BN_MOMENTUM = 0.3  # with the usual 0.1 the running statistics lag a short training by epochs


@dataclass(frozen=True)
class Style:
    """What all modules of a network share."""

    time_steps: int
    rounding: Rounding
    neuron: Neuron = SNASNET

    def lif(self, threshold: float | None = None) -> LIF:
        """A layer of neurons, with a threshold of its own if one is given."""
        own = self.neuron.threshold if threshold is None else threshold
        return LIF(self.time_steps, replace(self.neuron, threshold=own))


def conv_bn(c_in: int, c_out: int, kernel: int, style: Style) -> list[nn.Module]:
    """A quantised convolution that keeps the size of its map, and its batch norm."""
    conv = nn.Conv2d(c_in, c_out, kernel, padding=kernel // 2, bias=False)
    return [quantize(conv, style.rounding), nn.BatchNorm2d(c_out, momentum=BN_MOMENTUM)]


def _conv(operation: Operation, channels: int, style: Style) -> nn.Module:
    lif = style.lif(operation.threshold)
    return nn.Sequential(lif, *conv_bn(channels, channels, operation.kernel, style))


def _skip(*_: object) -> nn.Module:
    return nn.Identity()


def _avgpool(operation: Operation, *_: object) -> nn.Module:
    return nn.AvgPool2d(operation.kernel, stride=1, padding=operation.kernel // 2)


def _maxpool(operation: Operation, *_: object) -> nn.Module:
    return nn.MaxPool2d(operation.kernel, stride=1, padding=operation.kernel // 2)


BUILDERS: dict[str, Callable[[Operation, int, Style], nn.Module]] = {
    "skip": _skip,
    "conv": _conv,
    "avgpool": _avgpool,
    "maxpool": _maxpool,
}


def build(operation: Operation, channels: int, style: Style) -> nn.Module:
    """The module of one edge; every operation keeps the shape [T*B, C, H, W]."""
    return pick(BUILDERS, operation.kind, "kind of operation")(operation, channels, style)
