"""Whole networks in evaluation: folded time against a loop that feeds one step at a time."""

import copy

import norse.torch as norse
import pytest
import torch
from torch import nn

from nas_service.snn.network import Network, lif_layers
from nas_service.snn.neurons import LIF, BatchNormLIF, Neuron, norse_parameters
from nas_service.snn.training import firing_rate
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGE_NAMES, Cell
from nas_service.spaces.task import Task

TASK = Task(1, 8, 10)
CELLS = {
    "mixed": (
        Cell(("conv3x3", "skip", "avgpool3x3", "conv1x1", "skip", "conv3x3")),
        Cell(("skip", "conv3x3", "skip", "zeroize", "conv1x1", "skip")),
    ),
    "pools": (
        Cell(("maxpool3x3", "conv5x5", "skip", "skip", "zeroize", "avgpool3x3")),
        Cell(("conv1x1", "skip", "maxpool3x3", "skip", "skip", "skip")),
    ),
    "skips": (Cell(("zeroize", "zeroize", "skip", *["zeroize"] * 3)),),
}


class OneStep(nn.Module):
    """Norse's cell with a memory, in the place of a folded layer."""

    def __init__(self):
        super().__init__()
        self.cell, self.state = norse.LIFBoxCell(norse_parameters(Neuron()), dt=1.0), None
        self.neuron = Neuron()

    def forward(self, x):
        z, self.state = self.cell(x, self.state)
        return z


def images(n, seed=0):
    return torch.randn(n, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def live(name, time_steps=3, bits=4, votes=1):
    """A network whose batch norms have seen data, so that it fires in evaluation."""
    torch.manual_seed(1)
    network = Network(Architecture(CELLS[name], 8, 2, 32, time_steps, bits), TASK, votes)
    with torch.no_grad():
        for seed in range(6):
            network.train()(images(32, seed + 10))
    assert 0.01 < firing_rate(network, images(32)) < 0.9
    return network.eval()


def one_step_at_a_time(network, x):
    """Scores [B, classes] as the mean over steps of a network that has never folded time."""
    twin = copy.deepcopy(network)
    for parent in list(twin.modules()):
        for key, child in parent.named_children():
            if isinstance(child, BatchNormLIF):
                norm = nn.BatchNorm2d(child.num_features).eval()
                norm.load_state_dict(child.state_dict())
                setattr(parent, key, nn.Sequential(norm, OneStep()))
            elif isinstance(child, LIF):
                setattr(parent, key, OneStep())
    assert lif_layers(twin) == []
    with torch.no_grad():
        steps = [twin.readout(twin.hidden(twin.body(twin.stem(x)))) for _ in range(twin.time_steps)]
    return torch.stack(steps).unflatten(-1, (-1, twin.votes)).mean((0, -1))


@pytest.mark.parametrize(
    ("name", "time_steps", "bits", "votes"),
    [("mixed", 3, 4, 1), ("mixed", 1, 8, 2), ("pools", 5, 2, 1), ("skips", 4, 8, 3)],
)
@torch.no_grad()
def test_folded_equals_one_step_at_a_time(name, time_steps, bits, votes):
    network, x = live(name, time_steps, bits, votes), images(32)
    folded, looped = network(x), one_step_at_a_time(network, x)
    assert folded.std() > 0.01
    assert torch.allclose(folded, looped, atol=1e-5)
    assert torch.equal(folded.argmax(1), looped.argmax(1))


@torch.no_grad()
def test_folded_equals_norse_loop():
    network, x = live("mixed"), images(32)
    folded = network(x)
    for lif in lif_layers(network):
        lif.forward = lif.forward_stepwise
    stepwise = network(x)
    assert folded.std() > 0.01
    assert torch.allclose(folded, stepwise, atol=1e-5)
    assert torch.equal(folded.argmax(1), stepwise.argmax(1))


@torch.no_grad()
def test_stem_once_equals_stem_at_every_step():
    network, x = live("mixed"), images(8)
    once = network.stem(x).repeat(3, 1, 1, 1)
    assert torch.allclose(once, network.stem(x.repeat(3, 1, 1, 1)), atol=1e-6)
    assert once.std() > 0.1


@torch.no_grad()
def test_images_are_independent():
    network, x = live("mixed"), images(6)
    alone = torch.cat([network(x[i : i + 1]) for i in range(6)])
    assert network(x).std() > 0.01
    assert torch.allclose(network(x), alone, atol=1e-5)


@torch.no_grad()
def test_votes_are_averaged_per_class():
    """Twenty outputs, two votes a class: class c is the mean of outputs 2c and 2c + 1."""
    network, x = live("skips", votes=2), images(4)
    repeated = network.stem(x).repeat(network.time_steps, 1, 1, 1)
    outputs = network.readout(network.hidden(network.body(repeated)))
    outputs = outputs.unflatten(0, (network.time_steps, -1)).mean(0)
    assert torch.allclose(network(x), (outputs[:, ::2] + outputs[:, 1::2]) / 2, atol=1e-6)


@torch.no_grad()
def test_no_path_answers_the_same_to_every_image():
    """Edge 01 alone leads nowhere: the cell gives zeros, the classifier its bias."""
    dead = Cell(tuple("conv3x3" if e == "01" else "zeroize" for e in EDGE_NAMES))
    network = Network(Architecture((dead,), 4, 2, 16, 2, 8), TASK).eval()
    scores = network(images(5))
    assert torch.equal(scores, scores[:1].expand(5, -1))
    assert torch.allclose(scores[0], network.readout[1].bias)
    assert "cell0.edge01" not in network.blocks()
