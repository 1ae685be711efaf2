"""Commands that show one trial of a study, and write a report about all of them."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_service.cli.candidate import broken_budgets, print_candidate
from nas_service.cli.common import (
    STUDY_NAME,
    Page,
    candidate_of,
    options,
    read_result,
    with_assumed_rate,
)
from nas_service.cli.front import why_no_front
from nas_service.cli.number_types import WholeNumber
from nas_service.cli.terminal import print_err, print_json, print_out
from nas_service.study.fields import study_name

if TYPE_CHECKING:
    from nas_service.metrics import Evaluation
    from nas_service.searches.candidate import Candidate
    from nas_service.searches.results import Result
    from nas_service.study.spec import StudySpec


@click.command()
@STUDY_NAME
@click.argument("trial", type=WholeNumber(0))
@options("storage", "any_disk", "json")
def show(name: str, trial: int, storage: str | None, any_disk: bool, as_json: bool) -> None:
    """Show one trial of a study.

    Its architecture, all metrics, and the hardware costs of each layer.
    """
    result = read_result(storage, name, any_disk)
    candidate = candidate_of(result, trial)
    evaluation = result.evaluation(candidate)
    if as_json:
        evaluation = with_assumed_rate(evaluation, result.spec)
        return print_json(candidate_document(candidate, evaluation, result.spec))
    for line in _head(result, candidate, evaluation):
        print_out(line)
    print_candidate(evaluation, result.spec, candidate.metrics, candidate.test_accuracy)


def _head(result: "Result", candidate: "Candidate", evaluation: "Evaluation") -> Iterator[str]:
    """What became of a trial, in a few lines."""
    outcome = candidate.outcome
    if outcome == "cached":
        first = next((c.trial for c in result.candidates if c.digest == candidate.digest), None)
        outcome = f"the same candidate as trial {first}, measured before: {candidate.archived}"
    why = f": {evaluation.reason}" if evaluation.reason else ""
    yield f"trial {candidate.trial} of {result.spec.name}: {outcome}{why}"
    if candidate.violations and not why:
        yield broken_budgets(candidate.violations)
    if candidate.below_reference:
        yield f"feasible, below reference: {', '.join(candidate.missed_references)}"


def candidate_document(
    candidate: "Candidate", evaluation: "Evaluation", spec: "StudySpec"
) -> dict[str, Any]:
    """The document of `nas show --json`."""
    return evaluation.to_json() | {
        "trial": candidate.trial,
        "digest": candidate.digest,
        "outcome": candidate.outcome,
        "metrics": candidate.metrics,
        "violations": candidate.violations,
        "feasible": candidate.feasible,
        "below_reference": list(candidate.missed_references) if candidate.feasible else [],
        "objectives": spec.objectives_json(),
        "test_accuracy": candidate.test_accuracy,
    }


@click.command()
@STUDY_NAME
@click.option(
    "-o",
    "output",
    type=Page(),
    help="Write the report to this HTML file; by default reports/STUDY.html.",
)
@click.option(
    "--figures",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="FOLDER",
    help="Write each plot as PNG, SVG and PDF into this folder, for papers (extra "
    "nas-service[figures]); a report is written with -o alone then.",
)
@options("storage", "any_disk")
def report(
    name: str, output: Path | None, figures: Path | None, storage: str | None, any_disk: bool
) -> None:
    """Write an HTML report about a study.

    It is one file, which opens without a network and prints on A4.
    """
    from nas_service import report as reports

    result = read_result(storage, name, any_disk)
    if output or not figures:
        path = output or Path("reports") / f"{study_name(name)}.html"
        print_out(f"report: {reports.write(result, path)}")
    if figures:
        from nas_service.report.paper import write_figures

        files = write_figures(result, figures)
        print_out(f"figures: {len(files)} files in {figures}")
    if note := why_no_front(result):
        print_err(note)
