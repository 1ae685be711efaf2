"""`nas status`: how far a study is."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import click
from rich.live import Live
from rich.text import Text

from nas_service.cli.common import STUDY_NAME, options, read_result
from nas_service.cli.front import below_line
from nas_service.cli.terminal import aligned, can_redraw, out, print_json, print_out, width, wrapped
from nas_service.errors import NasError
from nas_service.searches import results
from nas_service.searches.stopping import end_reason, how_to_continue
from nas_service.searches.time_left import time_left_s
from nas_service.text import counted, duration, number, percent, printable
from nas_service.worker.retry import is_transient

if TYPE_CHECKING:
    from nas_service.searches.results import Result
    from nas_service.searches.session import Search

INTERVAL_s = 2.0  # between two looks at the store
PAUSE = 10  # times as long as a look takes, at least


@click.command()
@STUDY_NAME
@click.option("--watch", is_flag=True, help="Show it again and again until the study ends.")
@options("storage", "any_disk", "json")
def status(name: str, watch: bool, storage: str | None, any_disk: bool, as_json: bool) -> None:
    """Show the progress of a study.

    Counts of trials, workers alive, the time left, hypervolume, failures, and why the study has
    ended. --watch redraws it on a terminal, and prints a line for each change elsewhere; Ctrl-C
    ends it, and no worker.
    """
    if watch and as_json:
        raise NasError("--watch and --json: one of them is possible at a time")
    result = read_result(storage, name, any_disk)
    if as_json:
        return print_json(status_document(result))
    if watch:
        return watch_status(result.search)
    for line in status_lines(result, status_document(result)):
        out.print(line)


def watch_status(search: "Search", sleep: Callable[[float], None] = time.sleep) -> None:
    """Shows the progress of a study until it ends or is interrupted.

    Args:
        search: The study.
        sleep: Waits for seconds.
    """
    live = can_redraw()
    with contextlib.suppress(KeyboardInterrupt), _screen(live) as draw:
        while True:
            began = time.monotonic()
            if (result := _read(search)) is not None:
                document = status_document(result)
                draw(status_lines(result, document) if live else [short_line(result, document)])
                if document["ended"]:
                    return
            sleep(max(INTERVAL_s, PAUSE * (time.monotonic() - began)))


def _read(search: "Search") -> "Result | None":
    """The result so far; None while the store does not answer."""
    try:
        return results.read(search)
    except Exception as error:
        if is_transient(error):
            return None
        raise


@contextlib.contextmanager
def _screen(live: bool) -> Iterator[Callable[[Iterable[str]], None]]:
    """What shows lines in the place of those before; without a terminal, below them if new."""
    if live:
        with Live(console=out, auto_refresh=False) as area:
            yield lambda lines: area.update(Text("\n".join(lines)), refresh=True)
        return
    last: list[str] = []

    def draw(lines: Iterable[str]) -> None:
        new = list(lines)
        if new != last:
            last[:] = new
            for line in new:
                print_out(line)

    yield draw


def short_line(result: "Result", document: Mapping[str, Any]) -> str:
    """The progress in one line."""
    left = _time_left(result, document)
    parts = [
        f"{result.counts['trained']} of {document['budget']} trainings",
        f"{document['feasible']} feasible",
        f"hypervolume {number(result.hypervolume)}",
        counted(document["workers"], "worker"),
        *([f"about {duration(left)} left"] if left else []),
    ]
    return ", ".join(parts) + (f"; {document['ended']}" if document["ended"] else "")


def status_lines(result: "Result", document: Mapping[str, Any]) -> Iterator[str]:
    """What `nas status` prints, in lines that fit the terminal.

    Args:
        result: Of the study.
        document: `status_document` of it.

    Yields:
        The lines.
    """
    texts = [*result.summary, None, *(result.infeasible.lines if result.infeasible else ())]
    for proxy, correlation in result.proxy_correlation.items():
        texts.append(f"proxy {proxy}: rank correlation with accuracy {correlation}")
    texts += [f"trial {trial} failed: {why}" for trial, why in document["failures"].items()]
    for text in texts:
        if text is None:
            yield from aligned(_facts(result, document))
        else:
            yield from wrapped(printable(text), width())


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


def _time_left(result: "Result", document: Mapping[str, Any]) -> float | None:
    """Seconds until the budget is spent; None where the study has ended or that is not known."""
    if document["ended"]:
        return None
    left = document["budget"] - result.counts["trained"]
    return time_left_s(result.search, left, document["workers"])


def _facts(result: "Result", document: Mapping[str, Any]) -> dict[str, str]:
    """Facts about a study by their labels."""
    left = _time_left(result, document)
    lines = {
        "study": document["study"],
        "trainings": f"{result.counts['trained']} of {document['budget']}",
        "ended": document["ended"] or "no",
        "workers": _workers(document),
        **({"time left": f"about {duration(left)}"} if left else {}),
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


def _workers(document: Mapping[str, Any]) -> str:
    """Workers that have a trial, and what that means for trials that are not finished."""
    workers, unfinished = document["workers"], document["counts"]["running"]
    if workers or not unfinished or document["ended"]:
        return f"{workers} alive"
    trials = counted(unfinished, "unfinished trial") + (" waits" if unfinished == 1 else " wait")
    return f"none alive: {trials} for one (nas resume {document['study']})"
