"""Random architectures of cells, as they are and as NIR graphs."""

from dataclasses import replace

import nir
import numpy as np
from nir_graphs import graph_of, lif, pool

from hw_models import Workload
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGE_NAMES, OUTPUT, Cell
from nas_service.spaces.operations import BACK, OPERATIONS

SIDE = 8  # of the images
KNOWN_TO_NIR = tuple(sorted(set(OPERATIONS) - {"zeroize", "maxpool3x3"}))
ALL = tuple(sorted(set(OPERATIONS) - {"zeroize"}))


def random_architecture(rng, states):
    """One or two cells with edges of these states, or none, and any pooling of the head.

    In the last of seven time steps all that backward edges bring has arrived.
    """
    cells = tuple(_cell(rng, states) for _ in range(rng.randint(1, 2)))
    head_pool = rng.choice((0, 1, 2, 4))
    widths = tuple(rng.randint(2, 4) for _ in cells)
    return Architecture(cells, widths, head_pool, 8, 7, 8)


def _cell(rng, states):
    while True:
        names = [rng.choice(states) if rng.random() < 0.6 else "zeroize" for _ in EDGE_NAMES]
        if (cell := Cell(tuple(names))).connected:
            return cell


FORWARD = KNOWN_TO_NIR
BACKWARD = (*ALL, *(BACK + name for name in ALL))


def as_nir_says(workload):
    """A workload without what NIR has no node for: batch norms, and images that stay the same."""
    layers = (
        replace(
            x,
            once=False,
            parameters=x.weights + (x.out_channels if x.name == "readout" else 0),
        )
        for x in workload.layers
    )
    return Workload(tuple(layers), workload.time_steps)


def cell_graph(a, classes):
    """The NIR graph of an architecture without backward edges, for images of one channel."""
    return _Graph().of(a, classes)


class _Graph:
    """Nodes and edges; every node of a cell is a Flatten, where what it reads is added."""

    def __init__(self):
        self.nodes, self.paths = {}, []

    def of(self, a, classes):
        side, widths = SIDE, a.widths
        self.nodes["in"] = nir.Input({"input": np.array([1, side, side])})
        self.nodes["stem"] = _convolution(1, widths[0], 3, side)
        self.paths.append("in stem")
        last = "stem"
        for k, cell in enumerate(a.cells):
            if k:
                path = f"reduction{k - 1}"
                last = self.matrix(last, path, widths[k - 1], widths[k], 3, side)
                side //= 2
                self.nodes[f"{path}.pool"] = pool(2)
                self.paths.append(f"{last} {path}.pool")
                last = f"{path}.pool"
            last = self.cell(f"cell{k}", cell.live(), last, widths[k], side)
        return self.head(a, last, side, classes)

    def cell(self, name, cell, last, channels, side):
        ends = {e.target for e in cell.edges}
        at = {0: last} | {node: f"{name}.n{node}" for node in sorted(ends)}
        for node in ends:
            self.nodes[at[node]] = nir.Flatten({"input": np.array([channels, side, side])}, 0, 0)
        for edge in cell.edges:
            end, path = at[edge.source], f"{name}.edge{edge.name}"
            for matrix in edge.operation.matrices:
                groups = channels if matrix.depthwise else 1
                sizes = channels, channels, matrix.kernel, side, groups, matrix.dilation
                end = self.matrix(end, path + matrix.suffix, *sizes)
            if edge.operation.pooling:
                self.nodes[path] = pool(edge.operation.window, 1, edge.operation.window // 2)
                self.paths.append(f"{end} {path}")
                end = path
            self.paths.append(f"{end} {at[edge.target]}")
        return at[OUTPUT]

    def matrix(self, last, name, inputs, outputs, kernel, side, groups=1, dilation=1):
        self.nodes[f"{name}.lif"] = lif(inputs, side, side)
        self.nodes[name] = _convolution(inputs, outputs, kernel, side, groups, dilation)
        self.paths.append(f"{last} {name}.lif {name}")
        return name

    def head(self, a, last, side, classes):
        window, channels = a.head_pool or side, a.widths[-1]
        pooled = np.array([channels, side // window, side // window])
        self.nodes |= {
            "hidden.lif": lif(channels, side, side),
            "pool": pool(window),
            "flat": nir.Flatten({"input": pooled}, 0),
            "hidden": nir.Linear(np.ones((a.hidden, int(pooled.prod())))),
            "readout.lif": lif(a.hidden),
            "readout": nir.Affine(np.ones((classes, a.hidden)), np.ones(classes)),
        }
        self.paths.append(f"{last} hidden.lif pool flat hidden readout.lif readout")
        return graph_of(self.nodes, *self.paths)


def _convolution(inputs, outputs, kernel, side, groups=1, dilation=1):
    weight = np.ones((outputs, inputs // groups, kernel, kernel))
    padding = dilation * (kernel // 2)
    return nir.Conv2d((side, side), weight, 1, padding, dilation, groups, np.zeros(outputs))
