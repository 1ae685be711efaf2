"""Drawings as SVG text: scatter plots with budgets, stacked bars, cells. Lengths are in pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from nas_service.spaces.cell import EDGES, Cell, Edge
from nas_service.spaces.operations import BACK

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 16, 48
RUG = 10  # height of the strip at the bottom for candidates without a measured value
# Colours for colour-blind readers (Paul Tol's muted scheme), one for each component.
COLOURS = {
    "crossbar": "#332288", "adc": "#cc6677", "mux": "#ddcc77", "subtractor": "#997700",
    "adder": "#aa4499", "temp_buffer": "#6699cc", "tile_buffer": "#88ccee", "h_tree": "#44aa99",
    "sum_wires": "#117733", "network": "#66aa55", "fetch": "#661100", "neuron": "#ee8866",
    "neuron_memory": "#999933", "elementwise": "#884400", "dac": "#ee3377", "leakage": "#777777",
    "input_memory": "#6699cc", "fill": "#4477aa", "steady": "#ee6677", "parameters": "#4477aa",
    "neuron_state": "#999933", "spike_buffer": "#88ccee",
}  # fmt: skip
OTHER = "#bbbbbb"
KINDS = ("infeasible", "below", "feasible", "step", "front")  # the last are drawn on top


@dataclass(frozen=True)
class Mark:
    """One candidate in a plot; y is None if it is not measured."""

    x: float
    y: float | None
    kind: str  # one of KINDS
    tip: str


@dataclass(frozen=True)
class Axis:
    """A linear scale from values to pixels."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """The pixel of a value."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 2)

    @property
    def ticks(self) -> list[float]:
        """Values of the tick marks."""
        return ticks(self.low, self.high)


def ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Round numbers between two values: steps of 1, 2 or 5 times a power of ten.

    Args:
        low: The smaller value.
        high: The larger value.
        most: The most steps.

    Returns:
        The numbers, ascending.
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    count = math.floor(high / step + 1e-9) - first + 1
    return [round((first + i) * step, 12) for i in range(count)]


def axis(values: Sequence[float], start: float, end: float) -> Axis:
    """A scale around the values, with a margin that does not pass 0 if all are positive.

    Args:
        values: The values to show; without any the scale is that of 0..1.
        start: Pixel at the low end.
        end: Pixel at the high end.

    Returns:
        The scale, which turns values into pixels.
    """
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.5 * abs(high) or 0.5
    bottom = low - margin
    return Axis(max(0.0, bottom) if low >= 0 else bottom, high + margin, start, end)


def plot(
    marks: Sequence[Mark],
    x_label: str,
    y_label: str,
    y_bounds: Sequence[float],
    x_bounds: Sequence[float] = (),
    *,
    joined: bool = False,
) -> Markup:
    """A scatter plot with budgets as dashed lines.

    Args:
        marks: The candidates. Unmeasured ones are drawn on a strip at the bottom.
        x_label: Label of the x axis.
        y_label: Label of the y axis.
        y_bounds: Budgets of y.
        x_bounds: Budgets of x. Marks beyond twice the largest are only counted.
        joined: Draw a staircase through the marks of kind `step` instead of the front.

    Returns:
        An SVG element, or a line of text where there are no marks.
    """
    if not any(mark.y is not None for mark in marks):
        return Markup("<p class='none'>Nothing to draw yet.</p>")
    near = _near([mark.x for mark in marks], x_bounds)
    x = axis(near, LEFT, WIDTH - RIGHT)
    y = axis([m.y for m in marks if m.y is not None] + list(y_bounds), HEIGHT - BOTTOM - RUG, TOP)
    parts = [_grid(x, y, x_label, y_label)]
    parts += [_budget(x.at(b), TOP, x.at(b), HEIGHT - BOTTOM, b) for b in x_bounds]
    parts += [_budget(LEFT, y.at(b), WIDTH - RIGHT, y.at(b), b) for b in y_bounds]
    inside = [mark for mark in marks if x.low <= mark.x <= x.high]
    ranked = sorted(inside, key=lambda m: KINDS.index(m.kind))
    parts += [_steps(ranked, x, y, "step" if joined else "front")]
    parts += [_dot(mark, x, y) for mark in ranked]
    if left_out := len(marks) - len(inside):
        parts.append(svg_text(WIDTH - RIGHT, TOP + 24, f"{left_out} more to the right", "note end"))
    return svg(WIDTH, HEIGHT, parts)


