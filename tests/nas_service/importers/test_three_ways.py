"""A torch module, a NIR graph and a layer list that say the same network cost the same."""

import random

import pytest
import torch
from random_modules import module
from random_networks import graph, layers, random_network

from hw_models import Workload, load_profile
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
