"""Figures for papers: sizes, fonts, the same objects as on pages; the error names the extra."""

import importlib.util
import re
import xml.etree.ElementTree as ET

import pytest

from nas_service.errors import NasError
from nas_service.report import paper
from nas_service.report.paper.drawing import RENDERERS, save
from nas_service.report.paper.scatter import typeset
from nas_service.report.plots import (
    Bars,
    CellGraph,
    Dimension,
    Fill,
    Grid,
    Limit,
    Line,
    Lines,
    Parallel,
    Point,
    Scatter,
    Span,
    Spread,
    Timeline,
    Track,
)
from nas_service.report.svg import RENDERERS as ON_PAGES
from nas_service.report.svg import draw
from nas_service.spaces.cell import Cell

X = Dimension("energy (uJ)", 0.0, 1.0, (Limit(0.8, "budget 0.8", True),))
Y = Dimension("accuracy (%)", 50.0, 100.0, (Limit(60.0, "reference 60", False),), minimised=False)
POINTS = tuple(
    Point(0.1 * n, y, kind, f"trial {n}", n, (70.0, 90.0) if kind == "front" else None)
    for n, (kind, y) in enumerate(
        [("front", 80.0), ("feasible", 75.0), ("cached", 75.0), ("infeasible", 990.0),
         ("below", 55.0), ("rejected", None), ("diverged", None)]
    )
)  # fmt: skip
PLOTS = [
    Scatter(X, Y, POINTS, joined=True),
    Scatter(X, Y, (), joined=True),
    Lines(X, Y, (Line("a", "front", ((0.0, 50.0), (1.0, 90.0)), steps=True),
                 Line("b", "baseline", ()), Line("c", "feasible", ((0.0, 60.0),), 3))),
    Parallel((X, Y), (Track((0.5, 80.0), "front", "trial 1", 1),)),
    Bars("energy", "J", (("a", {"adc": 1e-9}), ("b", {})), (2e-9, 0.0)),
    Bars("area", "m2", (("a", {"adc": 0.0}),)),
    Timeline((Span("a", 0.0, 1e-6, 0.9), Span("b", 1e-6, 1e-6, 0.0))),
    Fill((("a", 0.3, "30 % of 2"),)),
    Grid(("accuracy", "energy"), (("channels", (0.4, None)),)),
    Spread(Y, (("trial 1", (70.0, 80.0), (60.0, 120.0)), ("trial 2", (75.0,), None))),
    CellGraph(Cell(("conv3x3", "skip", "back:skip", "zeroize", "avgpool3x3", "conv1x1"))),
]  # fmt: skip


def test_every_kind_of_plot_has_both_renderers():
    assert RENDERERS.keys() == ON_PAGES.keys() == {type(plot) for plot in PLOTS}


@pytest.mark.parametrize("number", range(len(PLOTS)))
def test_every_plot_is_drawn_on_pages_and_on_paper(number, tmp_path):
    ET.fromstring(f"<div>{draw(PLOTS[number])}</div>")  # noqa: S314
    path = save(PLOTS[number], tmp_path / "plot.svg", "svg")
    assert ET.parse(path).getroot().tag.endswith("svg")  # noqa: S314


def test_a_figure_is_one_column_wide_and_alike_each_time(tmp_path):
    first, second = (save(PLOTS[0], tmp_path / f"{n}.svg", "svg").read_text() for n in ("a", "b"))
    assert first == second
    assert re.search(r'<svg [^>]*width="237.6pt"', first)  # 3.3 inches of 72 points
    assert "<text" not in first  # glyphs are outlines
    assert save(PLOTS[0], tmp_path / "a.pdf", "pdf").read_bytes().startswith(b"%PDF")
    assert save(PLOTS[0], tmp_path / "a.png", "png").read_bytes().startswith(b"\x89PNG")


def test_units_are_typeset():
    assert typeset("energy (uJ)") == "energy (µJ)"
    assert typeset("area (mm2)") == "area (mm²)"
    assert typeset("time (us)") == "time (µs)"
    assert typeset("used subtractors") == "used subtractors"


def test_without_matplotlib_the_error_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NasError, match=r"nas-service\[figures\]"):
        paper.write_figures(None, tmp_path / "figures")
    assert list(tmp_path.iterdir()) == []
