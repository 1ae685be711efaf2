"""Plots as elements of a page: SVG, and tables of bars that fit every width."""

from collections.abc import Callable
from typing import Any

from markupsafe import Markup

from nas_service.report.plots import (
    Bars,
    CellGraph,
    Fill,
    Grid,
    Lines,
    Parallel,
    Plot,
    Scatter,
    Spread,
    Timeline,
)
from nas_service.report.svg.bars import bars, fill, grid, timeline
from nas_service.report.svg.cells import cell
from nas_service.report.svg.lines import lines
from nas_service.report.svg.parallel import parallel
from nas_service.report.svg.scatter import scatter
from nas_service.report.svg.spread import spread

RENDERERS: dict[type, Callable[[Any], Markup]] = {
    Scatter: scatter,
    Lines: lines,
    Parallel: parallel,
    Bars: bars,
    Timeline: timeline,
    Fill: fill,
    Grid: grid,
    Spread: spread,
    CellGraph: lambda plot: cell(plot.cell),
}


def draw(plot: Plot) -> Markup:
    """A plot as safe markup, in which all names are escaped."""
    return RENDERERS[type(plot)](plot)
