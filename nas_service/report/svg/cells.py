"""A cell as a graph: its working edges from its input, at the left, to its output."""

from markupsafe import Markup

from nas_service.report.svg.elements import svg, svg_text
from nas_service.spaces.cell import EDGES, Cell, Edge
from nas_service.spaces.operations import BACK

WIDTH, HEIGHT, GAP = 420, 190, 116
MIDDLE = 120
# Height of each edge's arc above the line of nodes, so that no two edges overlap.
ARCS = {(0, 1): 0, (1, 2): 0, (2, 3): 0, (0, 2): -52, (1, 3): 52, (0, 3): -96}


def cell(drawn: Cell) -> Markup:
    """The live edges of a cell, from its input (left) to its output; backward ones are dashed."""
    edges = drawn.live().edges
    used = {node for edge in edges for node in (edge.source, edge.target)} | {0, 3}
    parts = [_edge(edge, drawn.operations[edge.pair]) for edge in edges]
    return svg(WIDTH, HEIGHT, parts + [_node(n) for n in sorted(used)], "cell")


def _node_x(node: int) -> float:
    return 36 + GAP * node


def _node(node: int) -> Markup:
    circle = Markup('<circle cx="{}" cy="{}" r="14" class="node"/>').format(_node_x(node), MIDDLE)
    return circle + svg_text(
        _node_x(node), MIDDLE + 4, {0: "in", 3: "out"}.get(node, str(node)), "tick middle"
    )


def _edge(edge: Edge, state: str) -> Markup:
    ends = EDGES[edge.pair]
    a, b = _node_x(ends[0]), _node_x(ends[1])
    rise = ARCS[ends]
    name = f"\N{LEFTWARDS ARROW} {state.removeprefix(BACK)}" if edge.backward else state
    control = MIDDLE + rise * 4 / 3  # a cubic curve reaches three quarters of its control points
    path = f"M{a} {MIDDLE}C{a + 30} {control},{b - 30} {control},{b} {MIDDLE}"
    kind = "skip" if edge.operation.passes else "pooling" if edge.operation.pooling else "conv"
    kind += " backward" if edge.backward else ""
    curve = Markup('<path d="{}" class="edge {}"/>').format(path, kind)
    return curve + svg_text((a + b) / 2, MIDDLE + rise - 5, name, "operation middle")
