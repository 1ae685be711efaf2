"""A cell as a graph: its working edges from its input, at the left, to its output."""

from dataclasses import dataclass

from markupsafe import Markup

from nas_service.report.svg.elements import svg, svg_text
from nas_service.spaces.cell import EDGES, Cell, Edge
from nas_service.spaces.operations import BACK

WIDTH, HEIGHT, GAP = 420, 190, 116
MIDDLE = 120
# Height of each edge's arc above the line of nodes, so that no two edges overlap.
ARCS = {(0, 1): 0, (1, 2): 0, (2, 3): 0, (0, 2): -52, (1, 3): 52, (0, 3): -96}


@dataclass(frozen=True)
class Arc:
    """One edge of a cell as a cubic curve."""

    name: str
    kind: str  # skip, pooling or conv
    backward: bool
    points: tuple[tuple[float, float], ...]  # both ends, and the two points that bend the curve
    middle: tuple[float, float]  # of its name


def cell(drawn: Cell) -> Markup:
    """The live edges of a cell, from its input (left) to its output; backward ones are dashed."""
    parts = [_arc(arc) for arc in arcs(drawn)]
    return svg(WIDTH, HEIGHT, parts + [_node(n) for n in nodes(drawn)], "cell")


def nodes(drawn: Cell) -> list[int]:
    """The nodes that live edges connect, with input and output."""
    edges = drawn.live().edges
    return sorted({node for edge in edges for node in (edge.source, edge.target)} | {0, 3})


def arcs(drawn: Cell) -> list[Arc]:
    """The live edges of a cell as curves."""
    return [_bent(edge, drawn.operations[edge.pair]) for edge in drawn.live().edges]


def _bent(edge: Edge, state: str) -> Arc:
    ends = EDGES[edge.pair]
    a, b = node_x(ends[0]), node_x(ends[1])
    rise = ARCS[ends]
    name = f"\N{LEFTWARDS ARROW} {state.removeprefix(BACK)}" if edge.backward else state
    control = MIDDLE + rise * 4 / 3  # a cubic curve reaches three quarters of its control points
    kind = "skip" if edge.operation.passes else "pooling" if edge.operation.pooling else "conv"
    points = ((a, MIDDLE), (a + 30, control), (b - 30, control), (b, MIDDLE))
    return Arc(name, kind, edge.backward, points, ((a + b) / 2, MIDDLE + rise - 5))


def node_x(node: int) -> float:
    """Where a node lies on the line of nodes."""
    return 36 + GAP * node


def node_name(node: int) -> str:
    """What a node is called in a drawing."""
    return {0: "in", 3: "out"}.get(node, str(node))


def _node(node: int) -> Markup:
    circle = Markup('<circle cx="{}" cy="{}" r="14" class="node"/>').format(node_x(node), MIDDLE)
    return circle + svg_text(node_x(node), MIDDLE + 4, node_name(node), "tick middle")


def _arc(arc: Arc) -> Markup:
    start, *others = (f"{x} {y}" for x, y in arc.points)
    kind = f"{arc.kind} backward" if arc.backward else arc.kind
    curve = Markup('<path d="{}" class="edge {}"/>').format(f"M{start}C{','.join(others)}", kind)
    return curve + svg_text(*arc.middle, arc.name, "operation middle")
