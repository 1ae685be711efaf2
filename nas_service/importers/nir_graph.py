"""A NIR graph walked from its input: which layers it has, and what lies between them.

A pooling costs additions. They are the layer's own (`pool`) where all that read the layer read it
through the same poolings; else they stand before the layer that reads it (`input_adds`).
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from hw_models import Layer, WorkloadError
from hw_models.workload import MAX_SIZE

ANALOG_BITS = 8  # of values that are no spikes, nor sums of them
MATRICES = ("Conv2d", "Linear", "Affine")
POOLS = ("AvgPool2d", "SumPool2d")
SPIKING = ("LIF", "IF", "CubaLIF")
NEURONS = (*SPIKING, "LI", "CubaLI", "I")
PASSED = ("Input", "Output", "Flatten", "Scale", "Threshold")
KINDS = (*MATRICES, *POOLS, *NEURONS, *PASSED, "NIRGraph")
Edges = list[tuple[str, str]]
Adds = frozenset[tuple[str, int]]  # additions per sample, by the node that makes them


def layers(graph: Any, weight_bits: int, input_bits: int) -> tuple[Layer, ...]:
    """Layers of a NIRGraph, each behind those it reads; WorkloadError naming what cannot be."""
    nodes, edges = _flat(graph, "graph")
    reads: dict[str, list[str]] = {name: [] for name in nodes}
    for a, b in dict.fromkeys(edges):
        reads[b].append(a)
    walk = _Walk(weight_bits, input_bits)
    for name in _ordered(reads):
        walk.add(name, nodes[name], reads[name])
    read = {a for a, _ in edges}
    return walk.finished(name for name in nodes if name not in read)


def unknown_kind(name: str, kind: str) -> WorkloadError:
    return WorkloadError(f"node {name!r} is a {kind:.60}: known are {', '.join(KINDS)}")


def _flat(graph: Any, what: str) -> tuple[dict[str, Any], Edges]:
    """Nodes and edges, those of inner graphs among them as `graph.node`."""
    if not isinstance(getattr(graph, "nodes", None), Mapping) or not hasattr(graph, "edges"):
        raise WorkloadError(f"{what} is a {type(graph).__name__}: a NIRGraph is needed")
    edges = [(str(a), str(b)) for a, b in graph.edges]
    if unknown := sorted({end for edge in edges for end in edge} - graph.nodes.keys()):
        raise WorkloadError(f"{what}: edges name the nodes {unknown}, which it does not have")
    nodes: dict[str, Any] = {}
    first, last = {}, {}
    inner: Edges = []
    for name, node in graph.nodes.items():
        parts = {name: node}
        if type(node).__name__ == "NIRGraph":
            if name not in {b for _, b in edges}:
                raise WorkloadError(f"node {name!r} (NIRGraph) reads nothing")
            parts, links = _flat(node, f"node {name!r}")
            first[name], last[name] = (f"{name}.{_only(name, parts, k)}" for k in _ENDS)
            parts = {f"{name}.{part}": x for part, x in parts.items()}
            inner += [(f"{name}.{a}", f"{name}.{b}") for a, b in links]
        if doubled := sorted(parts.keys() & nodes.keys()):
            raise WorkloadError(f"{what}: nodes {doubled} stand twice")
        nodes |= parts
    return nodes, [(last.get(a, a), first.get(b, b)) for a, b in edges] + inner


_ENDS = ("Input", "Output")


def _only(graph: str, parts: dict[str, Any], kind: str) -> str:
    """The one input or output of an inner graph."""
    found = [name for name, x in parts.items() if type(x).__name__ == kind and "." not in name]
    if len(found) != 1:
        raise WorkloadError(f"node {graph!r}: an inner graph of one {kind} is needed, not {found}")
    return found[0]


def _ordered(reads: dict[str, list[str]]) -> list[str]:
    """Node names so that every node follows what it reads; WorkloadError for a loop."""
    try:
        return list(TopologicalSorter(reads).static_order())
    except CycleError as error:
        loop = " -> ".join(error.args[1][:8])
        raise WorkloadError(f"nodes {loop} read each other: loops cannot be costed") from error


@dataclass(frozen=True)
class _Signal:
    """What a node gives."""

    sources: frozenset[str]  # layers, and "" for the graph's input
    shape: tuple[int, ...]  # (C, H, W) or (N,)
    levels: int | None  # largest value in spikes; None for values that are no sums of spikes
    pool: int = 1  # by which the one source's map shrank
    pool_adds: Adds = frozenset()  # of that shrinking
    adds: Adds = frozenset()  # all others since the sources

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def bits(self) -> int:
        return ANALOG_BITS if self.levels is None else min(self.levels.bit_length(), 32)

    def unshared(self) -> "_Signal":
        """The same, its poolings no longer those of one layer."""
        return replace(self, pool=1, pool_adds=frozenset(), adds=self.adds | self.pool_adds)


@dataclass
class _Walk:
    """Layers in order, while a graph is walked from its input."""

    weight_bits: int
    input_bits: int
    layers: dict[str, Layer] = field(default_factory=dict)
    positions: dict[str, int] = field(default_factory=dict)  # of the layers
    neurons: dict[str, int] = field(default_factory=dict)  # by layer; "" in front of all
    signals: dict[str, _Signal] = field(default_factory=dict)
    read: list[tuple[str, _Signal]] = field(default_factory=list)  # (layer, what it reads)

    def add(self, name: str, node: Any, before: list[str]) -> None:
        kind = type(node).__name__
        if kind == "Input" and not before:
            self.signals[name] = self._input(name, node)
            return
        if kind not in KINDS:
            raise unknown_kind(name, kind)
        if not before:
            raise WorkloadError(f"node {name!r} ({kind}) reads nothing")
        given = self._joined(name, before)
        if kind in MATRICES:
            given = self._matrix(name, node, kind, given)
        elif kind in POOLS:
            given = _pooled(name, node, given)
        elif kind in NEURONS:
            given = self._neurons(name, node, kind, given)
        elif kind == "Flatten":  # which of the sides it joins decides nothing behind it
            given = replace(given, shape=(given.size,))
        elif kind == "Scale":
            _check_scale(name, node, given)
        elif kind == "Threshold":
            given = replace(given, levels=1)
        self.signals[name] = given

    def finished(self, ends: Iterable[str]) -> tuple[Layer, ...]:
        """The layers with their poolings, neurons and additions; `ends` nobody reads."""
        if not self.layers:
            raise WorkloadError("graph: no layer with weights")
        read = [*self.read, *(("", self.signals[name]) for name in ends)]
        pools: dict[str, set[int]] = {name: set() for name in self.layers}
        for _, signal in read:
            for source in signal.sources - {""}:
                pools[source].add(signal.pool)
        shared = {name: found.pop() for name, found in pools.items() if len(found) == 1}
        done = {name: replace(x, pool=shared.get(name, 1)) for name, x in self.layers.items()}
        for name, signal in self.read:
            kept = len(signal.sources) == 1 and signal.sources <= shared.keys()
            adds = signal.adds | (frozenset() if kept else signal.pool_adds)
            done[name] = replace(done[name], input_adds=sum(n for _, n in adds))
        if self.neurons:  # a graph without any is one to be converted: one for each output
            first = next(iter(done))
            for name, layer in done.items():
                front = self.neurons.get("", 0) if name == first else 0
                done[name] = replace(layer, neurons=self.neurons.get(name, 0) + front)
        return tuple(done.values())

    def _input(self, name: str, node: Any) -> _Signal:
        sides = _wholes(name, "shape", (node.output_type or {}).get("output"), least=1)
        if type(self.input_bits) is not int or not 1 <= self.input_bits <= 32:
            raise WorkloadError(f"input_bits = {self.input_bits!r:.60}: 1..32 are possible")
        return _Signal(frozenset([""]), sides, 2**self.input_bits - 1)

    def _joined(self, name: str, before: list[str]) -> _Signal:
        """The sum of what a node reads; branches from one layer by one way stay its own."""
        signals = [self.signals[b] for b in before]
        if len(signals) == 1:
            return signals[0]
        if len(shapes := {s.shape for s in signals}) > 1:
            raise WorkloadError(f"node {name!r} adds maps of unlike shapes {sorted(shapes)}")
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

    def _matrix(self, name: str, node: Any, kind: str, given: _Signal) -> _Signal:
        shape = _conv_shape(name, node, given) if kind == "Conv2d" else _linear(name, node, given)
        names = list(given.sources - {""})
        layer = Layer(
            name=name,
            **shape,
            weight_bits=self.weight_bits,
            input_bits=given.bits,
            parameters=int(node.weight.size) + _bias(name, node),
            sources=tuple(sorted(names, key=self.positions.__getitem__)),
        )
        self.positions[name] = len(self.layers)
        self.layers[name] = layer
        self.read.append((name, given))
        side = layer.out_size
        conv = (layer.out_channels, side, side)
        out = conv if layer.kind == "conv" else (layer.out_channels,)
        return _Signal(frozenset([name]), out, None)

    def _neurons(self, name: str, node: Any, kind: str, given: _Signal) -> _Signal:
        """Neurons belong to the layer in front of them; where branches met, to the last one."""
        held = {np.size(x) for k, x in vars(node).items() if k in ("tau", "tau_mem", "r")}
        if not held <= {1, given.shape[0], given.size}:
            raise WorkloadError(
                f"node {name!r} ({kind}): {sorted(held)} neurons for the values {given.shape}"
            )
        owner = max(given.sources - {""}, key=self.positions.__getitem__, default="")
        self.neurons[owner] = self.neurons.get(owner, 0) + given.size
        return replace(given, levels=1 if kind in SPIKING else None)


def _pooled(name: str, node: Any, given: _Signal) -> _Signal:
    if len(given.shape) != 3:
        raise WorkloadError(f"node {name!r}: a map is needed in front of it, not {given.shape}")
    side = _same(name, "map", given.shape[1:], least=1)
    window = _same(name, "kernel_size", node.kernel_size, least=1)
    stride = _same(name, "stride", node.stride, least=1)
    padding = _same(name, "padding", node.padding, least=0)
    out = (side + 2 * padding - window) // stride + 1
    if not 1 <= out <= side:
        raise WorkloadError(f"node {name!r}: a window of {window} on a map of {side}")
    values = given.shape[0] * out**2
    found = replace(
        given,
        shape=(given.shape[0], out, out),
        levels=None if given.levels is None else given.levels * window**2,
    )
    layers = found.sources - {""}
    if stride > window or out != side // stride or layers != found.sources or len(layers) > 1:
        return replace(found, adds=found.adds | {(name, (window**2 - 1) * values)})
    return replace(  # a window wider than its stride has additions that `pool` does not tell
        found,
        pool=found.pool * stride,
        pool_adds=found.pool_adds | {(name, (stride**2 - 1) * values)},
        adds=found.adds | {(f"{name} overlap", (window**2 - stride**2) * values)},
    )


def _linear(name: str, node: Any, given: _Signal) -> dict[str, Any]:
    columns, rows = _weight(name, node, 2)
    if given.size != rows:
        raise WorkloadError(f"node {name!r}: {rows} inputs, but {given.shape} are given")
    return {"kind": "linear", "in_channels": rows, "out_channels": columns}


def _conv_shape(name: str, node: Any, given: _Signal) -> dict[str, Any]:
    columns, rows, *sides = _weight(name, node, 4)
    groups = _same(name, "groups", node.groups, least=1)
    if len(given.shape) != 3:
        raise WorkloadError(f"node {name!r}: a map is needed in front of it, not {given.shape}")
    if rows * groups != given.shape[0]:
        raise WorkloadError(f"node {name!r}: in_channels = {rows * groups}, not {given.shape[0]}")
    side = _same(name, "map", given.shape[1:], least=1)
    if node.input_shape is not None and _same(name, "input_shape", node.input_shape) != side:
        raise WorkloadError(f"node {name!r}: input_shape = {node.input_shape}, not {side}")
    kernel = _same(name, "kernel", sides, least=1)
    if _same(name, "dilation", node.dilation, least=1) != 1:
        raise WorkloadError(f"node {name!r}: dilation = {node.dilation}, 1 is needed")
    stride = _same(name, "stride", node.stride, least=1)
    return {
        "kind": "conv",
        "in_channels": given.shape[0],
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
    """Numbers of a bias; NIR's convolutions always have one, and one of zeros holds nothing."""
    bias = np.asarray(getattr(node, "bias", 0))
    if bias.size not in (1, node.weight.shape[0]):
        raise WorkloadError(f"node {name!r}: {bias.size} biases of {node.weight.shape[0]} outputs")
    return int(bias.size) if bias.any() else 0


