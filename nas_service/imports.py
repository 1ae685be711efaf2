"""Workloads from elsewhere: layer lists, NIR graphs and torch modules become the same Workload.

A matrix that cannot lie on a crossbar as a square convolution or a linear layer is an error that
names it: nothing is skipped.
"""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_models import Layer, Workload, WorkloadError

if TYPE_CHECKING:
    pass

PIXEL_BITS = 8  # of inputs that are no spikes
MAX_FILE_B = 2**30


def load_workload(path: Path, time_steps: int | None = None) -> Workload:
    """A layer list (.json) or a NIR graph (.nir); WorkloadError where it is neither.

    A layer list says its own time steps, a graph does not.
    """
    if path.suffix == ".nir":
        if time_steps is None:
            raise WorkloadError(f"{path}: a graph does not say its time steps, give them")
        return from_nir(path, time_steps)
    found = Workload.from_json(read_json(path))
    return found if time_steps is None else Workload(found.layers, time_steps)


def read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > MAX_FILE_B:
            raise ValueError(f"larger than {MAX_FILE_B} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise WorkloadError(f"{path}: cannot be read as JSON ({error})") from error


# --- NIR --------------------------------------------------------------------------------------

NIR_NEURONS = ("LIF", "IF", "LI", "CubaLIF", "CubaLI", "I")
NIR_PASSES = ("Input", "Output", "Flatten", "Scale", "Threshold", "Delay")


def from_nir(graph: Any, time_steps: int, spike_rate: float = 1.0) -> Workload:
    """A NIR graph, or the path of one: its convolutions, linear layers and poolings.

    NIR holds real weights: they count as 8 bits. Inputs of the layers that read the graph's
    input are taken as spikes too.
    """
    import nir

    if isinstance(graph, str | Path):
        try:
            graph = nir.read(str(graph), type_check=False)  # its check knows no groups
        except Exception as error:  # h5py and nir raise many unrelated types
            raise WorkloadError(f"{graph}: no NIR graph ({error})") from error
    nodes: dict[str, Any] = dict(graph.nodes)
    edges = [(str(a), str(b)) for a, b in graph.edges]
    if unknown := sorted({end for edge in edges for end in edge} - nodes.keys()):
        raise WorkloadError(f"edges name the nodes {unknown}, which the graph does not have")
    trail = _Trail(spike_rate)
    for name in _ordered(nodes, edges):
        before = [a for a, b in edges if b == name]
        trail.add(name, nodes[name], before)
    return trail.workload(time_steps)


def _ordered(nodes: Iterable[str], edges: list[tuple[str, str]]) -> list[str]:
    """Node names so that every node follows what it reads; WorkloadError for a loop."""
    waiting, done = list(nodes), []
    while waiting:
        ready = [n for n in waiting if all(a in done for a, b in edges if b == n)]
        if not ready:
            raise WorkloadError(f"nodes {waiting[:5]} read each other: loops cannot be costed")
        done += ready
        waiting = [n for n in waiting if n not in ready]
    return done


@dataclass(frozen=True)
class _Signal:
    """What a node gives: which layers it comes from, and its shape (channels, height, width)."""

    sources: frozenset[str]
    shape: tuple[int, ...]


@dataclass
class _Trail:
    """Layers in order, while a graph is walked from its input."""

    spike_rate: float
    layers: dict[str, Layer] = field(default_factory=dict)
    signals: dict[str, _Signal] = field(default_factory=dict)

    def workload(self, time_steps: int) -> Workload:
        if not self.layers:
            raise WorkloadError("no layer with weights")
        return Workload(tuple(self.layers.values()), time_steps)

    def add(self, name: str, node: Any, before: list[str]) -> None:
        kind = type(node).__name__
        if kind == "Input":
            self.signals[name] = _Signal(frozenset(), _shape(node.output_type["output"]))
            return
        if not before:
            raise WorkloadError(f"node {name!r} ({kind}) reads nothing")
        given = self._joined(name, before)
        if kind in ("Conv2d", "Linear", "Affine"):
            layer = _nir_layer(name, node, kind, given)
            layer = replace(layer, spike_rate=self.spike_rate, sources=tuple(sorted(given.sources)))
            self._keep(layer)
        elif kind in ("AvgPool2d", "SumPool2d"):
            self._pool(name, node, given)
        elif kind in NIR_NEURONS:
            self._neurons(given)
            self.signals[name] = given
        elif kind == "Flatten":
            self.signals[name] = _Signal(given.sources, (math.prod(given.shape),))
        elif kind in NIR_PASSES:
            self.signals[name] = given
        else:
            known = "Conv2d, Linear, Affine, AvgPool2d, SumPool2d, Flatten"
            raise WorkloadError(
                f"node {name!r} is a {kind}: known are {known} and neurons {', '.join(NIR_NEURONS)}"
            )

    def _joined(self, name: str, before: list[str]) -> _Signal:
        signals = [self.signals[b] for b in before]
        shapes = {s.shape for s in signals}
        if len(shapes) > 1:
            raise WorkloadError(f"node {name!r} adds maps of unlike shapes {sorted(shapes)}")
        return _Signal(frozenset().union(*(s.sources for s in signals)), signals[0].shape)

    def _keep(self, layer: Layer) -> None:
        self.layers[layer.name] = layer
        side = layer.out_size
        shape = (layer.out_channels, side, side) if layer.kind == "conv" else (layer.out_channels,)
        self.signals[layer.name] = _Signal(frozenset([layer.name]), shape)

    def _neurons(self, given: _Signal) -> None:
        """Neurons belong to the layer in front of them; where branches met, to the last one."""
        for source in sorted(given.sources, key=list(self.layers).index)[-1:]:
            layer = self.layers[source]
            self.layers[source] = replace(layer, neurons=math.prod(given.shape))

    def _pool(self, name: str, node: Any, given: _Signal) -> None:
        side = _same(f"node {name!r}: kernel_size", node.kernel_size)
        stride = _same(f"node {name!r}: stride", node.stride)
        if side != stride or len(given.shape) != 3:
            raise WorkloadError(f"node {name!r}: poolings of maps by a stride of their own size")
        self.signals[name] = _Signal(
            given.sources, (given.shape[0], *(s // side for s in given.shape[1:]))
        )
        for source in given.sources:
            layer = self.layers[source]
            self.layers[source] = replace(layer, pool=layer.pool * side)


def _nir_layer(name: str, node: Any, kind: str, given: _Signal) -> Layer:
    columns, rows, *kernel = _shape(node.weight.shape)
    held = node.weight.size + (node.bias.size if getattr(node, "bias", None) is not None else 0)
    if kind != "Conv2d":
        if math.prod(given.shape) != rows:
            raise WorkloadError(f"node {name!r}: {rows} inputs, but {given.shape} are given")
        return Layer(name, "linear", int(rows), int(columns), parameters=int(held), neurons=0)
    if len(given.shape) != 3:
        raise WorkloadError(f"node {name!r}: a map is needed in front of it, not {given.shape}")
    if rows * node.groups != given.shape[0]:
        raise WorkloadError(
            f"node {name!r}: in_channels = {rows * node.groups}, {given.shape[0]} are given"
        )
    _same(f"node {name!r}: dilation", node.dilation, only=1)
    return Layer(
        name,
        "conv",
        in_channels=int(given.shape[0]),
        out_channels=int(columns),
        kernel=_same(f"node {name!r}: kernel", kernel),
        stride=_same(f"node {name!r}: stride", node.stride),
        groups=int(node.groups),
        in_size=_same(f"node {name!r}: map", given.shape[1:]),
        out_size=_out_size(name, given.shape[1], int(kernel[0]), node),
        parameters=int(held),
        neurons=0,
    )


def _out_size(name: str, side: int, kernel: int, node: Any) -> int:
    stride = _same(f"node {name!r}: stride", node.stride)
    if isinstance(node.padding, str):
        return side if node.padding == "same" else (side - kernel) // stride + 1
    return (side + 2 * _same(f"node {name!r}: padding", node.padding) - kernel) // stride + 1


def _shape(array: Any) -> tuple[int, ...]:
    return tuple(int(n) for n in array)


def _same(what: str, value: Any, only: int | None = None) -> int:
    """The one number of a pair; WorkloadError where its sides differ."""
    try:
        sides = {int(v) for v in value}
    except TypeError:
        sides = {int(value)}
    if len(sides) != 1 or (only is not None and sides != {only}):
        right = f"{only}" if only is not None else "the same for both sides"
        raise WorkloadError(f"{what} = {sorted(sides)}: {right} is needed")
    return sides.pop()
