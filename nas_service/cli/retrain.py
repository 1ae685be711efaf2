"""`nas retrain`: the finalists of a study trained in full with several seeds."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hw_models.files.numerals import parse_whole
from nas_service.cli.common import STUDY_NAME, open_store, options, renamed
from nas_service.cli.number_types import WholeNumber
from nas_service.cli.terminal import print_err, print_json, print_out, print_table
from nas_service.errors import Interrupted, NasError
from nas_service.statistics import Interval
from nas_service.text import metric_number, number, signed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nas_service.evaluation.evaluator import Evaluator
    from nas_service.searches.candidate import Candidate
    from nas_service.searches.finalist import Finalist
    from nas_service.searches.retraining import Retraining
    from nas_service.searches.session import Search


def _numbers(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, ...]:
    parts = [] if text is None else text.split(",")
    numbers = [n for part in parts if (n := parse_whole(part)) is not None and n < 2**31]
    if len(numbers) != len(parts):
        raise click.BadParameter(f"{text!r:.60}: trial numbers with commas, such as 12,7")
    return tuple(numbers)


@click.command()
@STUDY_NAME
@click.option(
    "--seeds",
    type=WholeNumber(1, 1000),
    default=3,
    show_default=True,
    metavar="K",
    help="Train each finalist K times, with K seeds.",
)
@click.option(
    "--front",
    is_flag=True,
    help="Train the candidates of the feasible front, which is the default.",
)
@click.option(
    "--top",
    type=WholeNumber(1, 10**6),
    metavar="N",
    help="Train the N best candidates: the front first, then the front of the others.",
)
@click.option(
    "--trial-numbers",
    "trials",
    callback=_numbers,
    metavar="N,N",
    help="Train the candidates of these trials, such as 12,7.",
)
@renamed("--trials", "--trial-numbers")
@click.option("--worker", "is_worker", is_flag=True, hidden=True)
@click.option("--end-with-stdin", "stdin", is_flag=True, hidden=True)
@options("workers", "storage", "data", "any_disk", "json")
def retrain(
    name: str,
    seeds: int,
    front: bool,
    top: int | None,
    trials: tuple[int, ...],
    is_worker: bool,
    stdin: bool,
    workers: int | None,
    storage: str | None,
    data: Path,
    any_disk: bool,
    as_json: bool,
) -> None:
    """Train finalists with several seeds.

    Finalists are the candidates that are compared at last: the front, --top or --trial-numbers.
    Each training starts from new weights and runs over all epochs. The result: mean accuracies
    with intervals, and which differences are significant. Finished trainings are kept: the same
    command continues where it was, and with more --seeds or finalists trains only what is missing.
    Test images are read once all is trained.
    """
    if front + (top is not None) + bool(trials) > 1:
        raise NasError("only one of --front, --top and --trial-numbers can choose the finalists")
    from nas_service.searches import results, retraining, weights
    from nas_service.searches.session import open_search
    from nas_service.searches.study_data import open_evaluator

    search = open_search(open_store(storage, write=True, any_disk=any_disk), name)
    retraining.in_full(search.spec)
    finalists = retraining.choose_finalists(results.read(search), top, trials)
    evaluator = open_evaluator(search, data)
    if is_worker:
        return _train(search, evaluator, finalists, seeds, stdin)
    _run_workers(search, data, finalists, seeds, workers)
    missing = retraining.measure_test(search, evaluator, finalists, seeds)
    for reason in missing.values():
        print_err(f"note: no test accuracy: {reason}")
    if missing and (others := weights.elsewhere(search.store, search.id, name)):
        print_err(f"note: weights of this study were also written on {others}")
    result = retraining.read(search, evaluator, finalists, seeds)
    print_json(result.to_json()) if as_json else _print(result)


def _run_workers(
    search: "Search",
    data: Path,
    finalists: "Sequence[Candidate]",
    seeds: int,
    workers: int | None,
) -> None:
    """Local workers train what is missing."""
    from nas_service.searches import retraining, weights
    from nas_service.worker.local_pool import LocalWorkerPool, cores
    from nas_service.worker.proof import check_folder

    missing = retraining.count_missing(search, finalists, seeds)
    if not missing:
        return
    size = min(workers or cores(), missing)
    print_err(
        f"study {search.name}: {missing} trainings of {len(finalists)} candidates with {seeds} "
        f"seeds, {search.spec.training.epochs} epochs each, {size} workers"
    )
    numbers = ",".join(str(c.trial) for c in finalists)
    command = ("retrain", search.name, "--worker", "--seeds", str(seeds))
    check_folder(search.store.artifacts / search.name, "artifacts", "NAS_ARTIFACTS")
    pool = LocalWorkerPool(search.store, (*command, "--trial-numbers", numbers), data, size)
    weights.record_folder(search)
    pool.run(_print_line, lambda: None)


def _print_line(text: str) -> None:
    print_err(text)


def _train(
    search: "Search",
    evaluator: "Evaluator",
    finalists: "Sequence[Candidate]",
    seeds: int,
    stdin: bool,
) -> None:
    """The work of one worker process."""
    import threading

    import torch

    from nas_service.searches import retraining
    from nas_service.worker.end_signals import end_on_signals
    from nas_service.worker.local_pool import end_with_stdin

    torch.set_num_threads(1)
    asked_to_end = threading.Event()
    end_on_signals(asked_to_end)
    if stdin:
        end_with_stdin(asked_to_end)

    def check_interrupt() -> None:
        if asked_to_end.is_set():
            raise Interrupted("interrupted: run the same command again to continue")

    def print_line(text: str) -> None:
        print(text, flush=True)

    retraining.train(search, evaluator, finalists, seeds, check_interrupt, print_line)


def _print(result: "Retraining") -> None:
    bounded = bool(result.spec.constraints)
    within = ("within budgets",) if bounded else ()
    interval = "% (95 % interval)"
    names = ("trial", f"accuracy\n{interval}", *within, f"test accuracy\n{interval}",
             "test accuracy by seed\n%")  # fmt: skip

    def cells(f: "Finalist") -> list[str]:
        kept = (f"{f.within} of {result.seeds}",) if bounded else ()
        each = " ".join(_percent(None if r is None else r.test_accuracy) for r in f.repeats)
        validation = _mean(result.interval(f), f.accuracies)
        test = _mean(result.test_interval(f), f.test_accuracies)
        return [str(f.candidate.trial), validation, *kept, test, each]

    print_table(names, map(cells, result.finalists))
    _print_comparisons(result)
    for f in result.finalists:
        _print_diverged(f, result.seeds)


def _print_diverged(finalist: "Finalist", seeds: int) -> None:
    if finalist.diverged:
        trial = finalist.candidate.trial
        print_err(
            f"note: trial {trial}: {finalist.diverged} of {seeds} trainings diverged and are left "
            "out of the means"
        )


def _print_comparisons(result: "Retraining") -> None:
    if not result.comparisons:
        return
    rows = []
    for c in result.comparisons:
        difference = "-" if c.difference is None else _interval(c.difference, signed)
        rows.append([f"{c.first} - {c.second}", difference, number(c.p, 2), c.verdict])
    print_out()
    count = len(result.comparisons)
    print_table(["trials", "difference\npoints (95 % interval)", "p", ""], rows)
    several = f"; p corrected for {count} comparisons (Holm)" if count > 1 else ""
    print_out(f"difference of mean validation accuracy in points of percent: Welch's test{several}")


def _mean(interval: Interval | None, values: list[float]) -> str:
    """The mean in percent; a single value has no interval."""
    if interval is None:
        return f"{_percent(values[0])} (one seed)" if values else "-"
    return _interval(interval)


def _interval(interval: Interval, shown: "Callable[[float], str]" = number) -> str:
    value, low, high = (100 * x for x in (interval.value, interval.low, interval.high))
    return f"{shown(value)} ({shown(low)} .. {shown(high)})"


def _percent(share: float | None) -> str:
    return metric_number("accuracy", share)
