"""Training: the same from the same seed, ended when it diverges, stored without loss."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from nas_service.data.tensors import Ready
from nas_service.errors import DataError
from nas_service.evaluation import load_weights, save_weights
from nas_service.snn.network import Network
from nas_service.snn.training import Diverged, Recipe, accuracy, firing_rate, fit
from nas_service.spaces.architecture import Architecture, Cell
from nas_service.spaces.task import Task

A = Architecture((Cell(("skip", "zeroize", "conv1x1", "skip", "skip", "skip")),), 4, 2, 16, 2, 8)
TASK = Task(1, 8, 4)
RECIPE = Recipe(epochs=2, batch_size=16, learning_rate=0.02, weight_decay=0.0, warm_up=0.3)


def stripes(n=64):
    """Noise with one bright pair of rows; which pair is the label. Any network can learn it."""
    torch_random = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 4
    images = 0.3 * torch.randn(n, 1, 8, 8, generator=torch_random)
    for i, label in enumerate(labels.tolist()):
        images[i, 0, 2 * label : 2 * label + 2] += 2
    return images, labels


def network(seed=0):
    torch.manual_seed(seed)
    return Network(A, TASK)


def trained(seed, recipe=RECIPE):
    model = network()
    losses = [epoch.loss for epoch in fit(model, Ready(*stripes()), recipe, seed)]
    return model, losses


def test_equal_seeds_train_equal_networks():
    (one, losses), (two, again), (_, others) = trained(1), trained(1), trained(2)
    assert losses == again
    assert losses != others
    states = one.state_dict(), two.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_training_lowers_the_loss():
    model, losses = trained(1, replace(RECIPE, epochs=8))
    assert len(losses) == 8
    assert losses[-1] < 0.7 * losses[0]
    assert accuracy(model, Ready(*stripes())) > 0.5
    assert 0.01 < firing_rate(model, stripes()[0]) < 0.9


def test_epochs_are_numbered_from_one():
    assert [e.number for e in fit(network(), Ready(*stripes()), RECIPE, 0)] == [1, 2]


def test_pause_comes_before_every_batch_and_can_end_it():
    """64 images in batches of 16, two epochs: eight calls."""
    calls = []
    list(fit(network(), Ready(*stripes()), RECIPE, 0, pause=lambda: calls.append(1)))
    assert len(calls) == 8

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(fit(network(), Ready(*stripes()), RECIPE, 0, pause=stop))


class Line(nn.Module):
    """Scores w x: a network whose losses grow without bound when its steps are too long."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(64, 4))

    def forward(self, images):
        return images.flatten(1) @ self.weight.cumprod(0)


def test_absurd_learning_rate_diverges():
    with pytest.raises(Diverged):
        list(fit(Line(), Ready(*stripes()), replace(RECIPE, learning_rate=1e9), 0))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_pixels_that_are_no_numbers_diverge(bad):
    images, labels = stripes()
    images[3, 0, 0, 0] = bad
    with pytest.raises(Diverged):
        list(fit(network(), Ready(images, labels), RECIPE, 0))


def test_scores_that_are_no_numbers_are_not_scored():
    model = network()
    with torch.no_grad():
        model.readout[1].bias[0] = math.nan
    with pytest.raises(Diverged, match="class scores"):
        accuracy(model, Ready(*stripes()))


class Fixed(nn.Module):
    """Says class 2 to everything."""

    def forward(self, images):
        return torch.eye(4)[2].expand(len(images), 4)


@pytest.mark.parametrize("n", [4, 256, 600])
def test_accuracy_of_a_fixed_answer(n):
    """One label in four is a 2, whatever the size of the batches."""
    assert accuracy(Fixed(), Ready(*stripes(n))) == 0.25


def test_weights_come_back(tmp_path):
    model, _ = trained(1)
    other = network(seed=9).eval()
    images, _ = stripes()
    assert not torch.equal(other(images), model.eval()(images))
    save_weights(model, tmp_path / "a" / "w.safetensors")
    load_weights(other, tmp_path / "a" / "w.safetensors")
    assert torch.equal(other(images), model(images))
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("damage", ["short", "empty", "foreign", "text", "missing"])
def test_damaged_weights_are_named(tmp_path, damage):
    path = tmp_path / "w.safetensors"
    foreign = Network(replace(A, channels=6), TASK)
    save_weights(foreign if damage == "foreign" else network(), path)
    if damage == "short":
        path.write_bytes(path.read_bytes()[:-8])
    elif damage in ("empty", "text"):
        path.write_bytes(b"" if damage == "empty" else b"weights" * 20)
    elif damage == "missing":
        path.unlink()
    with pytest.raises(DataError, match=r"w\.safetensors: not the weights"):
        load_weights(network(), path)
