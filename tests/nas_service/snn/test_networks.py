"""Spiking networks that fire: what training, tracing and measuring make of them."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch

from nas_service.data import DATASETS
from nas_service.data.batches import ImageTensors, batch
from nas_service.data.images import split
from nas_service.errors import DataError
from nas_service.snn import operations
from nas_service.snn.checkpoint import load_weights, save_weights
from nas_service.snn.network import Network
from nas_service.snn.quantization import Rounding
from nas_service.snn.trace import spike_rates, trace
from nas_service.snn.training import Diverged, Recipe, accuracy, firing_rate, fit
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.operations import OPERATIONS
from nas_service.spaces.task import Task

TASK = Task(1, 8, 10)
CELLS = (
    Cell(("conv3x3", "skip", "avgpool3x3", "conv1x1", "skip", "conv3x3")),
    Cell(("skip", "conv3x3", "skip", "zeroize", "conv1x1", "skip")),
)
ARCHITECTURE = Architecture(CELLS, channels=8, head_pool=2, hidden=32, time_steps=3, weight_bits=4)
RECIPE = Recipe(epochs=3, batch_size=32, learning_rate=0.01, weight_decay=0.01, warm_up=0.2)


@functools.cache
def digits():
    return split(DATASETS["digits"].read_train(Path()), None, 360, seed=0)


def images(n=512, seed=0):
    """Some handwritten digits [n, 1, 8, 8] and their labels."""
    train = digits().train
    chosen = np.random.default_rng(seed).permutation(len(train))[:n]
    return batch(train, chosen)


@pytest.fixture(scope="module")
def live():
    """A network whose batch norms have seen data, so that it fires in evaluation."""
    torch.manual_seed(0)
    network = Network(ARCHITECTURE, TASK)
    for _ in fit(network, ImageTensors(*images()), RECIPE, seed=0):
        pass
    assert 0.01 < firing_rate(network, images()[0]) < 0.9
    return network.eval()


def test_trace_of_a_small_network_by_hand():
    """Stem 1->4, one conv1x1 in cell 0, reduction 4->8, hidden 8*2*2->16, readout 16->10."""
    cells = (Cell(("zeroize", "zeroize", "conv1x1", *["zeroize"] * 3)), Cell(("skip",) * 6))
    a = Architecture(cells, channels=4, head_pool=2, hidden=16, time_steps=2, weight_bits=8)
    workload = trace(a, TASK)
    names = ["stem", "cell0.edge03", "reduction0", "hidden", "readout"]
    assert [layer.name for layer in workload.layers] == names
    parameters = [36 + 8, 16 + 8, 8 + 288 + 16, 16 + 512, 160 + 10]
    assert [layer.parameters for layer in workload.layers] == parameters
    assert [layer.out_size for layer in workload.layers] == [8, 8, 8, 1, 1]
    assert [layer.pool for layer in workload.layers] == [1, 1, 2, 1, 1]


@pytest.mark.parametrize("name", [n for n, o in OPERATIONS.items() if o.carries])
def test_every_operation_keeps_its_shape(name):
    module = operations.build(OPERATIONS[name], channels=4, style=operations.Style(2, Rounding(4)))
    assert module(torch.randn(6, 4, 5, 5)).shape == (6, 4, 5, 5)


def test_training_repeats_itself(live):
    scores = []
    for _ in range(2):
        torch.manual_seed(3)
        network = Network(ARCHITECTURE, TASK)
        losses = [epoch.loss for epoch in fit(network, ImageTensors(*images()), RECIPE, seed=3)]
        scores.append((losses, accuracy(network, ImageTensors(*images()))))
    assert scores[0] == scores[1]
    assert scores[0][0][1] < scores[0][0][0]


def test_training_on_nan_diverges():
    """The neurons swallow them: the loss stays finite, the network would be silent for ever."""
    x, y = images()
    with pytest.raises(Diverged, match="not finite after epoch 1"):
        list(fit(Network(ARCHITECTURE, TASK), ImageTensors(x * float("nan"), y), RECIPE, seed=0))


def test_loss_without_a_value_diverges():
    network = Network(ARCHITECTURE, TASK)
    with torch.no_grad():
        network.readout[1].bias.fill_(float("inf"))
    with pytest.raises(Diverged, match="loss nan in epoch 1"):
        list(fit(network, ImageTensors(*images()), RECIPE, seed=0))


def test_spike_rates_are_shares_of_every_matrix(live):
    rates = spike_rates(live, images()[0])
    assert set(rates) == {layer.name for layer in trace(ARCHITECTURE, TASK).layers}
    assert rates["stem"] == 1.0  # analog pixels
    others = {name: rate for name, rate in rates.items() if name != "stem"}
    assert {len(steps) for steps in others.values()} == {ARCHITECTURE.time_steps}
    means = {name: sum(steps) / len(steps) for name, steps in others.items()}
    assert {name: rate for name, rate in means.items() if not 0.01 < rate < 0.99} == {}


def test_stored_weights_are_restored(live, tmp_path):
    path = tmp_path / "w" / "x.safetensors"
    save_weights(live, path)
    other = Network(ARCHITECTURE, TASK).eval()
    load_weights(other, path)
    x, _ = images(8)
    assert torch.equal(other(x), live(x))
    assert [p.name for p in path.parent.iterdir()] == ["x.safetensors"]
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"x\.safetensors"):
        load_weights(other, path)
