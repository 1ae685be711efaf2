"""`nas retrain`: the finalists of a study trained in full with several seeds."""

import os
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from nas_service.cli.terminal import closed_at_end, err, options, out, plain, print_json
from nas_service.errors import Interrupted, NasError
from nas_service.statistics import Interval
from nas_service.store.database import storage_url
from nas_service.store.store import Store


def _numbers(_: click.Context, __: click.Parameter, text: str | None) -> tuple[int, ...]:
    words = [] if text is None else text.split(",")
    if not all(w.isascii() and w.isdigit() and len(w) < 10 for w in words):
        raise click.BadParameter(f"{text!r:.60}: trial numbers with commas, such as 12,7")
    return tuple(int(w) for w in words)


@click.command()
@click.argument("name")
@click.option("--seeds", type=click.IntRange(1, 1000), default=3, show_default=True,
              help="Trainings of each finalist.")  # fmt: skip
@click.option("--front", is_flag=True, help="Finalists: the feasible front, as without an option.")
@click.option("--top", type=click.IntRange(1, 10**6), help="Finalists: so many, front after front.")
@click.option("--trials", callback=_numbers, help="Finalists: these trials, such as 12,7.")
@click.option("--worker", "hand", is_flag=True, hidden=True)
@click.option("--end-with-stdin", "stdin", is_flag=True, hidden=True)
@options("workers", "storage", "data", "any_disk", "json")
def retrain(
    name: str,
    seeds: int,
    front: bool,
    top: int | None,
    trials: tuple[int, ...],
    hand: bool,
    stdin: bool,
    workers: int | None,
    storage: str | None,
    data: Path,
    any_disk: bool,
    as_json: bool,
) -> None:
    """Train the finalists in full with several seeds: intervals, and which differences are real.

    Each training is from scratch over all epochs. What is trained is kept: the same command goes
    on where it was, and with more --seeds or finalists trains only what is new. Test images are
    read when all is trained.
    """
    if front + (top is not None) + bool(trials) > 1:
        raise NasError("one of --front, --top and --trials says who the finalists are")
    from nas_service.evaluation.evaluator import Evaluator
    from nas_service.searches import results, retraining
    from nas_service.searches.creation import check_data, open_search
    from nas_service.worker.local_pool import Crew, cores

    url = storage_url(storage, os.environ)
    store = closed_at_end(Store(url, write=True, any_disk=any_disk))
    search = open_search(store, name)
    retraining.in_full(search.spec)
    chosen = retraining.chosen(results.read(search), top, trials)
    bench = Evaluator.open(search.spec, data)
    check_data(search, bench)
    if hand:
        return _train(search, bench, chosen, seeds, stdin)
    if left := retraining.left(search, chosen, seeds):
        size = min(workers or cores(), left)
        err.print(
            f"study {name}: {left} trainings of {len(chosen)} finalists with {seeds} seeds, "
            f"{search.spec.training.epochs} epochs each, {size} workers",
            markup=False,
        )
        named = ",".join(str(c.trial) for c in chosen)
        words = ("retrain", name, "--worker", "--seeds", str(seeds), "--trials", named)
        Crew(store, words, data, size).run(_say, lambda: None)
    for path in retraining.measure_test(search, bench, chosen, seeds):
        err.print(f"note: no test accuracy without {path}", markup=False)
    found = retraining.read(search, bench, chosen, seeds)
    print_json(found.to_json()) if as_json else _print(found)


def _say(text: str) -> None:
    err.print(plain(text), markup=False)


def _train(search: Any, bench: Any, chosen: Any, seeds: int, stdin: bool) -> None:
    """One worker."""
    import threading

    import torch

    from nas_service.searches import retraining
    from nas_service.worker.local_pool import end_on_signals, end_with_stdin

    torch.set_num_threads(1)
    asked_to_end = threading.Event()
    end_on_signals(asked_to_end)
    if stdin:
        end_with_stdin(asked_to_end)

    def check_interrupt() -> None:
        if asked_to_end.is_set():
            raise Interrupted("interrupted: run the same command again to continue")

    retraining.train(
        search, bench, chosen, seeds, check_interrupt, lambda text: print(text, flush=True)
    )
    print("end: all trained", flush=True)


def _print(found: Any) -> None:
    asked = [c.metric for c in found.spec.constraints]
    within = ("within budgets",) if asked else ()
    table = Table("trial", "accuracy (95 %)", *within, "test accuracy (95 %)", "test, by seed")
    for f in found.finalists:
        kept = (f"{f.within} of {found.seeds}",) if asked else ()
        each = " ".join(_percent(r and r.test_accuracy) for r in f.repeats)
        validation = _mean(found.interval(f), f.accuracies)
        test = _mean(found.test_interval(f), f.test_accuracies)
        table.add_row(str(f.candidate.trial), validation, *kept, test, each)
    out.print(table)
    _print_comparisons(found)
    for f in found.finalists:
        if f.diverged:
            err.print(
                f"note: trial {f.candidate.trial}: {f.diverged} of {found.seeds} diverged, which "
                "no mean holds",
                markup=False,
            )


def _print_comparisons(found: Any) -> None:
    if not found.comparisons:
        return
    table = Table("trials", "difference in points", "p corrected", "", box=None)
    for c in found.comparisons:
        d, p = c.difference, "-" if c.p is None else f"{c.p:.2g}"
        shown = "-" if d is None else _interval(d, "+")
        table.add_row(f"{c.first} - {c.second}", shown, p, c.verdict)
    out.print(table)
    out.print(
        "differences of mean validation accuracy between trainings: Welch's test, corrected for "
        f"{len(found.comparisons)} comparisons (Holm), each with the interval that is tested",
        markup=False,
    )


def _mean(interval: Interval | None, values: list[float]) -> str:
    """In percent; the only value where there is one."""
    if interval is None:
        return f"{100 * values[0]:.2f} (one)" if values else "-"
    return _interval(interval)


def _interval(interval: Interval, sign: str = "") -> str:
    value, low, high = (100 * x for x in (interval.value, interval.low, interval.high))
    return f"{value:{sign}.2f} ({low:{sign}.2f} .. {high:{sign}.2f})"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"
