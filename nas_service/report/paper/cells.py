"""A cell as a graph, by matplotlib, in the coordinates of its SVG."""

from matplotlib.axes import Axes
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from nas_service.report.plots import CellGraph
from nas_service.report.svg.cells import HEIGHT, MIDDLE, WIDTH, Arc, arcs, node_name, node_x, nodes

STYLES = {
    "skip": ("#9aa5b0", "-"),
    "pooling": ("#2b6a99", (0, (4, 2))),
    "conv": ("#2b6a99", "-"),
}


def cell(axes: Axes, plot: CellGraph) -> None:
    """The live edges of a cell, from its input to its output."""
    for arc in arcs(plot.cell):
        _arc(axes, arc)
    for node in nodes(plot.cell):
        axes.plot(node_x(node), MIDDLE, "o", markersize=13, color="white",
                  markeredgecolor="black", markeredgewidth=0.6, zorder=3)  # fmt: skip
        axes.text(node_x(node), MIDDLE, node_name(node), ha="center", va="center", fontsize=7)
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(HEIGHT, 0)
    axes.set_axis_off()


def _arc(axes: Axes, arc: Arc) -> None:
    colour, style = STYLES[arc.kind]
    if arc.backward:
        colour, style = "#c8401a", (0, (2, 2))
    codes = [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4]
    path = Path([(float(x), float(y)) for x, y in arc.points], codes)
    axes.add_patch(PathPatch(path, fill=False, edgecolor=colour, linestyle=style, linewidth=1.1))
    axes.text(arc.middle[0], arc.middle[1], arc.name, ha="center", va="bottom", fontsize=6.5)
