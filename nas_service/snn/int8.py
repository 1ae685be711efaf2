"""Deployed networks scored with 8-bit products, which give exactly the same sums.

oneDNN multiplies unsigned by signed bytes and adds in int32. Its operator is private to torch, so
it is tried before its first use; without it a network is scored in float32. Depthwise convolutions
and linear layers would not be faster and stay as they are.
"""

import copy
import functools
import logging
from typing import Any

import torch
from torch import Tensor, nn

from nas_service.snn.deployed import IntegerMatrix, integer_matrices
from nas_service.snn.network import Network

log = logging.getLogger(__name__)

# Processors without VNNI add pairs of products in 16 bits, which holds 2 * 127 * 127.
LARGEST_INPUT = 127


class Int8Convolution(nn.Module):
    """A deployed convolution of spikes that computes its sums with 8-bit products."""

    def __init__(self, matrix: IntegerMatrix) -> None:
        super().__init__()
        if matrix.convolution is None or matrix.convolution["groups"] > 1:
            raise ValueError("only convolutions with groups = 1 run with 8-bit products")
        self.matrix = matrix
        c = matrix.convolution
        self.geometry = [list(c[name]) for name in ("stride", "padding", "dilation")]
        ones, channels = torch.ones_like(matrix.scale), len(matrix.scale)
        self.steps = ones, torch.zeros(channels, dtype=torch.int32)
        self.packed: Any = torch.ops.onednn.qconv_prepack(
            matrix.weight, ones, 1.0, 0, *self.geometry, 1, None
        )

    def sums(self, x: Tensor) -> Tensor:
        """Sums [T*B, C_out, H, W], float32 integers, of integers 0 .. 127 [T*B, C_in, H, W]."""
        sums: Tensor = torch.ops.onednn.qconv2d_pointwise(
            x.to(torch.uint8), 1.0, 0, self.packed, *self.steps, None, *self.geometry, 1, 1.0, 0,
            torch.float32, "none", [], "",
        )  # fmt: skip
        return sums

    def forward(self, x: Tensor) -> Tensor:
        """The currents [T*B, C_out, H, W] of spikes [T*B, C_in, H, W]."""
        scale, bias = self.matrix.along_channels(x)
        return self.sums(x).mul_(scale).add_(bias)


def in_int8(twin: Network) -> Network:
    """A copy of a deployed network whose convolutions run with 8-bit products on the CPU.

    Args:
        twin: As `deployed` returned it.

    Returns:
        The copy; the network itself where this machine cannot do so, which the log explains.
    """
    if obstacle := reason_against():
        log.info("scored in float32: %s", obstacle)
        return twin
    copied = copy.deepcopy(twin)
    for name, matrix in integer_matrices(copied).items():
        if suits(matrix):
            parent, _, own = name.rpartition(".")
            setattr(copied.get_submodule(parent), own, Int8Convolution(matrix))
    return copied


def suits(matrix: IntegerMatrix) -> bool:
    """True for a convolution of spikes with groups = 1 on the CPU."""
    c = matrix.convolution
    dense = c is not None and c["groups"] == 1 and matrix.weight.device.type == "cpu"
    return dense and matrix.spikes and matrix.inputs <= LARGEST_INPUT


@functools.cache
def reason_against() -> str:
    """Why 8-bit products cannot be used on this machine; empty where they can."""
    try:
        same = all(_same(*shape) for shape in ((16, 3, 1), (64, 3, 1), (64, 1, 127), (20, 5, 1)))
    except (AttributeError, RuntimeError) as error:  # torch has no such operator, or a changed one
        return f"no 8-bit convolution in torch {torch.__version__} ({error})"
    return "" if same else "8-bit convolutions are not exact here"


def _same(channels: int, kernel: int, largest: int) -> bool:
    """True where a convolution of extreme values (weights +-127 or 0) gives exact sums."""
    generator = torch.Generator().manual_seed(channels)
    weight = torch.randint(-1, 2, (32, channels, kernel, kernel), generator=generator) * 127
    weight[0] = 127
    x = (torch.rand(3, channels, 9, 9, generator=generator) < 0.7).float() * largest
    x[0] = largest
    geometry = {"stride": (1, 1), "padding": (kernel // 2,) * 2, "dilation": (1, 1), "groups": 1}
    matrix = IntegerMatrix(weight.to(torch.int8), torch.ones(32), torch.zeros(32), geometry)
    convolution = Int8Convolution(matrix)
    layouts = (x, x.to(memory_format=torch.channels_last))
    return all(torch.equal(convolution.sums(y), matrix.sums(y)) for y in layouts)
