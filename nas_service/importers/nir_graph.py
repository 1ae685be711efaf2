"""The layers of a NIR graph, and the poolings, neurons and additions between them.

A pooling costs additions. They belong to the layer before it (`pool`) where all readers of this
layer read it through the same poolings, else to the layer that reads the pooling (`input_adds`).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from hw_models import Layer, WorkloadError
from hw_models.layer import MAX_SIZE, pair

ANALOG_BITS = 8  # of values that are neither spikes nor sums of spikes
MATRICES = ("Conv2d", "Linear", "Affine")
POOLS = ("AvgPool2d", "SumPool2d")
SPIKING = ("LIF", "IF", "CubaLIF")
NEURONS = (*SPIKING, "LI", "CubaLI", "I")
OTHERS = ("Input", "Output", "Flatten", "Scale", "Threshold")
KINDS = (*MATRICES, *POOLS, *NEURONS, *OTHERS, "NIRGraph")
ENDS = ("Input", "Output")  # of an inner graph
Edges = list[tuple[str, str]]
Adds = frozenset[tuple[str, int]]  # additions per sample, by the node that makes them


def layers(graph: Any, weight_bits: int, input_bits: int) -> tuple[Layer, ...]:
    """The layers of a NIR graph.

    Args:
        graph: A NIRGraph.
        weight_bits: Bits of all weights.
        input_bits: Bits of the values that the graph reads; 1 for spikes.

    Returns:
        The layers, each after those it reads.

    Raises:
        WorkloadError: A node has no counterpart on a chip; the message names it.
    """
    nodes, edges = _flat(graph, "graph")
    reads: dict[str, list[str]] = {name: [] for name in nodes}
    for a, b in dict.fromkeys(edges):
        reads[b].append(a)
    builder = _LayerBuilder(weight_bits, input_bits)
    for name in _ordered(reads):
        builder.add(name, nodes[name], reads[name])
    read = {a for a, _ in edges}
    return builder.finished(name for name in nodes if name not in read)


def unknown_kind(name: str, kind: str) -> WorkloadError:
    """The error about a node of an unknown kind."""
    return WorkloadError(f"node {name!r} is a {kind:.60}: known are {', '.join(KINDS)}")


def _flat(graph: Any, what: str) -> tuple[dict[str, Any], Edges]:
    """Nodes and edges, including those of inner graphs, whose names are `graph.node`."""
    if not isinstance(getattr(graph, "nodes", None), Mapping) or not hasattr(graph, "edges"):
        raise WorkloadError(f"{what} is a {type(graph).__name__}: a NIRGraph is needed")
    edges = [(str(a), str(b)) for a, b in graph.edges]
    if unknown := sorted({end for edge in edges for end in edge} - graph.nodes.keys()):
        raise WorkloadError(f"{what}: edges name the nodes {unknown}, which it does not have")
    nodes: dict[str, Any] = {}
    first, last = {}, {}
    inner_edges: Edges = []
    for name, node in graph.nodes.items():
        parts = {name: node}
        if type(node).__name__ == "NIRGraph":
            if name not in {b for _, b in edges}:
                raise WorkloadError(f"node {name!r} (NIRGraph) reads nothing")
            parts, links, first[name], last[name] = _inner(name, node)
            inner_edges += links
        if doubled := sorted(parts.keys() & nodes.keys()):
            raise WorkloadError(f"{what}: nodes {doubled} are listed twice")
        nodes |= parts
    return nodes, [(last.get(a, a), first.get(b, b)) for a, b in edges] + inner_edges


def _inner(name: str, graph: Any) -> tuple[dict[str, Any], Edges, str, str]:
    """Nodes and edges of an inner graph, and the names of its input and its output."""
    parts, links = _flat(graph, f"node {name!r}")
    first, last = (f"{name}.{_only(name, parts, kind)}" for kind in ENDS)
    nodes = {f"{name}.{part}": node for part, node in parts.items()}
    return nodes, [(f"{name}.{a}", f"{name}.{b}") for a, b in links], first, last


def _only(graph: str, parts: dict[str, Any], kind: str) -> str:
    """The name of the only input or output of an inner graph."""
    names = [name for name, x in parts.items() if type(x).__name__ == kind and "." not in name]
    if len(names) != 1:
        raise WorkloadError(f"node {graph!r}: an inner graph of one {kind} is needed, not {names}")
    return names[0]


def _ordered(reads: dict[str, list[str]]) -> list[str]:
    """Node names, each after those that it reads; WorkloadError for a loop."""
    try:
        return list(TopologicalSorter(reads).static_order())
    except CycleError as error:
        loop = " -> ".join(error.args[1][:8])
        raise WorkloadError(f"nodes {loop} read each other: loops cannot be costed") from error


@dataclass(frozen=True)
class _Signal:
    """The output of a node."""

    sources: frozenset[str]  # the layers it is computed from, "" for the graph's input
    shape: tuple[int, ...]  # (C, H, W) or (N,)
    levels: int | None  # largest value in spikes; None for values that are no sums of spikes
    pool: int = 1  # factor by which poolings shrank the map of its only source
    pool_adds: Adds = frozenset()  # additions of these poolings
    adds: Adds = frozenset()  # all other additions after the sources

    @property
    def size(self) -> int:
        """Values per sample."""
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        """Bits of a value."""
        return ANALOG_BITS if self.levels is None else min(self.levels.bit_length(), 32)

    def unshared(self) -> "_Signal":
        """The same output, its poolings counted as additions instead of a layer's `pool`."""
        return replace(self, pool=1, pool_adds=frozenset(), adds=self.adds | self.pool_adds)


