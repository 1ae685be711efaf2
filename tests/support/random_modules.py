"""The networks of random_networks as torch modules with Norse's neurons."""

import norse.torch as norse
import torch
from torch import nn


class RandomModule(nn.Module):
    """One time step of a network; stage i is `stages.i`, its matrix `stages.i.matrix`.

    The matrices of a recurrent stage are those of Norse's cell `stages.i.neurons`.
    """

    def __init__(self, network):
        super().__init__()
        self.stages = nn.ModuleList()
        size = network.shape
        for stage in network.stages:
            self.stages.append(_Stage(stage, size))
            size = self.stages[-1].size

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return x


class _Stage(nn.Module):
    def __init__(self, stage, size):
        super().__init__()
        self.kind = stage.kind
        self.size = (stage.outputs,)
        if stage.kind == "linear":
            self.matrix = nn.Linear(_product(size), stage.outputs, bias=False)
        elif stage.kind != "pool" and stage.kind != "recurrent":
            w = stage.window
            sides = w.sides, w.stride, w.padding, w.dilation
            self.matrix = nn.Conv2d(size[0], stage.outputs, *sides, stage.groups, bias=False)
            self.size = (stage.outputs, *w.positions(size[1:]))
        if stage.kind == "recurrent":
            self.neurons = norse.LIFRecurrentCell(_product(size), stage.outputs)
        elif stage.kind == "pool":
            self.size = size
        else:
            self.neurons = norse.LIFBoxCell()
        if stage.pooling is not None:
            w = stage.pooling
            divisor = None if stage.mean else 1
            self.pooling = nn.AvgPool2d(w.sides, w.stride, w.padding, divisor_override=divisor)
            if stage.kind != "fork":
                self.size = (self.size[0], *w.positions(self.size[1:]))

    def forward(self, x):
        y = x.flatten(1) if self.kind in ("linear", "recurrent") else x
        if hasattr(self, "matrix"):
            y = self.matrix(y)
        if hasattr(self, "neurons"):
            y = self.neurons(y)[0]
        if self.kind == "fork":
            return y + self.pooling(x)
        if hasattr(self, "pooling"):
            y = self.pooling(y)
        return x + y if self.kind == "skip" else y


def _product(size):
    return int(torch.Size(size).numel())


def module(network):
    """The torch module of a network, with weights at which neurons fire."""
    built = RandomModule(network)
    for parameter in built.parameters():
        parameter.data.uniform_(-10, 30)
    return built
