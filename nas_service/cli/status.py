"""`nas status`: how far a study is."""

from typing import TYPE_CHECKING, Any

import click

from nas_service.cli.common import STUDY_NAME, options, read_result
from nas_service.cli.front import below_line, print_infeasible
from nas_service.cli.terminal import print_aligned, print_json, print_out
from nas_service.searches.stopping import end_reason, how_to_continue
from nas_service.text import number, percent

if TYPE_CHECKING:
    from nas_service.searches.results import Result


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
        print_out(text)
    print_aligned(_status_lines(result, document))
    print_infeasible(result)
    for proxy, correlation in result.proxy_correlation.items():
        text = f"rank correlation with accuracy {correlation}"
        print_out(f"proxy {proxy}: {text}")
    for trial, reason in document["failures"].items():
        print_out(f"trial {trial} failed: {reason}")


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
        "workers": _workers(document),
        "feasible": str(document["feasible"]),
        "hypervolume": number(result.hypervolume),
    }
    if note := result.nothing_known:
        lines["trials"] = note
    if line := below_line(result):
        lines["below"] = line
    if plugins := result.search.plugins:
        lines["plug-ins"] = ", ".join(f"{p.name} (sha256 {p.digest})" for p in plugins)
    if result.note:
        lines["front"] = result.note
    trained, in_full = result.epochs["trained"], result.epochs["in_full"]
    if in_full:
        share = percent(trained / in_full)
        lines["epochs"] = f"{trained:,} of {in_full:,} for full trainings ({share})"
    if result.rungs:
        reached = (f"{count} after epoch {epochs}" for epochs, count in result.rungs.items())
        lines["measured"] = ", ".join(reached)
    if document["ended"] and (remedy := how_to_continue(result.search)):
        lines["continue"] = remedy
    return lines


def _workers(document: dict[str, Any]) -> str:
    """Workers that have a trial, and what that means for trials that are not finished."""
    workers, unfinished = document["workers"], document["counts"]["running"]
    if workers or not unfinished or document["ended"]:
        return f"{workers} alive"
    trials = (
        "1 unfinished trial waits" if unfinished == 1 else f"{unfinished} unfinished trials wait"
    )
    return f"none alive: {trials} for one (nas resume {document['study']})"
