"""Commands that read a study from the store: status, front, one trial, report."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_service.cli.common import (
    STUDY_NAME,
    Page,
    candidate_of,
    options,
    read_result,
    with_assumed_rate,
)
from nas_service.cli.number_types import WholeNumber
from nas_service.cli.terminal import (
    NOTHING_FEASIBLE,
    heading,
    number,
    out,
    plain,
    print_aligned,
    print_candidate,
    print_columns,
    print_json,
)
from nas_service.searches import results
from nas_service.searches.stopping import end_reason, how_to_continue
from nas_service.spaces.operations import operations_of
from nas_service.study.fields import study_name

LISTED = 10  # candidates below a reference

if TYPE_CHECKING:
    from nas_service.metrics import Evaluation
    from nas_service.searches.candidate import Candidate
    from nas_service.searches.results import Result
    from nas_service.study.spec import StudySpec


@click.command()
@STUDY_NAME
@click.option(
    "--test",
    is_flag=True,
    help="Measure the test accuracies of the front that are not measured yet.",
)
@options("data", "storage", "any_disk", "json")
def front(
    name: str, test: bool, data: Path, storage: str | None, any_disk: bool, as_json: bool
) -> None:
    """Show the feasible front of a study.

    If the front is empty, feasible candidates below a reference or the nearest misses are shown,
    and the exit code is 3. --test reads the test images of --data, and the weights where this
    machine can read them.
    """
    result = read_result(storage, name, any_disk, write=test, computes=test)
    reasons = None
    if test and result.front:
        result, reasons = _with_test(result, data)
    if as_json:
        print_json(result.to_json() | {"not_tested": _not_tested(result, reasons)})
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
        out.print(f"{result.spec.name}: {plain(text)}", markup=False)
    if not result.front:
        feasible = sum(c.feasible for c in result.candidates)
        kind = "best of those below reference" if result.feasible else "nearest misses"
        out.print(f"{feasible} feasible of {len(result.candidates)}; {kind}:", markup=False)
    metrics = _front_metrics(result, rows)
    tested = bool(result.front and result.spec.training.epochs)
    print_columns(front_headings(metrics, tested), _front_rows(rows, metrics, tested))
    for c in rows:
        if c.reason:
            out.print(f"trial {c.trial}: {plain(c.reason)}", markup=False)
    if tested:
        _print_not_tested(_not_tested(result, reasons))
    if result.infeasible:
        print_infeasible(result)
    else:
        _print_front_notes(result)


def print_infeasible(result: "Result") -> None:
    """Why nothing is feasible: the budgets that bind, and what would let a candidate in."""
    for text in result.infeasible.lines if result.infeasible else ():
        out.print(plain(text), markup=False)


def _print_not_tested(reasons: dict[int, str]) -> None:
    """Prints why test accuracies are missing, one line for each reason."""
    for reason in dict.fromkeys(reasons.values()):
        trials = [str(trial) for trial, other in reasons.items() if other == reason]
        of = "trial" if len(trials) == 1 else "trials"
        out.print(f"test accuracy of {of} {', '.join(trials)}: {plain(reason)}", markup=False)


def _front_metrics(result: "Result", rows: "tuple[Candidate, ...]") -> list[str]:
    """Metrics of objectives and constraints, and the epochs if trainings differ in them."""
    spec = result.spec
    names = [o.metric for o in spec.objectives] + [c.metric for c in spec.constraints]
    if any(c.metrics.get("epochs", spec.training.epochs) != spec.training.epochs for c in rows):
        names.append("epochs")
    return list(dict.fromkeys(names))


def front_headings(metrics: list[str], tested: bool = True) -> list[str]:
    """The columns of a front with these metrics, units in a second line."""
    test = ["test accuracy"] if tested else []
    names = ["trial", *map(heading, metrics), *test, "worst budget"]
    return ["\n".join(name.rsplit(" ", 1)) for name in names]


def _front_rows(rows: "tuple[Candidate, ...]", metrics: list[str], tested: bool) -> list[list[str]]:
    def cells(c: "Candidate") -> list[str]:
        values = [number(metric, c.metrics.get(metric)) for metric in metrics]
        test = [number("accuracy", c.test_accuracy)] if tested else []
        return [str(c.trial), *values, *test, _worst_budget(c)]

    return [cells(c) for c in rows]


def _worst_budget(candidate: "Candidate") -> str:
    worst = max(candidate.violations.items(), key=lambda item: item[1], default=None)
    return f"{worst[0]} {100 * worst[1]:+.1f} %" if worst else ""


def below_line(result: "Result") -> str:
    """The feasible candidates below a reference, with their trials; empty where there are none."""
    if not result.below_note:
        return ""
    trials = ", ".join(str(c.trial) for c in result.below_reference[:LISTED])
    more = len(result.below_reference[LISTED:])
    return f"{result.below_note}: trials {trials}" + (f" and {more} more" if more else "")


def _print_front_notes(result: "Result") -> None:
    if line := below_line(result):
        out.print(line, markup=False)
    if result.note:
        out.print(f"front: {result.note}", markup=False)
    out.print(
        f"hypervolume {result.hypervolume:.4f} (share of the box from reference to ideal); "
        "accuracy on validation images, hardware figures estimated by chip profile "
        f"{result.spec.hardware.profile}",
        markup=False,
    )


@click.command()
@STUDY_NAME
@options("storage", "any_disk", "json")
def status(name: str, storage: str | None, any_disk: bool, as_json: bool) -> None:
    """Show the progress of a study.

    Counts of trials, workers alive, hypervolume, failures, and why the study has ended.
    """
    result = read_result(storage, name, any_disk)
    document = status_document(result)
    if as_json:
        return print_json(document)
    for text in result.summary:
        out.print(plain(text), markup=False)
    print_aligned(_status_lines(result, document))
    print_infeasible(result)
    for proxy, correlation in result.proxy_correlation.items():
        text = f"rank correlation with accuracy {correlation}"
        out.print(f"proxy {proxy}: {text}", markup=False)
    for trial, reason in document["failures"].items():
        out.print(f"trial {trial} failed: {plain(reason)}", markup=False)


def status_document(result: "Result") -> dict[str, Any]:
    """The document of `nas status --json`."""
    store, study_id = result.search.store, result.search.id
    return {
        "study": result.spec.name,
        "budget": store.studies.get(result.spec.name).trainings,
        "counts": result.counts,
        "shares": result.shares,
        "rejected_by": result.rejected_by,
        "passed_over": result.passed_over,
        "ended": end_reason(result.search),
        "workers": len(store.leases(study_id).workers()),
        "feasible": len(result.feasible),
        "below_reference": [c.trial for c in result.below_reference],
        "objectives": result.spec.objectives_json(),
        "infeasible": result.infeasible and result.infeasible.to_json(),
        "hypervolume": result.hypervolume,
        "front_epochs": result.front_epochs,
        "full": result.front_is_final,
        "epochs": result.epochs,
        "rungs": {str(epochs): count for epochs, count in result.rungs.items()},
        "proxy_correlation": {k: v.to_json() for k, v in result.proxy_correlation.items()},
        "plugins": [{"name": p.name, "sha256": p.digest} for p in result.search.plugins],
        "failures": {str(k): v for k, v in store.leases(study_id).failures().items()},
    }


def _status_lines(result: "Result", document: dict[str, Any]) -> dict[str, str]:
    """What `nas status` prints for people, by its label."""
    lines = {
        "study": document["study"],
        "trainings": f"{result.counts['trained']} of {document['budget']}",
        "ended": document["ended"] or "no",
        "workers": str(document["workers"]),
        "feasible": str(document["feasible"]),
        "hypervolume": f"{result.hypervolume:.4f}",
    }
    if line := below_line(result):
        lines["below"] = line
    if plugins := result.search.plugins:
        lines["plug-ins"] = ", ".join(f"{p.name} (sha256 {p.digest})" for p in plugins)
    if result.note:
        lines["front"] = result.note
    trained, in_full = result.epochs["trained"], result.epochs["in_full"]
    if in_full:
        share = f"{100 * trained / in_full:.0f} %"
        lines["epochs"] = f"{trained} of {in_full} for full trainings ({share})"
    if result.rungs:
        reached = (f"after {epochs}: {count}" for epochs, count in result.rungs.items())
        lines["rungs"] = ", ".join(reached)
    if document["ended"] and (remedy := how_to_continue(result.search)):
        lines["continue"] = remedy
    return lines


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
    evaluation = with_assumed_rate(result.evaluation(candidate), result.spec)
    if as_json:
        return print_json(candidate_document(candidate, evaluation, result.spec))
    head = f"trial {trial} of {name}: {candidate.outcome} {plain(evaluation.reason)}"
    out.print(head.rstrip(), markup=False)
    if candidate.below_reference:
        missed = ", ".join(candidate.missed_references)
        out.print(f"feasible, below reference: {missed}", markup=False)
    operations = operations_of(result.spec.space.operations)
    print_candidate(evaluation, operations, candidate.metrics)


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
@options("storage", "any_disk")
def report(name: str, output: Path | None, storage: str | None, any_disk: bool) -> None:
    """Write an HTML report about a study.

    It is one file without scripts, which opens without a network.
    """
    from nas_service import report as reports

    path = output or Path("reports") / f"{study_name(name)}.html"
    out.print(f"report: {reports.write(read_result(storage, name, any_disk), path)}", markup=False)
