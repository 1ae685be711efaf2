"""NIR files compute what the network computes, by NIR's equations and in the readers of NIR."""

import json
import sys
from dataclasses import replace

import exported_networks
import nir
import numpy as np
import pytest
import torch

from hw_models import load_profile
from nas_service.errors import NasError
from nas_service.export import nir_format
from nas_service.export.check import compare
from nas_service.export.formats import write_files
from nas_service.export.nir_check import compare_readers
from nas_service.export.nir_format import for_reader
from nas_service.export.nir_readers import READERS
from nas_service.importers.network_file import Given, read_network

PIXELS = torch.randint(17, (4, 1, 8, 8), generator=torch.Generator().manual_seed(1))
COSTS = ("area_mm2", "latency_ms", "energy_uJ", "crossbars", "tiles", "utilisation")


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory):
    return exported_networks.evaluator(tmp_path_factory.mktemp("study"))


@pytest.fixture(scope="module")
def network(evaluator):
    return exported_networks.trained(evaluator, exported_networks.random_architecture(0, True))


def reader_format(name):
    pytest.importorskip(READERS[name].package, reason="pip install --no-deps -r tests/peers.txt")
    return for_reader(name)


def with_neurons(evaluator, **settings):
    """The evaluator of the same study with other neurons."""
    spec = evaluator.spec
    changed = spec.network.model_copy(update=settings)
    return type(evaluator).open(
        spec.model_copy(update={"network": changed}), evaluator.folder, evaluator.images.source
    )


def compared(network, module, folder):
    files = write_files(module.contents(network, "net"), folder / "net", replace=True)
    return compare(network, module, files[0], PIXELS)


@pytest.mark.parametrize(("seed", "backward"), [(0, False), (3, True)])
@pytest.mark.parametrize("name", READERS)
def test_readers_compute_what_the_network_computes(evaluator, name, seed, backward, tmp_path):
    architecture = exported_networks.random_architecture(seed, backward)
    network = exported_networks.trained(evaluator, architecture, seed)
    comparison = compared(network, reader_format(name), tmp_path)
    assert comparison.equal
    assert comparison.spike_rate > 0.02
    assert comparison.spikes <= 3  # sums are rounded in another order


@pytest.mark.parametrize("settings", [{"reset": "subtract"}, {"fires_at_threshold": True}])
@pytest.mark.parametrize("name", READERS)
def test_neurons_of_other_rules(evaluator, name, settings, tmp_path):
    evaluator = with_neurons(evaluator, tau=2.0, **settings)
    network = exported_networks.trained(evaluator, exported_networks.random_architecture(1, True))
    if (name, settings.get("reset")) == ("snntorch", "subtract"):
        with pytest.raises(NasError, match="snnTorch resets to 0, the network by subtraction: of"):
            for_reader(name).contents(network, "net")
        return
    for module in (nir_format, reader_format(name)):
        comparison = compared(network, module, tmp_path)
        assert comparison.equal
        assert comparison.spikes <= 3


def test_maxima_are_refused_with_what_can(evaluator):
    architecture = exported_networks.random_architecture(2, True)
    network = exported_networks.trained(evaluator, architecture)
    (maximum, *_) = (node.name for node in network.graph.nodes if node.kind == "max_pool")
    reason = f"{maximum}: NIR has no maximum pooling; --format onnx has"
    for module in (nir_format, for_reader("norse")):
        with pytest.raises(NasError, match=reason):
            module.contents(network, "net")
    assert set(compare_readers(network, PIXELS).values()) == {reason}


def test_a_reader_that_is_missing_is_one_line(network, monkeypatch):
    for reader in READERS.values():
        monkeypatch.setitem(sys.modules, reader.package, None)
    for name, reason in compare_readers(network, PIXELS).items():
        title, package = READERS[name].title, READERS[name].package
        assert reason.startswith(f"{title} is not installed: pip install {package}, or")


def test_a_file_says_what_nir_cannot(network, tmp_path):
    files = write_files(nir_format.contents(network, "net"), tmp_path / "net")
    graph = nir.read(files[0], type_check=False)
    facts = json.loads(graph.metadata["nas_service"])
    assert facts["fires"] == "u > v_threshold"
    assert (facts["reset"], facts["time_step"]) == ("zero", 1.0)
    assert facts["examples"]["pixels"] == network.examples.tolist()
    assert facts["late_edges"]
    ties = [node for node in graph.nodes.values() if isinstance(node, nir.LIF)]
    assert {x.tau.shape for x in ties} == {x.v_threshold.shape for x in ties}
    assert [node.name for node in network.graph.neurons] == facts["neurons"]
    matrices = [x for x in graph.nodes.values() if isinstance(x, nir.Conv2d)]
    levels = [len(np.unique(np.abs(x.weight[0]))) for x in matrices]
    assert max(levels) <= 2 ** (facts["architecture"]["weight_bits"] - 1)


def costs(workload):
    metrics = load_profile("corrected").estimate(workload).metrics()
    return {name: metrics[name] for name in COSTS}


@pytest.mark.parametrize("seed", [1, 3, 4])
def test_a_file_costs_what_the_network_costs(evaluator, seed, tmp_path):
    """Batch norms are folded: a scale of each channel is no parameter any more."""
    network = exported_networks.trained(
        evaluator, exported_networks.random_architecture(seed, False), seed
    )
    (path,) = write_files(nir_format.contents(network, "net"), tmp_path / "net")
    (bits,) = {layer.weight_bits for layer in network.workload.layers}
    given = Given(network.workload.time_steps, bits, 8, 0.1, None)
    own = network.workload.at_rate(0.1)  # a graph cannot say that a still image is read once
    own = replace(own, layers=tuple(replace(layer, once=False) for layer in own.layers))
    file = read_network(path, given).workload
    assert costs(file) == costs(own)
    folded = sum(len(node.scale) for node in network.graph.nodes if node.kind == "convolution")
    folded += sum(2 * len(node.scale) for node in network.graph.nodes if node.kind == "affine")
    parameters = [sum(layer.parameters for layer in x.layers) for x in (file, own)]
    assert parameters[0] == parameters[1] - folded
