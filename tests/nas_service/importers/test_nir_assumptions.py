"""Figures that a NIR file does not say: named where they are assumed, and given in its stead."""

import nir
import numpy as np
import pytest
from nir_graphs import conv, graph_of, image, lif, linear, pool, recurrent, vector

from hw_models import WorkloadError
from nas_service.importers.network_file import Given, read_network


def read(path, graph, **given):
    nir.write(str(path / "net.nir"), graph)
    return read_network(path / "net.nir", Given(time_steps=4, **given))


def texts(network):
    return [x.text for x in network.assumed]


def test_what_is_assumed_is_named(tmp_path):
    """Weights and rates of all layers, bits of the layer that reads the image, and membranes."""
    nodes = {"in": image(2, 8), "a": conv(4, 2, 8), "m": nir.LI(*(np.ones(4),) * 3)}
    nodes |= {"b": conv(4, 4, 8), "l": lif(4, 8, 8), "c": conv(4, 4, 8)}
    graph = graph_of(nodes, "in a m b l c")
    assert texts(read(tmp_path, graph)) == [
        "weight_bits = 8 in all layers (--weight-bits says it)",
        "spike_rate = 1.0 in all layers (--spike-rate says it)",
        "input_bits = 1 in a (--input-bits says it)",
        "input_bits = 8 in b (input_bits in a layer list says it)",
    ]
    given = read(tmp_path, graph, weight_bits=4, input_bits=6, spike_rate=0.1)
    assert texts(given) == ["input_bits = 8 in b (input_bits in a layer list says it)"]
    assert [(x.weight_bits, x.input_bits) for x in given.workload.layers] == [
        (4, 6),
        (4, 8),
        (4, 1),
    ]
    assert {x.spike_rate for x in given.workload.layers} == {0.1}


def test_bits_of_the_image_stay_where_it_is_read(tmp_path):
    """Means of 2 x 2 of its 4 bits are 0..60 quarters; a recurrent matrix reads spikes only."""
    nodes = {"in": image(2, 8), "p": pool(2), "f": nir.Flatten({"input": np.array([2, 4, 4])}, 0)}
    nodes |= {"fc": linear(6, 32), "r": recurrent(6), "out": linear(3, 6)}
    network = read(tmp_path, graph_of(nodes, "in p f fc r out"), input_bits=4)
    assert [x.input_bits for x in network.workload.layers] == [6, 1, 1]


def test_neurons_that_read_the_image_need_no_bits(tmp_path):
    nodes = {"in": vector(4), "code": lif(4), "fc": linear(6, 4)}
    network = read(tmp_path, graph_of(nodes, "in code fc"))
    assert len(texts(network)) == 2


def test_rates_by_the_names_of_layers(tmp_path):
    graph = graph_of({"in": vector(4), "a": linear(6, 4), "b": linear(2, 6)}, "in a b")
    rates = {"a": 0.5, "b": (0.1, 0.2, 0.3, 0.4)}
    network = read(tmp_path, graph, spike_rate=rates)
    assert [x.spike_rate for x in network.workload.layers] == [0.5, (0.1, 0.2, 0.3, 0.4)]
    with pytest.raises(WorkloadError, match=r"net\.nir: spike rates: none for layer 'b'"):
        read(tmp_path, graph, spike_rate={"a": 0.5})
