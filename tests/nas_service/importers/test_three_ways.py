"""A torch module, a NIR graph and a layer list that say the same network cost the same."""

import random

import nir
import norse.torch as norse
import numpy as np
import pytest
import torch
from nir_graphs import graph_of, lif
from random_modules import module
from random_networks import graph, layers, random_network
from torch import nn

from hw_models import Layer, Workload, load_profile
from nas_service.importers import from_nir
from nas_service.importers.torch_module import from_module

CHIP = load_profile("corrected")


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
        first, *others = (CHIP.estimate(w.at_rate(0.2)).metrics() for w in ways)
        for costs in others:
            assert costs == pytest.approx(first, rel=1e-9), network


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
    first, *others = (CHIP.estimate(w.at_rate(0.2)).metrics() for w in ways)
    assert others == [pytest.approx(first, rel=1e-9)] * 2
    assert [w.parameters for w in ways] == [76 + 725] * 3
