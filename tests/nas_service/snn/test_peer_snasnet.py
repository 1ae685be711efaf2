"""SpikingJelly's SNASNet with the same matrix and the same weights, forward and backward cells."""

import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize

from nas_service.snn.network import Network, lif_layers
from nas_service.snn.neurons import Neuron
from nas_service.snn.quantization import matrix_of
from nas_service.snn.training import firing_rate
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.operations import PRESETS
from nas_service.spaces.task import Task

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    peer = pytest.importorskip("spikingjelly.activation_based.model.snas_net")
    from spikingjelly.activation_based import functional

DIGITS = PRESETS["snasnet5"]
MATRICES = {
    "forward": "0232 0043 0002 0000",
    "forward, one path": "0300 0010 0003 0000",
    "published, CIFAR-10": "0303 0030 2002 0200",
    "published, CIFAR-100": "0302 0030 3003 0000",
    "back into every node": "0031 3000 0200 0410",
    "loop of skips": "0103 0010 1003 0000",
}
NIGHTLY = ("forward", "published, CIFAR-100")  # others have their operations and modes
NAMES = [pytest.param(n, marks=pytest.mark.nightly if n in NIGHTLY else ()) for n in MATRICES]
T, BATCH, SIDE = 3, 3, 8  # of the images: a quarter of its 32 pixels a side, for speed


def reference(text, mode):
    rows = [[int(digit) for digit in row] for row in text.split()]
    args = SimpleNamespace(
        timestep=T, dataset="cifar100", second_avgpooling=8, celltype=mode, threshold=1.0, tau=4 / 3
    )
    network = peer.SNASNet(args, torch.tensor(rows))
    network.classifier[0].p = 0.0
    network.resdownsample2 = nn.AvgPool2d(SIDE // 4)  # the classifier reads 2 x 2 pixels as before
    return network


def ours(text):
    cell = Cell.from_text(text, DIGITS)
    a = Architecture((cell, cell), 128, SIDE // 4, 1024, T, 8)
    task = Task(3, SIDE, 100)
    neuron = Neuron(fires_at_threshold=True)
    return Network(a, task, votes=5, neuron=neuron, norm_each_step=True, momentum=0.1)


def pairs(network, other):
    """(our module, theirs) for every module with weights."""
    yield network.stem[0], other.stem[0]
    yield network.stem[1], other.stem[1]
    for own, yours in zip(network.cells, (other.cell1, other.cell2), strict=True):
        for wire in own.ordered_edges:
            low, high = sorted((wire.source, wire.target))
            if not wire.operation.weighted:
                continue
            if wire.backward:
                at = [(1, 0), (2, 0), (3, 0), (2, 1), (3, 1), (3, 2)].index((high, low))
                block = yours.cell_architecture_back[at]
            else:
                at = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)].index((low, high))
                block = yours.cell_architecture[at]
            edge = own.edges[f"edge{wire.name}"]
            yield from ((edge[1], block[1]), (edge[2], block[2]))
    reduction = dict(network.body.named_children())["reduction0"]
    yield from zip(weighted(reduction), weighted(other.downconv1), strict=True)
    yield next(weighted(network.hidden)), other.last_act[0]
    linear = [m for m in other.classifier if isinstance(m, nn.Linear)]
    yield matrix_of(network.hidden), linear[0]
    yield matrix_of(network.readout), linear[1]


def weighted(block):
    return (m for m in block if isinstance(m, nn.BatchNorm2d | nn.Conv2d))


def twins(text, mode, seed=0):
    """Both networks with the same weights, which are whole steps of our grids, and alive."""
    torch.manual_seed(seed)
    network, other = ours(text), reference(text, mode)
    with torch.no_grad():
        for own, yours in pairs(network, other):
            if isinstance(own, nn.BatchNorm2d):
                own.weight.uniform_(1.0, 2.0)
                own.bias.uniform_(0.0, 0.6)
                yours.load_state_dict(own.state_dict())
            else:
                if isinstance(own, nn.Linear):
                    own.parametrizations.weight.original.mul_(3)
                yours.weight.copy_(own.weight)
                if own.bias is not None:
                    yours.bias.copy_(own.bias)
    return network, other


def exact(network, other):
    """The same two with our weights free of their rounding, which is no function of doubles."""
    for block in network.blocks().values():
        parametrize.remove_parametrizations(matrix_of(block), "weight", leave_parametrized=True)
    return network, other


def images(seed=1):
    return torch.randn(BATCH, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed))


def scores(other, x):
    functional.reset_net(other)
    return other(x)


@pytest.mark.parametrize("name", NAMES)
def test_scores_and_gradients_in_training(name):
    text = MATRICES[name]
    mode = "backward" if Cell.from_text(text, DIGITS).recurrent else "forward"
    network, other = (n.train().double() for n in exact(*twins(text, mode)))
    result, expected = network(images().double()), scores(other, images().double())
    assert expected.std() > 1e-3
    assert torch.allclose(result, expected, atol=1e-9)
    weights = torch.randn(result.shape, generator=torch.Generator().manual_seed(2))
    (result * weights).sum().backward()
    (expected * weights).sum().backward()
    checked = 0
    for own, yours in pairs(network, other):
        a, b = own.weight.grad, yours.weight.grad
        assert b.abs().max() > 0
        assert (a - b).norm() < 1e-6 * b.norm()
        checked += 1
    assert checked >= 10


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_scores_in_evaluation_of_networks_that_fire(name):
    text = MATRICES[name]
    mode = "backward" if Cell.from_text(text, DIGITS).recurrent else "forward"
    network, other = (n.double() for n in exact(*twins(text, mode)))
    for seed in range(3):
        network.train()(images(seed).double())
    for own, yours in pairs(network, other):
        if isinstance(own, nn.BatchNorm2d):
            yours.load_state_dict(own.state_dict())
    x = images().double()
    result, expected = network.eval()(x), scores(other.eval(), x)
    assert 0.01 < firing_rate(network, x) < 0.9
    assert expected.std() > 1e-3
    assert torch.allclose(result, expected, atol=1e-9)
    assert torch.equal(result.argmax(1), expected.argmax(1))
    assert len(lif_layers(network)) >= 5
