"""One time step as a graph of NIR (Pedersen et al., Nature Communications 15:8122, 2024).

Nodes are numbered in the order in which they can be computed: files keep them by name, and readers
delay a loop where it enters the first node of it. C channels, H W pixels, F features.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import nir
import numpy as np
from numpy.typing import NDArray

from nas_service.errors import SpecError
from nas_service.export.nir_readers import Reader, in_steps
from nas_service.export.step_graph import INPUT, READOUT, Node, StepGraph
from nas_service.snn.neurons import Neuron

Array = NDArray[np.float32]


def demand_nodes(graph: StepGraph) -> None:
    """SpecError for a node that NIR does not have."""
    for node in graph.nodes:
        if node.kind == "max_pool":
            raise SpecError(f"{node.name}: NIR has no maximum pooling; --format onnx has")


@dataclass(eq=False)
class Writer:
    """Collects the nodes and edges of a NIR graph.

    Args:
        graph: The network's time step.
        reader: The program that the graph is for; None for NIR's own equations.
    """

    graph: StepGraph
    reader: Reader | None = None
    nodes: dict[str, Any] = field(default_factory=dict)
    edges: list[tuple[str, str]] = field(default_factory=list)
    late: list[tuple[str, str]] = field(default_factory=list)  # edges that deliver a step late
    names: dict[str, str] = field(default_factory=dict)  # of the nodes of the time step

    def write(self) -> "Writer":
        """Adds all nodes of the time step; returns itself.

        Raises:
            SpecError: NIR has no such node.
        """
        demand_nodes(self.graph)
        for node in self._read:
            sources = [self.names[name] for name in node.inputs]
            self.names[node.name] = self._added(node, sources + self._closing(node))
            for target in self._targets.get(node.name, ()):
                self._deliver_late(node, target)
        shape = {"output": np.array(self.graph[READOUT].shape)}
        self._add("output", nir.Output(shape), [self.names[READOUT]])
        return self

    def _add(self, name: str, node: Any, sources: Iterable[str]) -> str:
        """Adds a node that reads others; returns its name in the file."""
        own = f"{len(self.nodes):04}_{name}"
        self.nodes[own] = node
        self.edges += [(source, own) for source in sources]
        return own

    @cached_property
    def _read(self) -> list[Node]:
        """The nodes on which the outputs depend; others are sums of nothing."""
        needed, pending = {READOUT}, [READOUT]
        while pending:
            node = self.graph[pending.pop()]
            pending += {*node.inputs, *node.late, node.like} - {"", *needed}
            needed.update(pending)
        return [node for node in self.graph.nodes if node.name in needed]

    @cached_property
    def _targets(self) -> dict[str, list[Node]]:
        """The nodes that read a node one time step late."""
        return {name: [x for x in self._read if name in x.late] for name in self.graph.late_names}

    def _in_loop(self, end: str, target: Node) -> bool:
        """True where a node that is read late depends on its reader."""
        reached, size = {target.name}, 0
        while len(reached) > size:
            size = len(reached)
            reached |= {x.name for x in self._read if not reached.isdisjoint((*x.inputs, *x.late))}
        return end in reached

    def _closing(self, node: Node) -> list[str]:
        """Zeros from each node that reads this one late without a loop, in which readers delay."""
        if self.reader is None:
            return []
        open_ends = [x for x in self._targets.get(node.name, ()) if not self._in_loop(node.name, x)]
        return [self._zeros(x, self.names[x.name]) for x in open_ends]

    def _deliver_late(self, node: Node, target: Node) -> None:
        """Adds the edge that leads back, through a delay where it closes no loop."""
        own, reader = self.names[node.name], self.names[target.name]
        if self.reader is None and not self._in_loop(node.name, target):
            delay = self._add(f"{node.name}_delay", nir.Delay(_full(node.shape, 1)), [own])
            self.edges.append((delay, reader))
        else:
            self.edges.append((own, reader))
            self.late.append((own, reader))

    def _added(self, node: Node, sources: list[str]) -> str:
        """Adds what computes a node; returns the name of its output."""
        match node.kind:
            case "image":
                made = nir.Input({"input": np.array(node.shape)})
                return self._add(INPUT, made, [])
            case "sum":
                # a reader delays only beside other edges
                if not sources and (self.reader is not None or not node.late):
                    sources = [self._zeros(node, self.names[node.like])]
                sources = self._distinct(node, sources)
                made = self._by_channel(node, _full(node.shape[:1], 1))
            case "affine":
                if self.reader is None:
                    return sources[0]  # the neurons after it have its scale and bias
                made = self._by_channel(node, _array(node.scale), _array(node.bias))
            case "neurons":
                made = self._neurons(node)
            case "convolution":
                made = self._convolution(node)
            case "linear":
                made = nir.Affine(*_scaled(node))
            case "flatten":
                shape = {"input": np.array(self.graph[node.inputs[0]].shape)}
                made = nir.Flatten(shape, -3, -1)  # counted from the end: right in all readers
            case _:
                made = self._pooling(node)
        return self._add(node.name, made, sources)

    def _distinct(self, node: Node, sources: list[str]) -> list[str]:
        """The sources of a sum, through nodes of their own where it reads one again.

        NIR has no two edges between the same nodes, and readers add up only one of them.
        """
        distinct: list[str] = []
        for source in sources:
            if source in distinct:
                passed = self._by_channel(node, _full(node.shape[:1], 1))
                source = self._add(f"{node.name}_again", passed, [source])
            distinct.append(source)
        return distinct

    def _zeros(self, like: Node, source: str) -> str:
        """Adds zeros of the shape of a node, which depend on a source."""
        zeros = self._by_channel(like, _full(like.shape[:1], 0))
        return self._add(f"{like.name}_zeros", zeros, [source])

    def _by_channel(self, node: Node, scale: Array, bias: Array | None = None) -> Any:
        """A scale, and a bias, of each channel of a map; a convolution where a reader needs one."""
        if self.reader is None:
            return nir.Scale(np.broadcast_to(scale[:, None, None], node.shape).copy())
        bias = _full(scale.shape, 0) if bias is None else bias
        return _convolution(node.shape[1:], np.diag(scale)[:, :, None, None], bias)

    def _neurons(self, node: Node) -> Any:
        """Neurons; scale and bias of the currents are resistance and leak in NIR's equation."""
        neuron = cast(Neuron, node.neuron)
        constants = (self.reader.constants if self.reader else in_steps)(neuron)
        shape = node.shape
        if self.reader and self.reader.by_channel and len(shape) == 3:
            shape = (shape[0], 1, 1)
        tau, r, threshold = (_full(shape, x) for x in constants)
        leak, before = _full(shape, 0), self.graph[node.inputs[0]]
        if self.reader is None and before.kind == "affine":
            r, leak = (
                np.broadcast_to(_array(x)[:, None, None], shape).copy()
                for x in (before.scale, before.bias)
            )
        return nir.LIF(tau, r, leak, threshold, _full(shape, 0))

    def _convolution(self, node: Node) -> Any:
        weight, bias = _scaled(node)
        if pool := self._mean_after(node):
            share = np.float32(1 / _window(pool) ** 2)
            weight, bias = weight * share, bias * share
        g = dict(node.geometry)
        if self.reader is not None and g["groups"] > 1:
            weight, g["groups"] = _dense(weight, g["groups"]), 1
        return _convolution(self.graph[node.inputs[0]].shape[1:], weight, bias, **g)

    def _mean_after(self, node: Node) -> Node | None:
        """The pooling that alone reads a convolution, which can divide by its window."""
        readers = [x for x in self._read if node.name in (*x.inputs, *x.late)]
        alone = len(readers) == 1 and readers[0].kind == "mean_pool"
        return readers[0] if alone and not readers[0].geometry["padding"] else None

    def _pooling(self, node: Node) -> Any:
        sizes = [np.full(2, node.geometry[x]) for x in ("kernel_size", "stride", "padding")]
        before = self.graph[node.inputs[0]]
        divided = before.kind == "convolution" and self._mean_after(before) is node
        if node.kind == "sum_pool" or divided:
            return nir.SumPool2d(*sizes)
        if self.reader is None:
            return nir.AvgPool2d(*sizes)
        channels, window = node.shape[0], _window(node)
        weight = _full((channels, channels, window, window), 1 / window**2)
        weight *= np.eye(channels, dtype=np.float32)[:, :, None, None]
        places = {key: node.geometry[key] for key in ("padding", "stride")}
        return _convolution(before.shape[1:], weight, _full((channels,), 0), **places)