def _check_scale(name: str, node: Any, given: _Signal) -> None:
    """A factor for each channel goes into the weights; one for each pixel has no place there."""
    scale = np.asarray(node.scale)
    by_channel = scale.reshape(given.shape[0], -1) if scale.size == given.size else scale
    if scale.size not in (1, given.shape[0], given.size) or (
        scale.size == given.size and (by_channel != by_channel[:, :1]).any()
    ):
        raise WorkloadError(f"node {name!r}: one scale for each channel is needed")


def _same(name: str, what: str, value: Any, least: int = 0) -> int:
    """The one number of a pair; WorkloadError where its sides differ."""
    sides = _wholes(name, what, value, least)
    if len(set(sides)) != 1 or len(sides) > 2:
        raise WorkloadError(f"node {name!r}: {what} = {sides}, the same for both sides is needed")
    return sides[0]


def _wholes(name: str, what: str, value: Any, least: int) -> tuple[int, ...]:
    """Whole numbers of an untrusted array."""
    try:
        found = [n.item() for n in np.atleast_1d(np.asarray(value))]
        whole = [int(n) for n in found]
        good = found == whole and all(least <= n <= MAX_SIZE for n in whole)
    except (TypeError, ValueError, OverflowError, AttributeError):
        whole, good = [], False
    if not good or not whole:
        right = f"whole numbers in {least}..{MAX_SIZE} are needed"
        raise WorkloadError(f"node {name!r}: {what} = {value!r:.60}, {right}")
    return tuple(whole)
