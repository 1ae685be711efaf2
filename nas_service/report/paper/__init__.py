"""Plots as files for papers: PNG, SVG and PDF, drawn by matplotlib without a display.

One column of a two-column paper is 3.3 inches wide, its captions are set in 8 points.
"""

import importlib.util
from collections.abc import Iterable
from pathlib import Path

from nas_service.errors import not_installed
from nas_service.report.candidates import CARDS
from nas_service.report.front_plots import front_figures
from nas_service.report.hardware_plots import QUANTITIES, by_component, hardware_figures
from nas_service.report.plots import CellGraph, Figure
from nas_service.report.study_data import StudyData, read_data
from nas_service.report.study_plots import study_figures
from nas_service.searches.results import Result

KINDS = ("png", "svg", "pdf")


def write_figures(result: Result, folder: Path) -> list[Path]:
    """Writes each plot of a study's report as PNG, SVG and PDF.

    Args:
        result: The study.
        folder: Where the files go; it is created. Files of the same names are replaced.

    Returns:
        The files.

    Raises:
        NasError: matplotlib is not installed; the message names the extra.
        OSError: The folder cannot be written.
    """
    if importlib.util.find_spec("matplotlib") is None:
        raise not_installed("matplotlib", "figures")
    from nas_service.report.paper.drawing import save

    folder.mkdir(parents=True, exist_ok=True)
    return [
        save(figure.plot, folder / f"{figure.name}.{kind}", kind)
        for figure in all_figures(read_data(result))
        for kind in KINDS
    ]


def all_figures(data: StudyData) -> Iterable[Figure]:
    """The plots of a study's report, with the hardware and cells of its best candidate."""
    yield from front_figures(data)
    yield from study_figures(data)
    best = [(c, data.result.evaluation(c)) for c in data.result.best_known[:CARDS]]
    reports = [(f"trial {c.trial}", evaluation.hardware) for c, evaluation in best]
    yield from (by_component(name, reports) for name in QUANTITIES if reports)
    for candidate, evaluation in best[:1]:
        for figure in hardware_figures(evaluation.hardware):
            yield Figure(f"trial-{candidate.trial}-{figure.name}", figure.title, figure.plot)
        for n, cell in enumerate(evaluation.architecture.cells):
            name = f"trial-{candidate.trial}-cell-{n}"
            yield Figure(name, f"Cell {n}", CellGraph(cell))