@dataclass
class _LayerBuilder:
    """Collects the layers of a graph, node by node, each node after those that it reads."""

    weight_bits: int
    input_bits: int
    layers: dict[str, Layer] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)  # of the layers, in their order
    neurons: dict[str, int] = field(default_factory=dict)  # by layer; "" for those before all
    signals: dict[str, _Signal] = field(default_factory=dict)
    read: list[tuple[str, _Signal]] = field(default_factory=list)  # layers and their inputs

    def add(self, name: str, node: Any, before: list[str]) -> None:
        """Adds a node that reads the nodes `before`."""
        kind = type(node).__name__
        if kind == "Input" and not before:
            self.signals[name] = self._input(name, node)
            return
        if kind not in KINDS:
            raise unknown_kind(name, kind)
        if not before:
            raise WorkloadError(f"node {name!r} ({kind}) reads nothing")
        self.signals[name] = self._output(name, node, kind, self._joined(name, before))

    def _output(self, name: str, node: Any, kind: str, signal: _Signal) -> _Signal:
        """The output of a node that reads this signal."""
        if kind in MATRICES:
            return self._matrix(name, node, kind, signal)
        if kind in POOLS:
            return _pooled(name, node, signal)
        if kind in NEURONS:
            return self._neurons(name, node, kind, signal)
        if kind == "Flatten":  # it does not matter which of the sides are joined
            return replace(signal, shape=(signal.size,))
        if kind == "Threshold":
            return replace(signal, levels=1)
        if kind == "Scale":
            _check_scale(name, node, signal)
        return signal

    def finished(self, ends: Iterable[str]) -> tuple[Layer, ...]:
        """The layers with their poolings, additions and neurons.

        Args:
            ends: The nodes that no other node reads.
        """
        if not self.layers:
            raise WorkloadError("graph: no layer with weights")
        shared = self._shared_pools(ends)
        complete = {name: replace(x, pool=shared.get(name, 1)) for name, x in self.layers.items()}
        for name, signal in self.read:
            in_source = len(signal.sources) == 1 and signal.sources <= shared.keys()
            adds = signal.adds | (frozenset() if in_source else signal.pool_adds)
            complete[name] = replace(complete[name], input_adds=sum(n for _, n in adds))
        return self._with_neurons(complete)

    def _shared_pools(self, ends: Iterable[str]) -> dict[str, int]:
        """The pooling of each layer whose readers all read it through the same poolings."""
        outputs = [*(signal for _, signal in self.read), *(self.signals[name] for name in ends)]
        pools: dict[str, set[int]] = {name: set() for name in self.layers}
        for signal in outputs:
            for source in signal.sources - {""}:
                pools[source].add(signal.pool)
        return {name: sizes.pop() for name, sizes in pools.items() if len(sizes) == 1}

    def _with_neurons(self, layers: dict[str, Layer]) -> tuple[Layer, ...]:
        """The layers with their neurons.

        A graph without neurons is that of a network which is still to be converted: it has one
        neuron for each output of a layer, as a Layer assumes.
        """
        if not self.neurons:
            return tuple(layers.values())
        first = next(iter(layers))
        counts = {**dict.fromkeys(layers, 0), **self.neurons}
        counts[first] += counts.pop("", 0)
        return tuple(replace(x, neurons=counts[name]) for name, x in layers.items())

    def _input(self, name: str, node: Any) -> _Signal:
        sides = _integers(name, "shape", (node.output_type or {}).get("output"), least=1)
        if type(self.input_bits) is not int or not 1 <= self.input_bits <= 32:
            raise WorkloadError(f"input_bits = {self.input_bits!r:.60}: 1..32 are possible")
        return _Signal(frozenset([""]), sides, 2**self.input_bits - 1)

    def _joined(self, name: str, before: list[str]) -> _Signal:
        """The sum of the outputs that a node reads.

        Where all of them come from one layer through the same poolings, so does the sum.
        """
        signals = [self.signals[b] for b in before]
        if len(signals) == 1:
            return signals[0]
        if len(shapes := {s.shape for s in signals}) > 1:
            raise WorkloadError(f"node {name!r} adds maps of different shapes {sorted(shapes)}")
        if len({(s.sources, s.pool) for s in signals}) > 1 or len(signals[0].sources) > 1:
            signals = [s.unshared() for s in signals]
        levels = [s.levels for s in signals]
        sums = (name, (len(signals) - 1) * signals[0].size)
        return _Signal(
            sources=frozenset().union(*(s.sources for s in signals)),
            shape=signals[0].shape,
            levels=None if None in levels else len(levels) * max(n or 0 for n in levels),
            pool=signals[0].pool,
            pool_adds=frozenset().union(*(s.pool_adds for s in signals)),
            adds=frozenset([sums]).union(*(s.adds for s in signals)),
        )

    def _matrix(self, name: str, node: Any, kind: str, signal: _Signal) -> _Signal:
        shape = _conv_shape(name, node, signal) if kind == "Conv2d" else _linear(name, node, signal)
        names = list(signal.sources - {""})
        layer = Layer(
            name=name,
            **shape,
            weight_bits=self.weight_bits,
            input_bits=signal.bits,
            parameters=int(node.weight.size) + _bias(name, node),
            sources=tuple(sorted(names, key=self.positions.__getitem__)),
        )
        self.positions[name] = len(self.layers)
        self.layers[name] = layer
        self.read.append((name, signal))
        conv = (layer.out_channels, *pair(layer.out_size))
        out = conv if layer.kind == "conv" else (layer.out_channels,)
        return _Signal(frozenset([name]), out, None)

    def _neurons(self, name: str, node: Any, kind: str, signal: _Signal) -> _Signal:
        """Counts neurons for the layer before them; where branches meet, for the last one."""
        sizes = {np.size(x) for k, x in vars(node).items() if k in ("tau", "tau_mem", "r")}
        if not sizes <= {1, signal.shape[0], signal.size}:
            raise WorkloadError(
                f"node {name!r} ({kind}): {sorted(sizes)} neurons for the values {signal.shape}"
            )
        owner = max(signal.sources - {""}, key=self.positions.__getitem__, default="")
        self.neurons[owner] = self.neurons.get(owner, 0) + signal.size
        return replace(signal, levels=1 if kind in SPIKING else None)


