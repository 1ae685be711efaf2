"""A NIR graph costs what the layer list that says the same costs."""

import json
import random
from dataclasses import replace

import nir
import pytest
from random_networks import graph, layers, random_network

from hw_models import Workload, load_profile
from nas_service.importers import from_nir

CHIPS = [load_profile(name) for name in ("corrected", "spikesim_rram")]


@pytest.mark.parametrize("loops", [False, True])
def test_random_networks(loops):
    """Every layer is the same, and so every cost, at every spike rate."""
    rng = random.Random(18)
    for _ in range(100):
        network = random_network(rng, loops)
        read, listed = from_nir(graph(network), 3), Workload(layers(network), 3)
        assert by_name(read) == by_name(listed), network
        assert Workload.from_json(json.loads(json.dumps(read.to_json()))) == read
        for chip in CHIPS:
            costs = chip.estimate(read.at_rate(0.2)).metrics()
            assert costs == pytest.approx(chip.estimate(listed.at_rate(0.2)).metrics(), rel=1e-9)


def test_random_networks_from_files(tmp_path):
    """Files list nodes by their names, in another order."""
    rng = random.Random(5)
    for i in range(8):
        network = random_network(rng)
        nir.write(str(tmp_path / f"{i}.nir"), graph(network))
        assert by_name(from_nir(tmp_path / f"{i}.nir", 3)) == by_name(from_nir(graph(network), 3))


def by_name(workload):
    """The layers but `rearranged`, which costs nothing and can be listed more often than needed."""
    return {x.name: replace(x, rearranged=False) for x in workload.layers}
