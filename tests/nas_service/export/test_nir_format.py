"""NIR files compute what the network computes, by NIR's equations and in the readers of NIR."""

import ast
import json
import random
import subprocess
import sys
from dataclasses import replace

import exported_networks
import nir
import numpy as np
import pytest
import torch
from power_of_two import power_of_two_network

from hw_models import load_profile
from nas_service.errors import NasError
from nas_service.export import nir_format
from nas_service.export.check import compare
from nas_service.export.formats import write_files
from nas_service.export.nir_check import compare_readers
from nas_service.export.nir_format import for_reader
from nas_service.export.nir_readers import READERS
from nas_service.importers.network_file import Given, read_network
from nas_service.spaces.operations import PRESETS

PIXELS = torch.randint(17, (4, 1, 8, 8), generator=torch.Generator().manual_seed(1))
MISSING = "pip install --no-deps -r tests/peers.txt"
COSTS = ("area_mm2", "latency_ms", "energy_uJ", "crossbars", "tiles", "utilisation")


@pytest.fixture(scope="module")
def network(evaluator):
    return exported_networks.trained(evaluator, exported_networks.random_architecture(0, True))


def installed():
    """The readers that are installed: Norse always is."""
    return [name for name, reader in READERS.items() if reader.installed]


def compared(network, module, folder, pixels=PIXELS):
    files = write_files(module.contents(network, "net"), folder / "net", replace=True)
    return compare(network, module, files[0], pixels)


NEURONS = {
    "tau": [1.0, 4 / 3, 2.0],
    "reset": ["zero", "subtract"],
    "fires_at_threshold": [False, True],
}


def refused(network, name):
    """Why a reader cannot have the network, in one word; "" where it can."""
    neuron = network.graph.neurons[0].neuron
    if any(node.kind == "max_pool" for node in network.graph.nodes):
        return "maximum"
    if name in ("spikingjelly", "sinabs") and neuron.tau <= 1:
        return "constant above 1 time steps"
    return "subtraction" if name == "snntorch" and neuron.reset == "subtract" else ""


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(
    "seed", [2, *(pytest.param(k, marks=pytest.mark.nightly) for k in range(25) if k != 2)]
)
def test_exact_networks_keep_every_spike_in_every_reader(
    evaluator, seed, preset, backward, tmp_path
):
    rng = random.Random(f"{seed} {preset} {backward}")
    neuron = {key: rng.choice(values) for key, values in NEURONS.items()}
    bits = rng.choice([None, *range(2, 9)])
    network = power_of_two_network(evaluator, rng, preset, backward, bits, **neuron)
    for name in installed():
        module = for_reader(name)
        if reason := refused(network, name):
            with pytest.raises(NasError, match=f"{reason}.*"):
                module.contents(network, "net")
            continue
        comparison = compared(network, module, tmp_path, network.examples)
        assert comparison.equal, name
        assert comparison.spike_rate > 0.02
        if (name, neuron["reset"], neuron["tau"]) != ("sinabs", "subtract", 4 / 3):
            assert comparison.spikes == 0, name  # Sinabs subtracts a third, which is rounded


@pytest.mark.parametrize("seed", range(3, 12))
@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.nightly
def test_other_networks_differ_by_rounding_alone(evaluator, seed, backward, tmp_path):
    architecture = exported_networks.random_architecture(seed, backward)
    network = exported_networks.trained(evaluator, architecture, seed)
    for name in installed():
        if not refused(network, name):
            comparison = compared(network, for_reader(name), tmp_path, PIXELS)
            assert comparison.equal, name
            assert comparison.spike_rate > 0.02


def test_a_setting_that_is_missing_shows(evaluator, tmp_path):
    """Without it SpikingJelly fires at the threshold, where exact networks often are."""
    pytest.importorskip("spikingjelly", reason=MISSING)
    rng = random.Random(0)
    network = power_of_two_network(evaluator, rng, "light3", tau=2.0)
    module = for_reader("spikingjelly")
    files = module.contents(network, "net")
    source = files[module.suffix].replace(b"above(layer.v_threshold)", b"1 * layer.v_threshold")
    files[module.suffix] = source.replace(b".item()", b"")
    first, _ = write_files(files, tmp_path / "net")
    comparison = compare(network, module, first, network.examples)
    assert comparison.spikes > 0
    assert comparison.threshold_distance == 0


@pytest.mark.process
def test_the_python_file_runs_without_this_package(network, tmp_path):
    module = for_reader("norse")
    _, program = write_files(module.contents(network, "net"), tmp_path / "net")
    assert "nas_service." not in program.read_text()
    blocked = "import sys; sys.modules['nas_service'] = sys.modules['torchvision'] = None"
    run = f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')"
    command = [sys.executable, "-c", f"{blocked}; {run}"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "largest difference of the example scores: 0\n"


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


@pytest.mark.parametrize("name", ["it's", '"', '"""+x\\', "a\nb", "x\udcff"])
def test_the_program_of_a_reader_reads_files_of_any_name(network, name):
    source = for_reader("norse").contents(network, name)[".load_norse.py"]
    tree = ast.parse(source)
    assert f"{name}.nir" in {x.value for x in ast.walk(tree) if isinstance(x, ast.Constant)}
    assert f"Norse loads from {name}.nir, written" in ast.get_docstring(tree, clean=False)


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
