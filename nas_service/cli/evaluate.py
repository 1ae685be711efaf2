"""Commands that train on their own: what operations and one candidate are worth, a trial again."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.progress import track
from rich.table import Table

from nas_service.cli.terminal import (
    NOTHING_FEASIBLE,
    closed_at_end,
    err,
    heading,
    number,
    options,
    out,
    plain,
    print_candidate,
    print_json,
)
from nas_service.errors import StudyError
from nas_service.metrics import measure
from nas_service.spaces.operations import operations_of
from nas_service.statistics import Interval
from nas_service.store.database import storage_url
from nas_service.store.store import Store
from nas_service.study.spec import StudySpec, load_spec

DIFFERS = 1  # exit code
SHOWN = 10  # trainings to a line of progress
SAMPLES = click.option(
    "--samples", type=click.IntRange(2, 10_000), default=8, show_default=True,
    help="Networks compared, for each operation.",
)  # fmt: skip
EPOCHS = click.option("--epochs", type=click.IntRange(1), help="End trainings so early.")
SEED = click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="If not the study's.")


@click.command()
@click.argument("study", type=click.Path(path_type=Path, dir_okay=False))
@SAMPLES
@EPOCHS
@SEED
@options("data", "json")
def ablate(
    study: Path, samples: int, epochs: int | None, seed: int | None, data: Path, as_json: bool
) -> None:
    """Drop one operation of the space at a time: what accuracy and costs do without it."""
    import torch

    from nas_service.evaluation import ablation
    from nas_service.evaluation.evaluator import Evaluator

    torch.set_num_threads(1)
    spec = ablation.shortened(load_spec(study), epochs)
    seed = spec.seed if seed is None else seed
    bench = Evaluator.open(spec, data)
    planned = ablation.plan(bench, samples, seed)
    count = len(planned.networks)
    err.print(
        f"{spec.name}: {planned.refused} of {planned.drawn} architectures refused by the budgets; "
        f"{len(planned.pairs)} pairs, {count} networks, {spec.training.last} epochs each",
        markup=False,
    )
    trainings = list(_watched(ablation.trained(bench, planned), count))
    found = ablation.ablation(spec, planned, samples, seed, trainings)
    print_json(found.to_json()) if as_json else _print(found)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.argument("study", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="If not the file's or the study's.")
@click.option("--no-train", is_flag=True, help="Only what is known before a training.")
@options("data", "json")
def evaluate(
    file: Path, study: Path, seed: int | None, no_train: bool, data: Path, as_json: bool
) -> None:
    """Screen and train one architecture (JSON) as the study would; nothing is stored."""
    import torch

    from nas_service.evaluation.evaluator import Evaluator
    from nas_service.evaluation.screening import Budgets
    from nas_service.searches.single import alone, read_candidate

    torch.set_num_threads(1)
    spec = load_spec(study)
    architecture, own = read_candidate(file, spec)
    bench = Evaluator.open(alone(spec, architecture, str(file)), data)
    found = bench.screen(architecture, own if seed is None else seed, Budgets.of(spec))
    if deserving := not found.reason and not no_train:
        found = bench.train(found, on_epoch=_say_epoch(spec.training.last))
    outcome = found.outcome if deserving or found.reason else "screened"
    over = spec.known_violations(measure(found))
    if as_json:
        facts = {"study": spec.name, "digest": architecture.digest, "outcome": outcome}
        measured = {"metrics": measure(found), "violations": over}
        print_json(found.to_json() | facts | measured)
    else:
        head = f"{file} by {spec.name}, seed {found.seed}: {outcome} {found.reason}"
        out.print(plain(head.rstrip()), markup=False)
        print_candidate(found, operations_of(spec.space.operations))
        _print_budgets(spec, measure(found))
    if found.reason or any(v > 0 for v in over.values()):
        raise SystemExit(NOTHING_FEASIBLE)


@click.command()
@click.argument("name")
@click.argument("trial", type=int)
@options("storage", "data", "any_disk", "json")
def replay(
    name: str, trial: int, storage: str | None, data: Path, any_disk: bool, as_json: bool
) -> None:
    """Run one recorded training again, alone: exit code 1 where it is not the same.

    Accuracy and spike rates are compared, digit by digit; nothing is stored.
    """
    import torch

    from nas_service.evaluation import replay as replays
    from nas_service.evaluation.evaluator import Evaluator
    from nas_service.searches import results
    from nas_service.searches.creation import check_data, open_search

    torch.set_num_threads(1)
    store = closed_at_end(Store(storage_url(storage, os.environ), any_disk=any_disk))
    search = open_search(store, name)
    result = results.read(search)
    found = next((c for c in result.candidates if c.trial == trial), None)
    if found is None:
        raise StudyError(f"study {name!r} has no finished trial {trial}")
    bench, recorded = Evaluator.open(search.spec, data), result.evaluation(found)
    check_data(search, bench)
    again = replays.replay(bench, recorded)
    differences = replays.differences(recorded, again)
    versions = replays.changed_versions(recorded, again)
    if as_json:
        document = {"study": name, "trial": trial, "seed": recorded.seed, "same": not differences}
        print_json(document | {"differences": differences, "versions": versions})
    else:
        verdict = "differs" if differences else "the same"
        shown = number("accuracy", again.accuracy)
        out.print(
            f"trial {trial} of {name}, seed {recorded.seed}: {verdict}, accuracy {shown}",
            markup=False,
        )
        for what, (was, now) in (differences | versions).items():
            out.print(plain(f"{what}: recorded {was}, now {now}"), markup=False)
    if differences:
        raise SystemExit(DIFFERS)


def _say_epoch(last: int) -> Callable[[int, float], None]:
    return lambda epoch, loss: err.print(f"epoch {epoch} of {last}: loss {loss:.4f}", markup=False)


def _print_budgets(spec: StudySpec, metrics: dict[str, float]) -> None:
    if not spec.constraints:
        return
    over = spec.known_violations(metrics)
    table = Table("budget", "", "value", "violation", box=None)
    for c in spec.constraints:
        name = spec.constraint_name(c)
        bound = f"<= {c.at_most:g}" if c.at_most is not None else f">= {c.at_least:g}"
        violation = f"{100 * over[name]:+.1f} %" if name in over else "not measured"
        table.add_row(
            heading(c.measure), bound, number(c.metric, metrics.get(c.measure)), violation
        )
    out.print(table)


def _watched(trainings: Iterator[Any], count: int) -> Iterator[Any]:
    """The same, with a bar on a terminal, else a line now and then."""
    if err.is_terminal:
        yield from track(trainings, "training", count, console=err, transient=True)
    for done, evaluation in enumerate(trainings, 1):
        if done % SHOWN == 0 or done == count:
            err.print(f"{done} of {count} trained", markup=False)
        yield evaluation


def _print(found: Any) -> None:
    table = Table(
        "operation", "n", "with it", "without it (95 %)", "energy", "params", "latency", "effect",
        box=None, padding=(0, 1, 0, 0),
    )  # fmt: skip
    for column in table.columns:
        column.no_wrap = True
    for e in found.effects:
        accuracy = "-" if e.accuracy is None else f"{100 * e.accuracy:.2f} %"
        costs = (_percent(e.costs[name]) for name in ("energy_uJ", "parameters", "latency_ms"))
        row = (e.operation, str(e.pairs), accuracy, _points(e.difference), *costs, e.verdict)
        table.add_row(*row)
    out.print(table)
    short = "" if found.epochs == found.recipe_epochs else f" of the recipe's {found.recipe_epochs}"
    out.print(
        f"{found.study}: {found.networks} networks, {found.epochs} epochs{short}, "
        f"seed {found.seed}, samples {found.samples}, {found.seconds:.0f} s",
        markup=False,
    )
    out.print("n pairs; change of validation accuracy in points; mean relative change of costs")
    for e in found.effects:
        for count, why in (
            (found.plan.alone[e.operation], "without a variant within the budgets"),
            (e.diverged, "diverged"),
        ):
            if count:
                err.print(f"note: {e.operation}: {count} left out, {why}", markup=False)


def _points(difference: Interval | None) -> str:
    if difference is None:
        return "-"
    value, low, high = (100 * x for x in (difference.value, difference.low, difference.high))
    return f"{value:+.2f} ({low:+.2f} .. {high:+.2f})"


def _percent(change: Interval | None) -> str:
    return "-" if change is None else f"{100 * change.value:+.0f} %"
