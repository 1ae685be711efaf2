"""Maps lie as the fast convolutions want them, and fast poolings are those of torch."""

import pytest
import torch
from torch import nn

from nas_service.snn.network import Network, lif_layers
from nas_service.snn.operations import SmoothPool2d
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.task import Task

EVERY_KIND = Cell(("conv3x3", "avgpool3x3", "conv3x3", "sepconv3x3", "maxpool3x3", "skip"))
THROUGH = Cell(("skip", "zeroize", "zeroize", "skip", "zeroize", "conv3x3"))


@pytest.mark.parametrize("norm_each_step", [False, True])
@pytest.mark.parametrize("cell", [EVERY_KIND, THROUGH], ids=["every kind", "through"])
def test_every_map_of_a_network_is_channels_last(cell, norm_each_step):
    torch.manual_seed(0)
    a = Architecture((cell, cell), 6, 2, 32, 3, 8)
    network = Network(a, Task(3, 16, 10), norm_each_step=norm_each_step)
    network = network.to(memory_format=torch.channels_last)
    seen = []

    def look(module, inputs, output):
        if output.dim() == 4:
            assert output.is_contiguous(memory_format=torch.channels_last), type(module).__name__
            seen.append(output)

    for module in network.modules():
        module.register_forward_hook(look)
    network(torch.rand(4, 3, 16, 16))
    assert len(seen) > len(lif_layers(network)) > 4


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("last", [True, False])
def test_smooth_pool_is_an_average_pool(kernel, last):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 5, 7, 6, generator=generator)
    x = x.contiguous(memory_format=torch.channels_last) if last else x
    x.requires_grad_()
    pool = SmoothPool2d(kernel)
    weight = torch.randn(3, 5, 7, 6, generator=generator)
    results = []
    for y in (pool(x), nn.AvgPool2d.forward(pool, x)):
        (gradient,) = torch.autograd.grad(y, x, weight)
        results.append((y, gradient))
    for result, right in zip(*results, strict=True):
        torch.testing.assert_close(result, right)
    assert results[0][0].is_contiguous(memory_format=torch.channels_last) == last


def test_smooth_pool_of_doubles_is_torchs_own():
    x = torch.randn(2, 3, 5, 5, dtype=torch.float64)
    assert torch.equal(SmoothPool2d(3)(x), nn.functional.avg_pool2d(x, 3, 1, 1))
