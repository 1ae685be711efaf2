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
        layers: By name in the workload, with shapes, without sources.
        maps: Values of each cell's node.

    Returns:
        The workload, in the order in which it is computed.
    """
    source: tuple[str, ...] = ("stem",)
    graph = [_placed(a, layers, "stem", ())]
    for k, cell in enumerate(a.cells):
        live = cell.live()
        last = {e.name: _end(k, e) for e in live.edges if e.operation.weighted}
        ends = {IN: source, **{name: (block,) for name, block in last.items()}}
        reads = live.wiring()
        for edge in (e for name in reads for e in live.edges if e.name == name):
            graph += _chained(a, layers, k, edge, reads[edge.name], ends)
        name = f"reduction{k}" if k + 1 < len(a.cells) else "hidden"
        adds = live.additions * maps[k]
        graph.append(_placed(a, layers, name, *_read(reads[OUT], ends), adds))
        source = (name,)
    graph.append(_placed(a, layers, "readout", source))
    return Workload(tuple(graph), a.time_steps)


def _placed(
    a: Architecture,
    layers: dict[str, Layer],
    name: str,
    sources: tuple[str, ...],
    feedback: tuple[str, ...] = (),
    adds: int = 0,
) -> Layer:
    """A layer with its name, what it reads, and the bits of its weights; checked once."""
    layer = layers[name]
    return replace(
        layer,
        name=name,
        sources=sources,
        feedback=feedback,
        input_adds=layer.input_adds + adds,
        weight_bits=a.bits(name),
    )


def _end(k: int, edge: Edge) -> str:
    """The layer whose output an edge sends."""
    return f"cell{k}.edge{edge.name}{edge.operation.suffixes[-1]}"


def _read(reads: Reads, ends: Ends) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The layers that are read in the same time step, and in the one after."""
    now, late = ((x for name in names for x in ends[name]) for names in (reads.now, reads.late))
    return tuple(now), tuple(late)


def _chained(
    a: Architecture, layers: dict[str, Layer], k: int, edge: Edge, reads: Reads, ends: Ends
) -> Iterator[Layer]:
    """The layers of an edge: the first reads what the edge reads, each other the one before."""
    names = [f"cell{k}.edge{edge.name}{matrix}" for matrix in edge.operation.suffixes]
    yield _placed(a, layers, names[0], *_read(reads, ends))
    for before, name in itertools.pairwise(names):
        yield _placed(a, layers, name, (before,))
