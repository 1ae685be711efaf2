"""Commands about a study that need no store: what the operations of its space are worth."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from rich.progress import track
from rich.table import Table

from nas_service.intervals import Interval
from nas_service.study import load_spec
from nas_service.terminal import err, options, out, print_json

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

    from nas_service import ablation
    from nas_service.evaluation import Bench

    torch.set_num_threads(1)
    spec = ablation.shortened(load_spec(study), epochs)
    seed = spec.seed if seed is None else seed
    bench = Bench.open(spec, data)
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
