"""The report's plots on the dashboard's pages: every mark leads to its candidate's page."""

from dataclasses import dataclass, replace

from markupsafe import Markup

from hw_models import HardwareReport
from nas_service.dashboard.studies import ShownStudy
from nas_service.metrics import Evaluation
from nas_service.report import study_plots
from nas_service.report.front_plots import front_figures
from nas_service.report.hardware_plots import hardware_figures
from nas_service.report.plots import Dimension, Figure, Line, Lines, Scatter
from nas_service.report.scale import axis_range
from nas_service.report.study_data import StudyData
from nas_service.report.svg import draw
from nas_service.report.svg.scatter import legend

OTHERS = ("infeasible", "cached", "rejected", "diverged")  # kinds that may be many
MOST = 1000  # marks of these kinds in one picture


@dataclass(frozen=True)
class Drawn:
    """A figure with its picture."""

    title: str
    picture: Markup
    note: str = ""


def data_of(study: ShownStudy) -> StudyData:
    """The study as the report's plots read it, without what only its trainings know."""
    return StudyData(study.result, {}, {}, study.failures, 0.0, "", ())


def fronts(study: ShownStudy, base: str) -> list[Drawn]:
    """The front over each pair of objectives.

    Args:
        study: The study.
        base: The address of a trial's page, without its number.

    Returns:
        The figures; none for a study without candidates.
    """
    return [_drawn(figure, base) for figure in front_figures(data_of(study))]


def small_front(study: ShownStudy) -> Markup:
    """The first plot of the front, without what is infeasible."""
    figures = front_figures(data_of(study))
    if not figures or not isinstance(plot := figures[0].plot, Scatter):
        return Markup("")
    shown = tuple(p for p in plot.points if p.kind not in OTHERS)
    return _linked(draw(replace(plot, points=shown)), f"studies/{study.id}/trials/")


def history(study: ShownStudy, base: str) -> Drawn | None:
    """Hypervolume over the trainings; None while there is nothing to draw."""
    figure = study_plots.history(data_of(study))
    return None if figure is None else replace(_drawn(figure, base), note="")


def hardware(report: HardwareReport) -> list[Drawn]:
    """The costs of one candidate by layer and component."""
    return [_drawn(figure, "") for figure in hardware_figures(report)]


def training_curve(evaluation: Evaluation) -> Drawn | None:
    """Validation accuracy of one candidate after its epochs; None for fewer than two."""
    points = tuple((float(epoch), 100 * accuracy) for epoch, accuracy in evaluation.curve)
    if len(points) < 2:
        return None
    low, high = axis_range([accuracy for _, accuracy in points], most=100.0)
    x = Dimension("epoch", points[0][0], points[-1][0])
    y = Dimension("validation accuracy (%)", low, high)
    return Drawn("Training curve", draw(Lines(x, y, (Line("accuracy", "front", points),))))


def _drawn(figure: Figure, base: str) -> Drawn:
    if not isinstance(figure.plot, Scatter):
        return Drawn(figure.title, _linked(draw(figure.plot), base), figure.note)
    plot, note = _thinned(figure.plot), figure.note
    if left := len(figure.plot.points) - len(plot.points):
        note = f"{note} {left} candidates that break a budget are left out.".strip()
    kinds = list(dict.fromkeys(p.kind for p in plot.points))
    return Drawn(figure.title, _linked(draw(plot), base) + legend(kinds), note)


def _thinned(plot: Scatter) -> Scatter:
    """The plot with all candidates within the budgets, and the newest of the others."""
    others = [p for p in plot.points if p.kind in OTHERS]
    dropped = {id(p) for p in others[:-MOST]}
    return replace(plot, points=tuple(p for p in plot.points if id(p) not in dropped))


def _linked(picture: Markup, base: str) -> Markup:
    """The picture, whose links lead to places on a report's one page, with links to pages."""
    return Markup(str(picture).replace('href="#trial-', f'href="{base}'))  # noqa: S704  base is ours