def _window(pool: Node) -> int:
    """The side of a pooling's window."""
    return int(np.max(pool.geometry["kernel_size"]))


def _array(values: Any) -> Array:
    array: Array = values.numpy().astype(np.float32)
    return array


def _full(shape: Sequence[int], value: float) -> Array:
    return np.full(shape, value, np.float32)


def _scaled(node: Node) -> tuple[Array, Array]:
    """Weights as they act, each an integer times the scale of its output, and the biases."""
    weight, scale = _array(node.weight), _array(node.scale)
    return weight * scale.reshape(-1, *[1] * (weight.ndim - 1)), _array(node.bias)


def _dense(weight: Array, groups: int) -> Array:
    """The weights [C_out, C_in, K, K] of a convolution of groups, with zeros between them."""
    c_out, c_in, *kernel = weight.shape
    dense = np.zeros((c_out, c_in * groups, *kernel), np.float32)
    for k in range(c_out):
        start = k // (c_out // groups) * c_in
        dense[k, start : start + c_in] = weight[k]
    return dense


def _convolution(size: Sequence[int], weight: Array, bias: Array, **geometry: Any) -> Any:
    pairs = {"stride": 1, "padding": 0, "dilation": 1} | geometry
    groups = pairs.pop("groups", 1)
    sides = {key: tuple(np.broadcast_to(x, 2).tolist()) for key, x in pairs.items()}
    return nir.Conv2d((int(size[0]), int(size[1])), weight, groups=groups, bias=bias, **sides)
