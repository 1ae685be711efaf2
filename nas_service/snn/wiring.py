"""Which layer reads which: the workload of an architecture from the shapes of its layers."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

from hw_models import Layer, Workload
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import IN, OUT, Edge, Reads

Maps = list[int]  # values of each cell's node: channels times pixels
Ends = dict[str, tuple[str, ...]]  # by edge, or a cell's input: the layers that send its values


def wired(a: Architecture, layers: dict[str, Layer], maps: Maps) -> Workload:
    """Connects the layers of an architecture to its workload.

    Args:
        a: The architecture; only its live edges are counted.
        layers: By name, with shapes, without sources.
        maps: Values of each cell's node.

    Returns:
        The workload, in the order in which it is computed.
    """
    source: tuple[str, ...] = ("stem",)
    graph = [replace(layers["stem"], sources=())]
    for k, cell in enumerate(a.cells):
        live = cell.live()
        last = {e.name: _end(k, e) for e in live.edges if e.operation.weighted}
        ends = {IN: source, **{name: (block,) for name, block in last.items()}}
        reads = live.wiring()
        for edge in (e for name in reads for e in live.edges if e.name == name):
            graph += _chained(layers, k, edge, reads[edge.name], ends)
        name = f"reduction{k}" if k + 1 < len(a.cells) else "hidden"
        adds = layers[name].input_adds + live.additions * maps[k]
        graph.append(_reading(replace(layers[name], input_adds=adds), reads[OUT], ends))
        source = (name,)
    graph.append(replace(layers["readout"], sources=source))
    return Workload(tuple(_with_bits(x, a.bits(x.name)) for x in graph), a.time_steps)


def _with_bits(layer: Layer, bits: int) -> Layer:
    return layer if layer.weight_bits == bits else replace(layer, weight_bits=bits)


def _end(k: int, edge: Edge) -> str:
    """The layer whose output an edge sends."""
    return f"cell{k}.edge{edge.name}{edge.operation.suffixes[-1]}"


def _reading(layer: Layer, reads: Reads, ends: Ends) -> Layer:
    now = tuple(x for name in reads.now for x in ends[name])
    return replace(layer, sources=now, feedback=tuple(x for n in reads.late for x in ends[n]))


def _chained(
    layers: dict[str, Layer], k: int, edge: Edge, reads: Reads, ends: Ends
) -> Iterator[Layer]:
    """The layers of an edge: the first reads what the edge reads, each other the one before."""
    names = [f"cell{k}.edge{edge.name}{matrix}" for matrix in edge.operation.suffixes]
    yield _reading(layers[names[0]], reads, ends)
    for before, name in itertools.pairwise(names):
        yield replace(layers[name], sources=(before,))
