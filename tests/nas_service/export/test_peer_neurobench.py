"""Our counts of operations against NeuroBench's, measured on the exported `torch` file."""

import random
import re
from dataclasses import replace

import pytest
import torch
from power_of_two import power_of_two_network

from hw_models import LayerTable, Workload
from hw_models.operations import count_operations
from nas_service.export.formats import FORMATS, write_files
from nas_service.export.torch_format import imported
from nas_service.snn.operation_counts import InputCounts, membrane_updates
from nas_service.snn.trace import spike_rates
from nas_service.spaces.operations import PRESETS

MISSING = "not installed: pip install --no-deps -r tests/peers.txt"
static = pytest.importorskip("neurobench.metrics.static", reason=f"NeuroBench is {MISSING}")
workload = pytest.importorskip("neurobench.metrics.workload", reason=f"NeuroBench is {MISSING}")
models = pytest.importorskip("neurobench.models", reason=f"NeuroBench is {MISSING}")
snntorch = pytest.importorskip("snntorch", reason=f"snnTorch is {MISSING}")


class Neurons(snntorch.SpikingNeuron):
    """Neurons of the file as NeuroBench watches them: with their potential in `mem`."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.mem = layer, torch.zeros(())

    def forward(self, current, v=None):
        spikes, self.mem = self.layer(current, v)
        return spikes, self.mem


def watched(network, module):
    """The file's network with NeuroBench's hooks, and the hooks of each part by its name."""
    for name, layer in list(network.named_children()):
        if isinstance(layer, module.LIF):
            setattr(network, name, Neurons(layer))
    model = models.TorchModel(network)
    model.add_activation_module(snntorch.SpikingNeuron)
    model.register_hooks()
    names = {layer: name for name, layer in network.named_children()}
    hooks = {names[h.layer]: h for h in (*model.activation_hooks, *model.connection_hooks)}
    return model, hooks


def drop_unread_step(hooks):
    """The last step of backward edges, which the file computes although nothing reads it."""
    for name, hook in hooks.items():
        ends = re.search(r"edge(\d)(\d)", name)
        if ends and ends[1] > ends[2]:
            for calls in ("inputs", "activation_outputs", "pre_fire_mem_potential",
                          "post_fire_mem_potential"):  # fmt: skip
                del getattr(hook, calls, [None])[-1]


@pytest.mark.parametrize("backward", [False, True], ids=["forward", "backward"])
@pytest.mark.parametrize("preset", PRESETS)
@torch.no_grad()
def test_neurobench_counts_the_same(evaluator, preset, backward, tmp_path):
    rng = random.Random(f"{preset} {backward}")
    ours = power_of_two_network(evaluator, rng, preset, backward)
    contents = FORMATS["torch"].load().contents(ours, "net")
    module = imported(write_files(contents, tmp_path / "net", replace=True)[0])
    file, images = module.load(), module.scaled(ours.examples)

    floats = [replace(layer, weight_bits=32) for layer in ours.workload.layers]
    stored = count_operations(LayerTable.of(Workload(tuple(floats), module.TIME_STEPS)))
    assert static.Footprint()(models.TorchModel(file)) == stored["footprint_B"]
    counts = InputCounts(len(images))
    spike_rates(ours.network, ours.inputs.scaled(ours.examples), counts.add)
    counted = counts.metrics(ours.network)
    zeros = static.ConnectionSparsity()(models.TorchModel(file))
    assert zeros == round(counted["connection_sparsity"], 4)

    model, hooks = watched(file, module)
    scores, labels = model(images), torch.zeros(len(images))
    del hooks["stem"].inputs[1:]  # the file multiplies a still image in every step, we do once
    dense = workload.SynapticOperations()(model, scores, (images, labels))["Dense"]
    assert dense == stored["dense_synaptic_operations"]
    drop_unread_step(hooks)
    effective = workload.SynapticOperations()(model, scores, (images, labels))
    assert all(x[0].max() > 1 for x in hooks["hidden"].inputs)  # sums of spikes: no binary step
    assert effective["Effective_MACs"] == counted["effective_macs"]
    assert effective["Effective_ACs"] == counted["effective_acs"] > 0
    sparsity = workload.ActivationSparsity()(model, scores, (images, labels))
    assert sparsity == counted["activation_sparsity"]
    updates = workload.MembraneUpdates()(model, scores, (images, labels))
    # means of 3x3 windows are rounded: a potential may stay in one program and move in the other
    rounded = any(n.kind == "mean_pool" and n.geometry["padding"] for n in ours.graph.nodes)
    own = membrane_updates(ours.network, ours.inputs.scaled(ours.examples))
    assert updates == (pytest.approx(own, rel=1e-2) if rounded else own)
    assert 0 < updates < stored["dense_membrane_updates"]
