"""A torch module, a NIR graph and a layer list that say the same network cost the same."""

import random

import nir
import norse.torch as norse
import numpy as np
import pytest
import torch
from nir_graphs import graph_of, lif
from random_cells import BACKWARD, FORWARD, SIDE, as_nir_says, cell_graph, random_architecture
from random_modules import module
from random_networks import graph, layers, random_network
from torch import nn

from hw_models import Layer, Workload, load_profile
from nas_service.importers import from_nir
from nas_service.importers.torch_module import from_module
from nas_service.snn.network import Network
from nas_service.snn.trace import trace
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.task import Task

CHIPS = [load_profile(name) for name in ("corrected", "spikesim_rram", "spikesim_sram")]
TASK = Task(1, SIDE, 10)


def costs(workload):
    """All figures at one rate on every chip, but numbers beside weights, which we alone know."""
    estimates = ((chip.name, chip.estimate(workload.at_rate(0.2)).metrics()) for chip in CHIPS)
    figures = {(name, key): value for name, known in estimates for key, value in known.items()}
    return {figure: value for figure, value in figures.items() if figure[1] != "footprint_B"}


def assert_imported_as_traced(a):
    """The module of an architecture, against the trace that knows the architecture."""
    known = trace(a, TASK)
    seen = from_module(Network(a, TASK), torch.rand(1, 1, SIDE, SIDE), a.time_steps)
    for fields in (
        ("kind", "in_channels", "out_channels", "kernel", "stride", "in_size", "out_size"),
        ("input_bits", "once"),
    ):
        ways = ([str([getattr(x, f) for f in fields]) for x in w.layers] for w in (seen, known))
        assert len({tuple(sorted(way)) for way in ways}) == 1, a
    assert costs(seen) == pytest.approx(costs(known), rel=1e-9), a


@pytest.mark.parametrize("states", [FORWARD, BACKWARD], ids=["forward", "backward"])
def test_cells_are_imported_as_traced(states):
    """Backward edges are unrolled over the time steps in the module, and loops in the trace."""
    rng = random.Random(7)
    for _ in range(10):
        assert_imported_as_traced(random_architecture(rng, states))


@pytest.mark.nightly
@pytest.mark.parametrize("states", [FORWARD, BACKWARD], ids=["forward", "backward"])
def test_two_hundred_networks_of_cells_are_imported_as_traced(states):
    rng = random.Random(70)
    for _ in range(200):
        assert_imported_as_traced(random_architecture(rng, states))


def assert_graph_is_the_trace(a):
    graph = from_nir(cell_graph(a, 10), a.time_steps, input_bits=8)
    assert costs(graph) == pytest.approx(costs(as_nir_says(trace(a, TASK))), rel=1e-9), a


def test_cells_as_nir_graphs_are_their_traces():
    """The pooling of the head is the head's, also where it pools the map of a single layer."""
    rng = random.Random(8)
    for _ in range(20):
        assert_graph_is_the_trace(random_architecture(rng, FORWARD))


@pytest.mark.nightly
def test_two_hundred_networks_of_cells_as_nir_graphs_are_their_traces():
    rng = random.Random(80)
    for _ in range(200):
        assert_graph_is_the_trace(random_architecture(rng, FORWARD))


def test_two_hundred_random_networks():
    """In parameters, crossbars, area, latency, and in energy at equal spike rates, to 1e-9."""
    rng = random.Random(1)
    torch.manual_seed(0)
    for _ in range(200):
        network = random_network(rng)
        example = (torch.rand(2, *network.shape) > 0.5).float()
        ways = (
            Workload(layers(network), 3),
            from_nir(graph(network), 3),
            from_module(module(network), example, 3),
        )
        first, *others = map(costs, ways)
        for other in others:
            assert other == pytest.approx(first, rel=1e-9), network


def test_biases_count_in_every_way():
    """4 x 2 x 3 x 3 weights and 4 biases; 5 x 144 weights and 5 biases."""
    module = norse.SequentialState(
        nn.Conv2d(2, 4, 3), norse.LIFBoxCell(), nn.Flatten(), nn.Linear(144, 5), norse.LIFBoxCell()
    )
    nodes = {
        "in": nir.Input({"input": np.array([2, 8, 8])}),
        "a": nir.Conv2d((8, 8), np.ones((4, 2, 3, 3)), 1, 0, 1, 1, np.ones(4)),
        "a_lif": lif(4, 6, 6),
        "flat": nir.Flatten({"input": np.array([4, 6, 6])}, 0),
        "b": nir.Affine(np.ones((5, 144)), np.ones(5)),
        "b_lif": lif(5),
    }
    by_hand = (
        Layer(
            *("a", "conv", 2, 4, 3), in_size=8, out_size=6, parameters=76, neurons=144, sources=()
        ),
        Layer("b", "linear", 144, 5, parameters=725, neurons=5, sources=("a",)),
    )
    ways = (
        Workload(by_hand, 3),
        from_nir(graph_of(nodes, "in a a_lif flat b b_lif"), 3),
        from_module(module, torch.ones(2, 8, 8), 3),
    )
    first, *others = map(costs, ways)
    assert others == [pytest.approx(first, rel=1e-9)] * 2
    assert [w.parameters for w in ways] == [76 + 725] * 3


def test_a_loop_of_poolings_is_charged_as_in_one_time_step():
    """What it adds before the slowest connection has arrived was charged a second time."""
    names = ("back:avgpool3x3", "back:sepconv3x3", "maxpool3x3", "conv1x1", "back:maxpool3x3")
    cell = Cell((*names, "zeroize"))
    assert_imported_as_traced(Architecture((cell,), 2, 4, 8, 6, 8))
