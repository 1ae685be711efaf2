"""Exported files of random networks compute what the networks compute, spike by spike."""

import random
from dataclasses import replace

import exported_networks
import pytest
import torch
from power_of_two import power_of_two_network

from nas_service.export.check import ROUNDING, compare
from nas_service.export.formats import FORMATS, write_files
from nas_service.export.run import Run
from nas_service.spaces.architecture import Architecture, parts_of
from nas_service.spaces.cell import EDGE_NAMES
from nas_service.spaces.operations import PRESETS

KINDS = [name for name, kind in FORMATS.items() if kind.runs]
PIXELS = torch.randint(17, (5, 1, 8, 8), generator=torch.Generator().manual_seed(1))
NEURONS = {
    "tau": [1.0, 4 / 3, 2.0],
    "reset": ["zero", "subtract"],
    "fires_at_threshold": [False, True],
}


def possible_kinds(network):
    """The formats that can say the network: NIR has no maximum."""
    maxima = any(node.kind == "max_pool" for node in network.graph.nodes)
    return [kind for kind in KINDS if kind != "nir" or not maxima]


def compared(network, kind, folder, pixels):
    module = FORMATS[kind].load()
    files = write_files(module.contents(network, "net"), folder / "net", replace=True)
    return compare(network, module, files[0], pixels)


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(k, marks=pytest.mark.nightly) for k in range(1, 25))]
)
def test_exact_networks_keep_every_spike(evaluator, seed, preset, backward, tmp_path):
    rng = random.Random(f"{seed} {preset} {backward}")
    neuron = {key: rng.choice(values) for key, values in NEURONS.items()}
    bits = rng.choice([None, *range(2, 9)])
    network = power_of_two_network(evaluator, rng, preset, backward, bits, **neuron)
    for kind in possible_kinds(network):
        comparison = compared(network, kind, tmp_path, network.examples)
        differing = comparison.predictions, comparison.spikes, comparison.largest_difference
        assert differing == (0, 0, 0), kind
        assert comparison.spike_rate > 0.02


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize(
    "seed", [*range(4), *(pytest.param(k, marks=pytest.mark.nightly) for k in range(4, 40))]
)
def test_other_networks_differ_by_rounding_alone(evaluator, seed, backward, tmp_path):
    architecture = exported_networks.random_architecture(seed, backward)
    network = exported_networks.trained(evaluator, architecture, seed)
    for kind in possible_kinds(network):
        comparison = compared(network, kind, tmp_path, PIXELS)
        assert comparison.equal, kind
        assert comparison.threshold_distance < ROUNDING
        assert comparison.spike_rate > 0.02
        assert comparison.largest_difference < 1e-4


@pytest.mark.parametrize("kind", KINDS)
def test_recordings_are_read_frame_by_frame(evaluator, kind, tmp_path):
    network = power_of_two_network(evaluator, random.Random(0), "light3", backward=True)
    steps = network.graph.time_steps
    frames = torch.randint(17, (4, steps, 1, 8, 8), generator=torch.Generator().manual_seed(1))
    task = replace(network.inputs.task, events=True)
    network = replace(network, inputs=replace(network.inputs, task=task), examples=frames.byte())
    comparison = compared(network, kind, tmp_path, frames)
    assert (comparison.spikes, comparison.largest_difference) == (0, 0)
    assert comparison.spike_rate > 0.02


UNUSUAL = {
    "grouped and dilated": {"cells": [["sepconv3x3", "conv3x3_dilated2", "skip"] * 2]},
    "one step": {"time_steps": 1},
    "global pooling": {"head_pool": 0, "cells": [["conv1x1"] * 6] * 2, "channels": [3, 5]},
    "strided stem": {"stem_stride": 2},
    "own bits": {"weight_bits": dict.fromkeys(parts_of(1), 3) | {"hidden": 8}},
}


@pytest.mark.parametrize("unusual", UNUSUAL.values(), ids=UNUSUAL)
def test_unusual_networks_are_exported_too(evaluator, unusual, tmp_path):
    changes = {"cells": [["conv3x3", "skip"] * 3], "head_pool": 2, "weight_bits": 4} | unusual
    changes["cells"] = [dict(zip(EDGE_NAMES, cell, strict=True)) for cell in changes["cells"]]
    architecture = Architecture.from_json(exported_networks.SIZES | changes)
    network = exported_networks.trained(evaluator, architecture)
    for kind in KINDS:
        comparison = compared(network, kind, tmp_path, PIXELS)
        assert comparison.equal, kind
        assert comparison.spike_rate > 0.02


class Altered:
    """A format whose files give one spike more, at one place, and all that follows from it."""

    def __init__(self, network, layer, t):
        self.network, self.layer, self.t = network, layer, t

    def run(self, path, pixels):
        ours = self.network.graph.run(self.network.inputs.scaled(pixels))
        spikes = {name: x.clone() for name, x in ours.spikes.items()}
        spikes[self.layer][self.t, 0] = 1 - spikes[self.layer][self.t, 0]
        for later in spikes.values():  # consequences, however far from the threshold
            later[self.t + 1 :] = 1 - later[self.t + 1 :]
        return Run(ours.scores, spikes)


def test_a_difference_is_as_far_as_the_first_spikes_that_differ(evaluator):
    network = exported_networks.trained(evaluator, exported_networks.random_architecture(1, True))
    layer = network.graph.neurons[-1]
    ours = network.graph.run(network.inputs.scaled(PIXELS))
    expected = (ours.potentials[layer.name][2:3, 0] - layer.neuron.threshold).abs().max()
    others = [(ours.potentials[n.name][3, 1:] - n.neuron.threshold).abs().max()
              for n in network.graph.neurons[:1]]  # fmt: skip
    comparison = compare(network, Altered(network, layer.name, 2), None, PIXELS)
    assert comparison.threshold_distance == pytest.approx(float(max([expected, *others])))
    assert not comparison.equal
    assert not comparison.predictions
    assert replace(comparison, threshold_distance=ROUNDING / 2).equal
    assert f"differ, the first within {comparison.threshold_distance:.2g} of" in str(comparison)
