"""Renderers of plots by matplotlib; `nas_service.report.svg` draws the same objects on pages."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nas_service.report.paper.bars import bars, fill, grid, timeline
from nas_service.report.paper.cells import cell
from nas_service.report.paper.scatter import lines, parallel, scatter, spread
from nas_service.report.plots import (
    Bars,
    CellGraph,
    Dimension,
    Fill,
    Grid,
    Lines,
    Parallel,
    Plot,
    Scatter,
    Spread,
    Timeline,
)

COLUMN_in, PAGE_in, ROW_in = 3.3, 6.9, 0.19  # widths of a column and a page, height of a row
DPI = 300
STYLE: dict[Any, Any] = {
    "font.size": 8,
    "font.family": "sans-serif",
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "grid.linewidth": 0.4,
    "grid.color": "#dbe1e7",
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.0,
    "pdf.fonttype": 42,  # fonts stay fonts
    "svg.fonttype": "path",  # glyphs are outlines, alike on every machine
    "svg.hashsalt": "nas-service",  # equal plots are equal files
}
WITHOUT_DATE: dict[str, dict[str, Any]] = {
    "png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None},
}  # fmt: skip
RENDERERS: dict[type, Callable[[Axes, Any], None]] = {
    Scatter: scatter,
    Lines: lines,
    Parallel: parallel,
    Bars: bars,
    Timeline: timeline,
    Fill: fill,
    Grid: grid,
    Spread: spread,
    CellGraph: cell,
}


def save(plot: Plot, path: Path, kind: str) -> Path:
    """Draws a plot into a file.

    Args:
        plot: What it shows.
        path: The file.
        kind: `png`, `svg` or `pdf`.

    Returns:
        The path.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=_size(plot), dpi=DPI, layout="constrained")
        axes = figure.add_subplot()
        RENDERERS[type(plot)](axes, plot)
        if isinstance(plot, Scatter | Lines):
            _whole(axes, plot.x)
        figure.savefig(path, format=kind, metadata=WITHOUT_DATE[kind])
    return path


def _whole(axes: Axes, x: Dimension) -> None:
    if x.whole:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _size(plot: Plot) -> tuple[float, float]:
    """Width and height in inches: one column, or a page for parallel coordinates."""
    if isinstance(plot, Parallel):
        return PAGE_in, 2.6
    if isinstance(plot, CellGraph):
        return COLUMN_in, 1.5
    if isinstance(plot, Scatter | Lines):
        return COLUMN_in, 2.4
    count = len(plot.spans) if isinstance(plot, Timeline) else len(plot.rows)
    return COLUMN_in, 0.9 + ROW_in * count
