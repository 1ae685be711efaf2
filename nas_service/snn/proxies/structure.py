"""Structural proxies: numbers of a cell that follow from its edges alone."""

from nas_service.snn.network import CellNetwork, lif_layers
from nas_service.snn.neurons import THRESHOLD
from nas_service.spaces.cell import OUTPUT, Cell

Thresholds = tuple[float, ...]  # of the convolutions of an edge, or of a path from node 0
Edges = dict[tuple[int, int], Thresholds]  # by source and target


def edges_of(cell: Cell, common: float = THRESHOLD) -> Edges:
    """The live edges of a cell.

    Args:
        cell: The cell.
        common: Threshold of the operations that have none of their own.

    Returns:
        (source, target) -> thresholds of the convolutions on this edge.
    """
    edges: Edges = {}
    for edge in cell.live().edges:
        own = common if edge.operation.threshold is None else edge.operation.threshold
        edges[edge.source, edge.target] = (own,) * len(edge.operation.matrices)
    return edges


def edges_in(cell: CellNetwork) -> Edges:
    """The live edges of a network's cell; their names end with source and target."""
    return {
        (int(name[-2]), int(name[-1])): tuple(lif.neuron.threshold for lif in lif_layers(edge))
        for name, edge in cell.edges.items()
    }


def paths(edges: Edges, node: int = 0) -> list[Thresholds]:
    """Thresholds along every path from a node to node 3 that visits no node twice.

    Args:
        edges: The live edges of a cell.
        node: Where the paths start.

    Returns:
        The thresholds of each path's convolutions, from its start to node 3.
    """
    if node == OUTPUT:
        return [()]
    rest = {ends: own for ends, own in edges.items() if node not in ends}
    return [
        own + path
        for (source, target), own in edges.items()
        if source == node
        for path in paths(rest, target)
    ]


def convolutions(edges: Edges) -> float:
    """The number of convolutions."""
    return float(sum(map(len, edges.values())))


def depth(edges: Edges) -> float:
    """The largest number of convolutions on a path."""
    return float(max(map(len, paths(edges)), default=0))


def threshold_depth(edges: Edges) -> float:
    """The largest 1 - th_1 / 2 + th_2 + th_3 of a path's thresholds, 0 without convolutions.

    Neurons that read the cell's input do better with low thresholds, those that read other
    convolutions with high ones. With a threshold of 1 everywhere it ranks as `depth` does.
    """
    with_convolutions = [path for path in paths(edges) if path]
    return max((1 - first / 2 + sum(rest) for first, *rest in with_convolutions), default=0.0)
