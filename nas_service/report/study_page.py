"""The report about a study: what its page shows, in the order of its sections."""

from dataclasses import replace
from typing import TYPE_CHECKING

from nas_service.report.candidates import CARDS, OUTCOMES, all_rows, card, row
from nas_service.report.front_plots import front_figures
from nas_service.report.hardware_plots import QUANTITIES, by_component
from nas_service.report.pages import pages
from nas_service.report.plots import KINDS, Figure, Scatter
from nas_service.report.study_data import StudyData, read_data
from nas_service.report.study_plots import study_figures
from nas_service.report.study_table import effort, goals, origin, sections
from nas_service.searches.results import Result
from nas_service.study.rejection import MEMORY, NO_PATH, PATH

if TYPE_CHECKING:
    from nas_service.searches.recosting import Recosted

LISTED = 30  # candidates below a reference, and reasons of failures, that are listed


def study_page(result: Result) -> str:
    """The report about a study as HTML.

    Args:
        result: The study.

    Returns:
        One page, which loads nothing else.
    """
    data = read_data(result)
    best, below = result.best_known, result.below_reference
    cards = [card(data, c) for c in best[:CARDS]]
    fronts, others = front_figures(data), {f.name: f for f in study_figures(data)}
    rows, left_out = all_rows(data)
    reports = [(f"trial {c.row.candidate.trial}", c.hardware) for c in cards]
    return (
        pages()
        .get_template("report.html")
        .render(
            data=data,
            result=result,
            spec=result.spec,
            counts=result.counts,
            outcomes=OUTCOMES,
            checks={PATH: NO_PATH, MEMORY: "memory of a training"},
            metrics=list(dict.fromkeys(result.spec.metrics)),
            best=[row(data, c) for c in best],
            below=[row(data, c) for c in below[:LISTED]] if result.front else [],
            below_count=len(below),
            cards=cards,
            carded={c.row.candidate.trial for c in cards},
            listed={c.trial for c in (*best, *below[:LISTED])},
            fronts=fronts,
            kinds=kinds_of(fronts),
            figures=others,
            components=[by_component(name, reports) for name in QUANTITIES if reports],
            rows=rows,
            left_out=left_out,
            failures=list(data.failures.items())[:LISTED],
            sections=sections(result.spec),
            goals=goals(result.spec),
            effort=effort(data),
            origin=origin(data),
            warnings=sorted({w for c in cards for w in c.hardware.warnings}),
        )
    )


def kinds_of(figures: list[Figure]) -> list[str]:
    """Kinds of candidates in scatter plots, for their legend, the most important first."""
    plots = [f.plot for f in figures if isinstance(f.plot, Scatter)]
    present = {point.kind for plot in plots for point in plot.points}
    return [kind for kind in reversed(KINDS) if kind in present]


def recosted_page(recosted: "Recosted") -> str:
    """The page of a study that was costed anew.

    Args:
        recosted: The study before and after.

    Returns:
        One page, which loads nothing else.
    """
    spec = recosted.after.spec
    before, after = (
        [replace(f, name=f"{when}-{f.name}") for f in front_figures(StudyData.bare(result))]
        for when, result in (("before", recosted.before), ("after", recosted.after))
    )
    page = pages().get_template("recosted.html")
    return page.render(
        recosted=recosted,
        spec=spec,
        metrics=list(dict.fromkeys(spec.metrics)),
        before=before,
        after=after,
        kinds=kinds_of(before + after),
    )
