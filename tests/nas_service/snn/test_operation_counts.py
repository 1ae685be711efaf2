"""Operations counted on images, by hand; tests of the export compare them with NeuroBench's."""

import pytest
import torch
from exported_networks import give_statistics

from hw_models import LayerTable
from hw_models.operations import count_operations
from nas_service.snn.network import Network
from nas_service.snn.operation_counts import InputCounts, membrane_updates
from nas_service.snn.quantization import matrix_of
from nas_service.snn.trace import spike_rates, trace
from nas_service.snn.training import firing_rate
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.task import Task

TASK = Task(1, 8, 10)
CHAIN = Cell(("conv3x3", "zeroize", "zeroize", "conv1x1", "zeroize", "conv3x3"))
FORK = Cell(("conv3x3", "conv1x1", "conv3x3", "skip", "skip", "skip"))
LOOP = Cell(("conv3x3", "back:conv1x1", "skip", "conv3x3", "zeroize", "conv1x1"))
IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(5))


def network(cell, head_pool=2):
    torch.manual_seed(0)
    architecture = Architecture((cell,), 4, head_pool, 16, 3, 8)
    made = Network(architecture, TASK).eval()
    give_statistics(made)
    return architecture, made


def counted(made, images=IMAGES):
    counts = InputCounts(len(images))
    spike_rates(made, images, counts.add)
    return counts.metrics(made)


@pytest.mark.parametrize("cell", [CHAIN, FORK, LOOP], ids=["chain", "fork", "loop"])
def test_a_mean_over_images_within_the_dense_counts(cell):
    architecture, made = network(cell)
    dense = count_operations(LayerTable.of(trace(architecture, TASK)))
    together = counted(made) | {"membrane_updates": membrane_updates(made, IMAGES)}
    alone = [
        counted(made, x[None]) | {"membrane_updates": membrane_updates(made, x[None])}
        for x in IMAGES
    ]
    for name, value in together.items():
        assert sum(each[name] for each in alone) / 6 == pytest.approx(value, rel=1e-9), name
    assert 0 < together["effective_macs"] < dense["dense_macs"]
    assert 0 < together["effective_acs"] < dense["dense_acs"]
    assert 0 < together["activation_sparsity"] < 1
    assert 0 < together["membrane_updates"] < dense["dense_membrane_updates"]


def test_neurons_of_every_edge_count():
    """Edges that leave one node share their spikes here, and have neurons of their own."""
    _, chain = network(CHAIN)
    assert counted(chain)["activation_sparsity"] == pytest.approx(1 - firing_rate(chain, IMAGES))
    _, fork = network(FORK)
    shared = counted(fork), membrane_updates(fork, IMAGES)
    fork.cells[0].shares_spikes = False
    assert (counted(fork), membrane_updates(fork, IMAGES)) == shared
    assert shared[0]["activation_sparsity"] == pytest.approx(1 - firing_rate(fork, IMAGES))


def test_weights_of_zero_do_nothing():
    """With one weight of the stem and none of the edges: its taps of each image and no others."""
    _, made = network(CHAIN)
    with torch.no_grad():
        for name, block in made.blocks().items():
            weight = matrix_of(block).parametrizations.weight.original
            weight.zero_()
            if name == "stem":
                weight[0, 0, 0, 0] = 1  # of a corner: 7 x 7 of its 8 x 8 taps are on the map
    figures = counted(made, torch.ones(2, 1, 8, 8))
    assert (figures["effective_macs"], figures["effective_acs"]) == (49, 0)
    weights = sum(matrix_of(b).weight.numel() for b in made.blocks().values())
    assert figures["connection_sparsity"] == pytest.approx(1 - 1 / weights)


def test_silent_and_constant_potentials_are_updated_once():
    """Without weights and biases every potential stays 0: only the first step counts."""
    architecture, made = network(CHAIN)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.zero_()
        for norm in (m for m in made.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.running_mean.zero_()
    neurons = count_operations(LayerTable.of(trace(architecture, TASK)))["dense_membrane_updates"]
    assert membrane_updates(made, IMAGES) == neurons / 3


def test_spikes_without_a_pooling_are_accumulated():
    """A head that pools nothing adds weights of spikes: only pixels are multiplied."""
    architecture, made = network(CHAIN, head_pool=1)
    dense = count_operations(LayerTable.of(trace(architecture, TASK)))
    assert dense["dense_macs"] == 4 * (3 * 8 - 2) ** 2  # taps of 3 x 3 on a map of 8 x 8
    assert counted(made)["effective_macs"] <= dense["dense_macs"]