def _pooled(name: str, node: Any, signal: _Signal) -> _Signal:
    if len(signal.shape) != 3:
        raise WorkloadError(f"node {name!r}: its input must be a map, not {signal.shape}")
    side = _same(name, "map", signal.shape[1:], least=1)
    window = _same(name, "kernel_size", node.kernel_size, least=1)
    stride = _same(name, "stride", node.stride, least=1)
    padding = _same(name, "padding", node.padding, least=0)
    out = (side + 2 * padding - window) // stride + 1
    if not 1 <= out <= side:
        raise WorkloadError(f"node {name!r}: a window of {window} on a map of {side}")
    values = signal.shape[0] * out**2
    pooled = replace(
        signal,
        shape=(signal.shape[0], out, out),
        levels=None if signal.levels is None else signal.levels * window**2,
    )
    layers = pooled.sources - {""}
    if stride > window or out != side // stride or layers != pooled.sources or len(layers) > 1:
        return replace(pooled, adds=pooled.adds | {(name, (window**2 - 1) * values)})
    return replace(  # `pool` does not count the additions of windows that overlap
        pooled,
        pool=pooled.pool * stride,
        pool_adds=pooled.pool_adds | {(name, (stride**2 - 1) * values)},
        adds=pooled.adds | {(f"{name} overlap", (window**2 - stride**2) * values)},
    )


