"""The same network as torch module, as NIR graph and as layer list gives the same workload."""

import json
from dataclasses import replace

import nir
import norse.torch as norse
import numpy as np
import pytest
import torch
from nir_graphs import a_graph, a_module, conv, graph_of, image, lif, pool
from torch import nn

from hw_models import Layer, Workload, load_profile
from nas_service.importers import from_nir
from nas_service.importers.network_file import load_workload
from nas_service.importers.torch_module import from_module

CHIP = load_profile("corrected")


BY_HAND = [
    Layer("a", "conv", 2, 8, 3, in_size=8, out_size=8, pool=2, neurons=512, sources=()),
    Layer("b", "conv", 8, 8, 3, groups=8, in_size=4, out_size=4, neurons=128, sources=("a",)),
    Layer("c", "conv", 8, 16, 3, stride=2, in_size=4, out_size=2, neurons=64, sources=("b",)),
    Layer("d", "linear", 64, 10, neurons=10, sources=("c",)),
]


def same_names(workload):
    """The layers under names l0, l1, ... and all at one spike rate: what a format cannot say."""
    names = {layer.name: f"l{i}" for i, layer in enumerate(workload.layers)}
    layers = (
        replace(x, name=names[x.name], sources=tuple(names[s] for s in x.sources or ()))
        for x in workload.layers
    )
    return Workload(tuple(layers), workload.time_steps).at_rate(0.25)


def test_one_network_three_ways(tmp_path):
    """b reads means of 2x2 spikes: values 0..4, three bits."""
    a, b, c, d = (replace(x, parameters=x.weights) for x in BY_HAND)
    by_hand = Workload((a, replace(b, input_bits=3), c, d), 4)
    nir.write(str(tmp_path / "net.nir"), a_graph())
    module = a_module()
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):  # so that every layer spikes, not always
            part.weight.data.uniform_(-20, 30)
    (tmp_path / "net.json").write_text(json.dumps(by_hand.to_json()))
    result = [
        load_workload(tmp_path / "net.nir", 4),
        from_module(module, (torch.rand(3, 2, 8, 8) > 0.5).float(), 4),
        load_workload(tmp_path / "net.json"),
    ]
    assert result[1].layers[3].spike_rate > 0.1
    assert [same_names(w) for w in result] == [same_names(by_hand)] * 3
    costs = [CHIP.estimate(same_names(w)).metrics() for w in result]
    assert costs == [CHIP.estimate(same_names(by_hand)).metrics()] * 3
    assert load_workload(tmp_path / "net.json", 7).time_steps == 7


VGG9 = ((3, 64, 32, 1), (64, 64, 32, 2), (64, 128, 16, 1), (128, 128, 16, 2))
VGG9 += ((128, 256, 8, 1), (256, 256, 8, 1), (256, 256, 8, 2))  # channels, side, pooling after it


def test_an_imported_vgg9_has_the_figures_of_the_script():
    """48 PEs, 3840 reads of 828.4861472 pJ a step: poolings of spikes stay with their layer."""
    nodes, parts = {"in": image(3, 32)}, []
    for i, (c_in, c_out, side, window) in enumerate(VGG9):
        nodes |= {f"c{i}": conv(c_out, c_in, side), f"n{i}": lif(c_out, side, side)}
        parts += [nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), norse.LIFBoxCell()]
        if window > 1:
            nodes[f"p{i}"] = pool(window)
            parts.append(nn.AvgPool2d(window))
    nodes["out"] = nir.Output({"output": np.array([256, 4, 4])})
    ways = (
        from_nir(graph_of(nodes, " ".join(nodes)), 5),
        from_module(norse.SequentialState(*parts), torch.ones(1, 3, 32, 32), 5),
    )
    for way in ways:
        report = load_profile("spikesim_rram").estimate(way)
        assert report.crossbars == 48 * 9
        assert report.energy_J.total == pytest.approx(3840 * 5 * 828.4861472e-12, rel=1e-9)
        assert report.latency_s.total == pytest.approx(120832 * 5 * 104e-9, rel=1e-9)


class SkipNet(nn.Module):
    """Spikes of a and b are added before c."""

    def __init__(self):
        super().__init__()
        self.a = nn.Conv2d(2, 4, 3, padding=1, bias=False)
        self.b, self.c = (nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(2))
        self.a_lif, self.b_lif, self.c_lif = (norse.LIFBoxCell() for _ in range(3))
        for part in (self.a, self.b, self.c):
            part.weight.data.fill_(20.0)

    def forward(self, x):
        a, _ = self.a_lif(self.a(x))
        b, _ = self.b_lif(self.b(a))
        return self.c_lif(self.c(a + b))[0]


def test_a_skip_costs_its_sum_in_every_format():
    """4 channels of 8 x 8 are added before c: 256 additions."""
    nodes = {"in": image(2, 8), "a": conv(4, 2, 8), "a_lif": lif(4, 8, 8), "b": conv(4, 4, 8)}
    nodes |= {"b_lif": lif(4, 8, 8), "c": conv(4, 4, 8), "c_lif": lif(4, 8, 8)}
    graph = graph_of(nodes, "in a a_lif b b_lif c c_lif", "a_lif c")
    shape = {"in_size": 8, "out_size": 8, "neurons": 256}
    layers = (
        Layer("a", "conv", 2, 4, 3, **shape, parameters=72, sources=()),
        Layer("b", "conv", 4, 4, 3, **shape, parameters=144, sources=("a",)),
        Layer("c", "conv", 4, 4, 3, **shape, parameters=144, sources=("a", "b"), input_adds=256),
    )
    seen = from_module(SkipNet(), torch.ones(1, 2, 8, 8), 3).at_rate(0.25)
    by_hand = Workload(layers, 3).at_rate(0.25)
    read = from_nir(graph, 3, 0.25)
    assert read.layers[2].input_bits == 2  # 0, 1 or 2 spikes
    for result in (seen, read):
        bits = [replace(x, input_bits=1) for x in result.layers]
        assert Workload(tuple(bits), 3) == by_hand
