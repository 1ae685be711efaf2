"""A small network as a torch module and as a NIR graph, and the nodes of such graphs."""

import itertools

import nir
import norse.torch as norse
import numpy as np
import torch
from torch import nn


def a_module():
    torch.manual_seed(0)
    return norse.SequentialState(
        nn.Conv2d(2, 8, 3, padding=1, bias=False),
        norse.LIFBoxCell(),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False),
        norse.LIFBoxCell(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
        norse.LIFBoxCell(),
        nn.Flatten(),
        nn.Linear(64, 10, bias=False),
        norse.LIFBoxCell(),
    )


def lif(*shape):
    ones = np.ones(shape)
    return nir.LIF(tau=ones, r=ones, v_leak=0 * ones, v_threshold=ones)


def conv(c_out, c_in, side, **more):
    arguments = {"stride": 1, "padding": 1, "dilation": 1, "groups": 1, **more}
    weight = np.ones((c_out, c_in, 3, 3))
    shape = None if side is None else (side, side)
    return nir.Conv2d(shape, weight, bias=np.zeros(c_out), **arguments)


def a_graph():
    """The module above; convolutions of NIR always have a bias."""
    nodes = {
        "input": nir.Input({"input": np.array([2, 8, 8])}),
        "a": conv(8, 2, 8),
        "a_lif": lif(8, 8, 8),
        "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "b": conv(8, 1, 4, groups=8),
        "b_lif": lif(8, 4, 4),
        "c": conv(16, 8, 4, stride=2),
        "c_lif": lif(16, 2, 2),
        "flat": nir.Flatten({"input": np.array([16, 2, 2])}, 0, -1),
        "d": nir.Linear(np.ones((10, 64))),
        "d_lif": lif(10),
        "output": nir.Output({"output": np.array([10])}),
    }
    names = list(nodes)
    edges = list(itertools.pairwise(names))
    return nir.NIRGraph(nodes, edges, type_check=False)  # its own check knows no groups


def image(channels, side):
    return nir.Input({"input": np.array([channels, side, side])})


def graph_of(nodes, *paths):
    """A graph of which each path names nodes that read each other."""
    edges = [edge for path in paths for edge in itertools.pairwise(path.split())]
    return nir.NIRGraph(nodes, edges, type_check=False)


def pool(side, stride=None, padding=0, kind=nir.AvgPool2d):
    return kind(*(np.array([n, n]) for n in (side, stride or side, padding)))


def graph_with(**changes):
    graph = a_graph()
    nodes = {**graph.nodes, **changes}
    return nir.NIRGraph(nodes, graph.edges, type_check=False)


def linear(outputs, inputs):
    return nir.Linear(np.ones((outputs, inputs)))


def vector(size):
    return nir.Input({"input": np.array([size])})


def recurrent(size, neurons=lif):
    """Neurons and the weights by which they read their own spikes, as snnTorch exports them."""
    ends = {
        "input": vector(size),
        "output": nir.Output({"output": np.array([size])}),
    }
    nodes = ends | {"lif": neurons(size), "w_rec": linear(size, size)}
    return graph_of(nodes, "input lif w_rec lif output")