def _linear(name: str, node: Any, signal: _Signal) -> dict[str, Any]:
    columns, rows = _weight(name, node, 2)
    if signal.size != rows:
        raise WorkloadError(f"node {name!r}: {rows} inputs, but {signal.shape} are given")
    return {"kind": "linear", "in_channels": rows, "out_channels": columns}


def _conv_shape(name: str, node: Any, signal: _Signal) -> dict[str, Any]:
    columns, rows, *sides = _weight(name, node, 4)
    groups = _same(name, "groups", node.groups, least=1)
    if len(signal.shape) != 3:
        raise WorkloadError(f"node {name!r}: its input must be a map, not {signal.shape}")
    if rows * groups != signal.shape[0]:
        raise WorkloadError(f"node {name!r}: in_channels = {rows * groups}, not {signal.shape[0]}")
    side = _same(name, "map", signal.shape[1:], least=1)
    if node.input_shape is not None and _same(name, "input_shape", node.input_shape) != side:
        raise WorkloadError(f"node {name!r}: input_shape = {node.input_shape}, not {side}")
    kernel = _same(name, "kernel", sides, least=1)
    if _same(name, "dilation", node.dilation, least=1) != 1:
        raise WorkloadError(f"node {name!r}: dilation = {node.dilation}, 1 is needed")
    stride = _same(name, "stride", node.stride, least=1)
    return {
        "kind": "conv",
        "in_channels": signal.shape[0],
        "out_channels": columns,
        "kernel": kernel,
        "stride": stride,
        "groups": groups,
        "in_size": side,
        "out_size": _out_size(name, side, kernel, stride, node.padding),
    }


def _out_size(name: str, side: int, kernel: int, stride: int, padding: Any) -> int:
    if isinstance(padding, str):
        if padding not in ("same", "valid") or (padding == "same" and stride > 1):
            raise WorkloadError(f"node {name!r}: padding = {padding!r:.60} at a stride of {stride}")
        return side if padding == "same" else (side - kernel) // stride + 1
    return (side + 2 * _same(name, "padding", padding, least=0) - kernel) // stride + 1


def _weight(name: str, node: Any, dimensions: int) -> tuple[int, ...]:
    shape = tuple(int(n) for n in np.shape(node.weight))
    if len(shape) != dimensions:
        raise WorkloadError(f"node {name!r}: weights {shape}, {dimensions} dimensions are needed")
    return shape


def _bias(name: str, node: Any) -> int:
    """The numbers of a bias; 0 for a bias of zeros, which NIR's convolutions have without one."""
    bias = np.asarray(getattr(node, "bias", 0))
    if bias.size not in (1, node.weight.shape[0]):
        raise WorkloadError(f"node {name!r}: {bias.size} biases of {node.weight.shape[0]} outputs")
    return int(bias.size) if bias.any() else 0


def _check_scale(name: str, node: Any, signal: _Signal) -> None:
    """WorkloadError for a scale that is not one factor per channel, as weights can contain it."""
    scale = np.asarray(node.scale)
    by_channel = scale.reshape(signal.shape[0], -1) if scale.size == signal.size else scale
    if scale.size not in (1, signal.shape[0], signal.size) or (
        scale.size == signal.size and (by_channel != by_channel[:, :1]).any()
    ):
        raise WorkloadError(f"node {name!r}: one scale for each channel is needed")


def _same(name: str, what: str, value: Any, least: int = 0) -> int:
    """The number that both sides share; WorkloadError where they differ."""
    sides = _integers(name, what, value, least)
    if len(set(sides)) != 1 or len(sides) > 2:
        raise WorkloadError(f"node {name!r}: {what} = {sides}, the same for both sides is needed")
    return sides[0]


def _integers(name: str, what: str, value: Any, least: int) -> tuple[int, ...]:
    """Integers of an untrusted array; WorkloadError where it has other values, or none."""
    try:
        numbers = [n.item() for n in np.atleast_1d(np.asarray(value))]
        integers = [int(n) for n in numbers]
        good = numbers == integers and all(least <= n <= MAX_SIZE for n in integers)
    except (TypeError, ValueError, OverflowError, AttributeError):
        integers, good = [], False
    if not good or not integers:
        right = f"integers in {least}..{MAX_SIZE} are needed"
        raise WorkloadError(f"node {name!r}: {what} = {value!r:.60}, {right}")
    return tuple(integers)
