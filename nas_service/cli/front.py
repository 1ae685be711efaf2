"""`nas front`: the feasible front of a study as a table, or what is nearest to it."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_service.cli.common import STUDY_NAME, options, read_result
from nas_service.cli.front_formats import csv_of, latex_of
from nas_service.cli.terminal import (
    NOTHING_FEASIBLE,
    heading,
    print_err,
    print_json,
    print_out,
    print_table,
)
from nas_service.errors import NasError
from nas_service.searches import results
from nas_service.text import metric_label, metric_number, number

if TYPE_CHECKING:
    from nas_service.searches.candidate import Candidate
    from nas_service.searches.results import Result

LISTED = 10  # candidates below a reference
FORMATS = {"csv": csv_of, "latex": latex_of}


@click.command()
@STUDY_NAME
@click.option(
    "--test",
    is_flag=True,
    help="Measure the test accuracies of the front that are not measured yet.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(("table", "csv", "json", "latex")),
    help="Print a table (the default), CSV in full precision, JSON as --json does, or LaTeX for a "
    "paper.",
)
@options("data", "storage", "any_disk", "json")
def front(
    name: str,
    test: bool,
    form: str | None,
    data: Path,
    storage: str | None,
    any_disk: bool,
    as_json: bool,
) -> None:
    """Show the feasible front of a study.

    If the front is empty, feasible candidates below a reference or the nearest misses are shown,
    and the exit code is 3. --test reads the test images of --data, and the weights where this
    machine can read them.
    """
    if as_json and form not in (None, "json"):
        raise NasError(f"--json and --format {form}: one of them")
    result = read_result(storage, name, any_disk, write=test, computes=test)
    reasons = None
    if test and result.front:
        result, reasons = _with_test(result, data)
    if as_json or form == "json":
        print_json(result.to_json() | {"not_tested": _not_tested(result, reasons)})
    elif form in FORMATS:
        print(FORMATS[form](result), end="")
        if not result.front:
            print_err(why_no_front(result))
    else:
        print_front(result, reasons)
    if not result.front:
        raise SystemExit(NOTHING_FEASIBLE)


def _with_test(result: "Result", data: Path) -> "tuple[Result, dict[int, str]]":
    """The result with the test accuracies of its front; why others are missing, by trial."""
    from nas_service.searches.front_test import measure_test
    from nas_service.searches.study_data import open_evaluator

    reasons = measure_test(result, open_evaluator(result.search, data))
    return results.read(result.search), reasons


def _not_tested(result: "Result", reasons: dict[int, str] | None = None) -> dict[int, str]:
    """Why candidates of the front have no test accuracy, by trial."""
    if not result.spec.training.epochs:
        return dict.fromkeys((c.trial for c in result.front), "the study trains nothing")
    default = f"not measured yet; `nas front {result.spec.name} --test` measures it"
    missing = [c.trial for c in result.front if c.test_accuracy is None]
    return {trial: (reasons or {}).get(trial, default) for trial in missing}


def print_front(result: "Result", reasons: dict[int, str] | None = None) -> None:
    """The front of a result as a table, or the best of what is known, with counts and notes.

    Args:
        result: Of the study.
        reasons: Why test accuracies could not be measured, by trial, where that was tried.
    """
    rows = result.best_known
    for text in result.summary:
        print_out(f"{result.spec.name}: {text}")
    if note := result.nothing_known:
        print_out(note)
    elif not result.front:
        feasible = sum(c.feasible for c in result.candidates)
        kind = "best of those below reference" if result.feasible else "nearest misses"
        print_out(f"{feasible} feasible of {len(result.candidates)}; {kind}:")
    if rows:
        print_out()
        _print_candidates(result, rows)
        print_out()
    for c in rows:
        if c.reason:
            print_out(f"trial {c.trial}: {c.reason}")
    if result.front and result.spec.training.epochs:
        _print_not_tested(_not_tested(result, reasons))
    if result.infeasible:
        print_infeasible(result)
    else:
        _print_front_notes(result)


def _print_candidates(result: "Result", rows: "tuple[Candidate, ...]") -> None:
    metrics = _front_metrics(result, rows)
    tested = bool(result.front and result.spec.training.epochs)
    exceeded = all(max(c.violations.values(), default=0.0) > 0 for c in rows)
    bounded = bool(result.spec.constraints)
    headings = front_headings(metrics, tested, bounded, exceeded)
    print_table(headings, (_front_row(c, metrics, tested, bounded, exceeded) for c in rows))


def why_no_front(result: "Result") -> str:
    """Why a study has no front, in one line; empty where it has one."""
    if result.front:
        return ""
    if result.below_note:
        return f"the front is empty: {result.below_note}"
    misses = f"`nas front {result.spec.name}` shows the nearest misses"
    return result.nothing_known or f"no candidate is feasible: {misses}"


def print_infeasible(result: "Result") -> None:
    """Why nothing is feasible: the budgets that bind, and what would let a candidate in."""
    for text in result.infeasible.lines if result.infeasible else ():
        print_out(text)


def _print_not_tested(reasons: dict[int, str]) -> None:
    """Prints why test accuracies are missing, one line for each reason."""
    for reason in dict.fromkeys(reasons.values()):
        trials = [str(trial) for trial, other in reasons.items() if other == reason]
        of = "trial" if len(trials) == 1 else "trials"
        print_out(f"test accuracy of {of} {', '.join(trials)}: {reason}")


def _front_metrics(result: "Result", rows: "tuple[Candidate, ...]") -> list[str]:
    """Metrics of objectives and constraints, and the epochs if trainings differ in them."""
    spec = result.spec
    names = [o.metric for o in spec.objectives] + [c.metric for c in spec.constraints]
    if any(c.metrics.get("epochs", spec.training.epochs) != spec.training.epochs for c in rows):
        names.append("epochs")
    return list(dict.fromkeys(names))


def front_headings(
    metrics: list[str], tested: bool = True, bounded: bool = True, exceeded: bool = False
) -> list[str]:
    """The headings of a front.

    Args:
        metrics: Names of the metrics that are shown.
        tested: True where test accuracies are shown.
        bounded: True where the study has budgets.
        exceeded: True where every candidate exceeds a budget.

    Returns:
        One heading for each column, with its unit in a line of its own.
    """
    test = ["test accuracy\n%"] if tested else []
    budget = ["most exceeded budget", "over\n%"] if exceeded else ["tightest budget", "room\n%"]
    return ["trial", *map(heading, metrics), *test, *(budget if bounded else [])]


def _front_row(
    c: "Candidate", metrics: list[str], tested: bool, bounded: bool, exceeded: bool
) -> list[str]:
    values = [metric_number(metric, c.metrics.get(metric)) for metric in metrics]
    test = [metric_number("accuracy", c.test_accuracy)] if tested else []
    return [str(c.trial), *values, *test, *(_tightest_budget(c, exceeded) if bounded else ())]


def _tightest_budget(candidate: "Candidate", exceeded: bool) -> tuple[str, str]:
    """The budget with the least room, or the most exceeded one, and how much of it in percent."""
    name, worst = max(candidate.violations.items(), key=lambda item: item[1], default=("", None))
    return metric_label(name), number(worst and (100.0 if exceeded else -100.0) * worst)


def below_line(result: "Result") -> str:
    """The feasible candidates below a reference, with their trials; empty where there are none."""
    if not result.below_note:
        return ""
    trials = ", ".join(str(c.trial) for c in result.below_reference[:LISTED])
    more = len(result.below_reference[LISTED:])
    word = "trial" if len(result.below_reference) == 1 else "trials"
    return f"{result.below_note}: {word} {trials}" + (f" and {more} more" if more else "")


def _print_front_notes(result: "Result") -> None:
    if line := below_line(result):
        print_out(line)
    if result.note:
        print_out(f"front: {result.note}")
    print_out(f"hypervolume {number(result.hypervolume)} {HYPERVOLUME}")
    print_out(
        "accuracy on validation images; hardware figures estimated by chip profile "
        f"{result.spec.hardware.profile}"
    )


HYPERVOLUME = "(share that the front dominates, of all values from reference to ideal)"
