"""The nodes of a NIR graph and which of them read each other, inner graphs opened."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

from hw_models import WorkloadError
from nas_service.importers.nir_values import wrong

Edges = list[tuple[str, str]]
ENDS = ("Input", "Output")  # of an inner graph
MAX_DEPTH = 32  # of graphs in graphs
MAX_LOOPS = 1000


@dataclass(frozen=True)
class Structure:
    """A graph without inner graphs. Nodes of an inner graph have the names `graph.node`."""

    nodes: dict[str, Any]  # each after those that it reads in the same time step
    reads: dict[str, list[str]]
    late: dict[str, list[str]]  # what a node reads one time step late, only of nodes that do

    @property
    def inputs(self) -> list[str]:
        """The nodes that read nothing: inputs of the graph."""
        return [name for name in self.nodes if not self.reads[name]]

    @property
    def ends(self) -> list[str]:
        """The nodes that no other node reads."""
        read = {a for names in (*self.reads.values(), *self.late.values()) for a in names}
        return [name for name in self.nodes if name not in read]

    def readers(self, name: str) -> list[tuple[str, Any]]:
        """The nodes that read a node, with their names."""
        return [(reader, node) for reader, node in self.nodes.items() if name in self.reads[reader]]


def structure(graph: Any) -> Structure:
    """The structure of a NIR graph.

    An edge that closes a loop transmits the values of the time step before, into the node of the
    loop that is nearest to an input.

    Args:
        graph: A NIRGraph.

    Returns:
        The nodes, each after those it reads, and their edges.

    Raises:
        WorkloadError: It is no graph, its edges name other nodes, or no input reaches a node.
    """
    nodes, edges = _flat(graph, "graph", 0)
    reads: dict[str, list[str]] = {name: [] for name in nodes}
    for a, b in dict.fromkeys(edges):
        reads[b].append(a)
    distance = _distances(nodes, reads)
    late = _cut_loops(reads, distance)
    order = TopologicalSorter(reads).static_order()
    return Structure({name: nodes[name] for name in order}, reads, late)


def _flat(graph: Any, what: str, depth: int) -> tuple[dict[str, Any], Edges]:
    """Nodes and edges, including those of inner graphs."""
    if not isinstance(getattr(graph, "nodes", None), Mapping) or not hasattr(graph, "edges"):
        raise WorkloadError(f"{what} is a {type(graph).__name__}: a NIRGraph is needed")
    if depth > MAX_DEPTH:
        raise WorkloadError(f"{what}: graphs in graphs, more than {MAX_DEPTH} deep")
    own = {_text(name): node for name, node in graph.nodes.items()}
    edges = _edges(graph.edges, own.keys(), what)
    nodes: dict[str, Any] = {}
    read = {b for _, b in edges}
    first, last = {}, {}
    inner_edges: Edges = []
    for name, node in own.items():
        parts = {name: node}
        if type(node).__name__ == "NIRGraph":
            if name not in read:
                raise wrong(name, "(NIRGraph) reads nothing: an edge to it is needed")
            parts, links, first[name], last[name] = _inner(name, node, depth)
            inner_edges += links
        if doubled := sorted(parts.keys() & nodes.keys()):
            raise WorkloadError(f"{what}: nodes {doubled} are listed twice")
        nodes |= parts
    return nodes, [(last.get(a, a), first.get(b, b)) for a, b in edges] + inner_edges


def _inner(name: str, graph: Any, depth: int) -> tuple[dict[str, Any], Edges, str, str]:
    """Nodes and edges of an inner graph, and the names of its input and its output."""
    parts, links = _flat(graph, f"node {name!r}", depth + 1)
    first, last = (f"{name}.{_only(name, graph, kind)}" for kind in ENDS)
    nodes = {f"{name}.{part}": node for part, node in parts.items()}
    return nodes, [(f"{name}.{a}", f"{name}.{b}") for a, b in links], first, last


def _only(name: str, graph: Any, kind: str) -> str:
    """The name of the only input or output of an inner graph."""
    names = [_text(part) for part, x in graph.nodes.items() if type(x).__name__ == kind]
    if len(names) != 1:
        more = "name its nodes in the graph itself"
        raise wrong(name, f"an inner graph of one {kind} is needed, not {names}: {more}")
    return names[0]


def _edges(edges: Any, names: Iterable[str], what: str) -> Edges:
    try:
        pairs = [(_text(a), _text(b)) for a, b in edges]
    except (TypeError, ValueError) as error:
        raise WorkloadError(f"{what}: edges must be pairs of node names") from error
    known = set(names)
    if unknown := sorted({end for edge in pairs for end in edge} - known):
        raise WorkloadError(
            f"{what}: edges name the nodes {unknown[:8]}, which it does not have: its nodes are "
            f"{sorted(known)[:20]}"
        )
    return pairs


def _text(name: Any) -> str:
    return name.decode(errors="replace") if isinstance(name, bytes) else str(name)


def _distances(nodes: Mapping[str, Any], reads: Mapping[str, list[str]]) -> dict[str, int]:
    """Edges from the nearest input to each node; WorkloadError where there is no way."""
    readers: dict[str, list[str]] = {name: [] for name in nodes}
    for name, names in reads.items():
        for read in names:
            readers[read].append(name)
    reached = [name for name in nodes if not reads[name]]
    distance = dict.fromkeys(reached, 0)
    for name in reached:  # grows
        for reader in readers[name]:
            if reader not in distance:
                distance[reader] = distance[name] + 1
                reached.append(reader)
    if lost := [name for name in nodes if name not in distance]:
        raise WorkloadError(
            f"nodes {lost[:8]}: no input of the graph leads to them, an edge is needed"
        )
    return distance


def _cut_loops(reads: dict[str, list[str]], distance: Mapping[str, int]) -> dict[str, list[str]]:
    """Moves the edges that close loops out of `reads`."""
    late: dict[str, list[str]] = {}
    for _ in range(MAX_LOOPS):
        loop = _loop(reads)
        if not loop:
            return late
        nearest = min(range(1, len(loop)), key=lambda i: (distance[loop[i]], loop[i]))
        source, reader = loop[nearest - 1], loop[nearest]
        reads[reader].remove(source)
        late.setdefault(reader, []).append(source)
    raise WorkloadError(f"graph: more than {MAX_LOOPS} loops")


def _loop(reads: Mapping[str, list[str]]) -> list[str]:
    """Nodes of which each is read by the next, the first again at the end; empty for no loop."""
    try:
        TopologicalSorter(reads).prepare()
    except CycleError as error:
        loop: list[str] = error.args[1]
        return loop
    return []