def _near(values: Sequence[float], bounds: Sequence[float]) -> list[float]:
    """Values up to twice the largest budget: far ones would leave little space for the others."""
    limit = 2 * max(bounds) if bounds else math.inf
    return [v for v in values if v <= limit] + list(bounds)


def svg(width: float, height: float, parts: Sequence[Markup]) -> Markup:
    """An SVG element of these parts.

    Args:
        width: In pixels.
        height: In pixels.
        parts: The elements inside, each of them safe markup.

    Returns:
        The element.
    """
    head = Markup('<svg viewBox="0 0 {} {}" width="{}" role="img">').format(width, height, width)
    return head + Markup("").join(parts) + Markup("</svg>")


def svg_text(x: float, y: float, text: str, kind: str) -> Markup:
    """Text at a point; `kind` is its CSS class."""
    return Markup('<text x="{}" y="{}" class="{}">{}</text>').format(x, y, kind, text)


def svg_line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A line between two points; `kind` is its CSS class."""
    tag = Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>')
    return tag.format(x1, y1, x2, y2, kind)


def _grid(x: Axis, y: Axis, x_label: str, y_label: str) -> Markup:
    foot = HEIGHT - BOTTOM
    parts = [svg_line(x.at(t), TOP, x.at(t), foot, "grid") for t in x.ticks]
    parts += [svg_line(LEFT, y.at(t), WIDTH - RIGHT, y.at(t), "grid") for t in y.ticks]
    parts += [svg_text(x.at(t), foot + 16, f"{t:g}", "tick middle") for t in x.ticks]
    parts += [svg_text(LEFT - 6, y.at(t) + 4, f"{t:g}", "tick end") for t in y.ticks]
    parts += [
        svg_line(LEFT, foot, WIDTH - RIGHT, foot, "axis"),
        svg_line(LEFT, TOP, LEFT, foot, "axis"),
    ]
    parts += [svg_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, "label middle")]
    turned = Markup('<text transform="translate(14 {}) rotate(-90)" class="label middle">{}</text>')
    return Markup("").join([*parts, turned.format((TOP + foot) / 2, y_label)])


def _budget(x1: float, y1: float, x2: float, y2: float, value: float) -> Markup:
    """A dashed line with its label, on the side of an upright line where there is more room."""
    if x1 != x2:
        at = (x2, y1 - 4, "note end")
    elif 2 * x1 > WIDTH:
        at = (x1 - 4, y1 + 10, "note end")
    else:
        at = (x1 + 4, y1 + 10, "note")
    return svg_line(x1, y1, x2, y2, "budget") + svg_text(at[0], at[1], f"budget {value:g}", at[2])


def _steps(marks: Sequence[Mark], x: Axis, y: Axis, kind: str) -> Markup:
    """Marks of a kind joined by steps, first to the right, then up."""
    points = sorted((m.x, m.y) for m in marks if m.kind == kind and m.y is not None)
    if len(points) < 2:
        return Markup("")
    path = f"M{x.at(points[0][0])} {y.at(points[0][1])}"
    path += "".join(f"H{x.at(px)}V{y.at(py)}" for px, py in points[1:])
    return Markup('<path d="{}" class="joined"/>').format(path)


def _dot(mark: Mark, x: Axis, y: Axis) -> Markup:
    if mark.y is None:
        foot = HEIGHT - BOTTOM
        tag = Markup('<path d="M{0} {1}v{2}" class="untrained"><title>{3}</title></path>')
        return tag.format(x.at(mark.x), foot - RUG, RUG, mark.tip)
    tag = Markup('<circle cx="{}" cy="{}" r="{}" class="{}"><title>{}</title></circle>')
    radius = {"front": 5, "step": 2.5}.get(mark.kind, 3.5)
    return tag.format(x.at(mark.x), y.at(mark.y), radius, mark.kind, mark.tip)


def bars(
    rows: Sequence[tuple[str, dict[str, float]]],
    unit: str,
    outlines: Sequence[float] = (),
    label: float = 80,
) -> Markup:
    """Stacked horizontal bars.

    Args:
        rows: Name and values by component of each bar. Components below 2 % of the largest bar
            are drawn together as `other`.
        unit: Unit of the values.
        outlines: A second total for each bar, drawn as a dashed frame.
        label: Width of the column with the names.

    Returns:
        An SVG element with a legend.
    """
    totals = [math.fsum(parts.values()) for _, parts in rows]
    largest = max([*totals, *outlines])
    shown = list(dict.fromkeys(n for _, parts in rows for n in parts))
    names = [n for n in shown if any(p.get(n, 0) >= 0.02 * largest for _, p in rows)]
    colours = {name: COLOURS.get(name, OTHER) for name in names}
    if any(p[n] for _, p in rows for n in p if n not in names):
        colours["other"] = OTHER
    scale = Axis(0, largest or 1, label, WIDTH - 90)
    ends = [max(pair) for pair in zip(totals, outlines or totals, strict=True)]
    parts = [
        _bar(i, name, values, colours, scale, unit, ends[i])
        for i, (name, values) in enumerate(rows)
    ]
    frame = Markup('<rect x="{}" y="{}" width="{}" height="18" class="outline"/>')
    parts += [
        frame.format(label, 24 * i + 2, round(scale.at(total) - label, 2))
        for i, total in enumerate(outlines)
    ]
    legend, height = _legend(list(colours), colours, 24 * len(rows) + 22, label)
    return svg(WIDTH, height, [*parts, legend])


def name_of_row(x: float, y: float, name: str, most: int = 22) -> Markup:
    """A row's name as text; a long one is cut in its middle, with the full name as a tooltip.

    Args:
        x: Right end of the text, in pixels.
        y: Base line of the text, in pixels.
        name: The name, which is escaped.
        most: The most characters.

    Returns:
        An SVG element.
    """
    cut = name if len(name) <= most else f"{name[: most // 2 - 1]}…{name[-(most // 2) :]}"
    tag = Markup('<text x="{}" y="{}" class="tick end">{}<title>{}</title></text>')
    return tag.format(x, y, cut, name)


def _bar(
    row: int,
    label: str,
    values: dict[str, float],
    colours: dict[str, str],
    scale: Axis,
    unit: str,
    end: float,
) -> Markup:
    shown = {n: v for n, v in values.items() if n in colours}
    shown["other"] = math.fsum(v for n, v in values.items() if n not in colours)
    top, at, parts = 24 * row + 2, 0.0, [name_of_row(scale.start - 6, 24 * row + 16, label)]
    tag = Markup('<rect x="{}" y="{}" width="{}" height="18" fill="{}"><title>{}</title></rect>')
    for name, value in shown.items():
        width = round(scale.at(at + value) - scale.at(at), 2)
        tip = f"{label}: {name} {value:.4g} {unit}"
        parts.append(tag.format(scale.at(at), top, width, colours.get(name, OTHER), tip))
        at += value
    total = f"{math.fsum(values.values()):.4g} {unit}"
    return Markup("").join([*parts, svg_text(scale.at(end) + 6, top + 14, total, "tick")])


def _legend(
    names: list[str], colours: dict[str, str], top: float, left: float
) -> tuple[Markup, float]:
    parts, x, y = [], left, top
    tag = Markup('<rect x="{}" y="{}" width="10" height="10" fill="{}"/>')
    for name in names:
        width = 26 + 7.4 * len(name)
        if x + width > WIDTH:
            x, y = left, y + 18
        parts += [
            tag.format(x, y - 9, colours[name]),
            svg_text(x + 14, y, name.replace("_", " "), "tick"),
        ]
        x += width
    return Markup("").join(parts), y + 10


CELL_WIDTH, CELL_HEIGHT, GAP = 420, 190, 116
MIDDLE = 120
# Height of each edge's arc above the line of nodes, so that no two edges overlap.
ARCS = {(0, 1): 0, (1, 2): 0, (2, 3): 0, (0, 2): -52, (1, 3): 52, (0, 3): -96}


def cell(drawn: Cell) -> Markup:
    """The live edges of a cell, from its input (left) to its output; backward ones are dashed."""
    edges = drawn.live().edges
    used = {node for edge in edges for node in (edge.source, edge.target)} | {0, 3}
    parts = [_edge(edge, drawn.operations[edge.pair]) for edge in edges]
    return svg(CELL_WIDTH, CELL_HEIGHT, parts + [_node(n) for n in sorted(used)])


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
