"""Commands that train without a store: an ablation, one architecture, one recorded trial again."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.progress import track

from nas_service.cli.candidate import print_candidate
from nas_service.cli.common import (
    FILE,
    STUDY_FILE,
    STUDY_NAME,
    candidate_of,
    open_store,
    options,
    read_checked,
)
from nas_service.cli.number_types import WholeNumber
from nas_service.cli.terminal import (
    NOTHING_FEASIBLE,
    err,
    print_err,
    print_json,
    print_out,
    print_table,
)
from nas_service.errors import SpecError
from nas_service.metrics import measure
from nas_service.statistics import Interval
from nas_service.study.spec import StudySpec
from nas_service.text import duration, exact, metric_label, metric_number, number, signed

if TYPE_CHECKING:
    from nas_service.evaluation.ablation import Ablation, Plan
    from nas_service.evaluation.evaluator import Evaluator
    from nas_service.metrics import Evaluation

DIFFERS = 1  # exit code
COSTS = ("energy_uJ", "parameters", "latency_ms")
STEP = 10  # trainings between two lines of progress
SAMPLES = click.option(
    "--samples",
    type=WholeNumber(2, 10_000),
    default=8,
    show_default=True,
    help="Pairs of networks to compare for each operation.",
)
EPOCHS = click.option("--epochs", type=WholeNumber(1), help="Stop each training after N epochs.",
                      metavar="N")  # fmt: skip
SEED = click.option(
    "--seed",
    type=WholeNumber(0, 2**31 - 1),
    help="Draw the networks with this seed instead of the study's.",
)


@click.command()
@STUDY_FILE
@SAMPLES
@EPOCHS
@SEED
@options("data", "json")
def ablate(
    study: Path, samples: int, epochs: int | None, seed: int | None, data: Path, as_json: bool
) -> None:
    """Measure what each operation is worth.

    Networks that hold an operation are trained beside variants without it: the change of accuracy
    and of costs.
    """
    import torch

    from nas_service.evaluation import ablation
    from nas_service.evaluation.evaluator import Evaluator

    torch.set_num_threads(1)
    spec = ablation.shortened(read_checked(study), epochs)
    seed = spec.seed if seed is None else seed
    evaluator = Evaluator.open(spec, data)
    plan = ablation.plan(evaluator, samples, seed)
    _print_plan(spec, plan)
    trainings = list(_with_progress(ablation.trained(evaluator, plan), len(plan.networks)))
    result = ablation.ablation(spec, plan, samples, seed, trainings)
    print_json(result.to_json()) if as_json else _print_ablation(result)


def _print_plan(spec: StudySpec, plan: "Plan") -> None:
    print_err(
        f"{spec.name}: the budgets refused {plan.refused} of {plan.drawn} architectures; "
        f"{len(plan.pairs)} pairs, {len(plan.networks)} networks, {spec.training.last} epochs each"
    )


@click.command()
@click.argument("file", type=FILE)
@STUDY_FILE
@click.option(
    "--seed",
    type=WholeNumber(0, 2**31 - 1),
    help="Train with this seed instead of that of the file or the study.",
)
@click.option(
    "--no-train", is_flag=True, help="Train nothing: print what is known before a training."
)
@click.option(
    "-o",
    "--output",
    metavar="NETWORK",
    help="Write the trained network to this file .safetensors, which nas export reads.",
)
@click.option("--force", is_flag=True, help="Replace the file of -o if it exists.")
@options("data", "json")
def evaluate(
    file: Path,
    study: Path,
    seed: int | None,
    no_train: bool,
    output: str | None,
    force: bool,
    data: Path,
    as_json: bool,
) -> None:
    """Screen and train one architecture.

    FILE is an architecture (.json). It is evaluated as STUDY would evaluate it, and nothing is
    stored; -o keeps the network in a file.
    """
    import torch

    from nas_service.evaluation.evaluator import Evaluator
    from nas_service.evaluation.screening import Budgets
    from nas_service.searches.single import read_candidate, single_candidate

    torch.set_num_threads(1)
    spec = read_checked(study)
    base = None if output is None else _place_of_network(output, file, spec, no_train, force)
    architecture, own_seed = read_candidate(file, spec)
    evaluator = Evaluator.open(single_candidate(spec, architecture, str(file)), data)
    seed = own_seed if seed is None else seed
    evaluation = evaluator.screen(architecture, seed, repairs=Budgets.of(spec, evaluator.density))
    if not (evaluation.rejected or no_train):
        evaluation = _train(evaluator, evaluation, base, force)
    elif base is not None:
        _print_unwritten(base, evaluation)
    violations = spec.known_violations(measure(evaluation))
    if as_json:
        facts = {"study": spec.name, "digest": architecture.digest}
        measured = {"metrics": measure(evaluation), "violations": violations}
        measured |= {"input_density": evaluator.density.to_json()}
        print_json(evaluation.to_json() | facts | measured)
    else:
        _print_evaluation(f"{file} by {spec.name}", evaluation, spec)
        print_out(evaluator.density.text)
    if evaluation.outcome in ("rejected", "diverged") or any(v > 0 for v in violations.values()):
        raise SystemExit(NOTHING_FEASIBLE)


def _place_of_network(
    output: str, file: Path, spec: StudySpec, no_train: bool, force: bool
) -> Path:
    """Where the network is written, without suffix; refused before the training."""
    from nas_service.export.formats import FORMATS, demand_new, place

    if no_train or not spec.training.last:
        why = "--no-train" if no_train else f"training.epochs = 0 in study {spec.name!r}"
        raise SpecError(f"-o {output}: nothing is trained ({why})")
    base = place(output, file.stem, FORMATS["safetensors"])
    if not force:
        demand_new(base, FORMATS["safetensors"])
    return base


def _train(
    evaluator: "Evaluator", screened: "Evaluation", base: Path | None, force: bool
) -> "Evaluation":
    """Trains a candidate, and writes its network where there is a place for it."""
    from nas_service.export.formats import FORMATS, write_files
    from nas_service.export.from_training import train_and_keep

    on_epoch = _print_epoch(evaluator.spec.training.last)
    if base is None:
        return evaluator.train(screened, on_epoch=on_epoch)
    facts = {"name": evaluator.spec.name}
    evaluation, network = train_and_keep(evaluator, screened, facts, on_epoch)
    if network is None:
        _print_unwritten(base, evaluation)
        return evaluation
    contents = FORMATS["safetensors"].load().contents(network, base.name)
    for path in write_files(contents, base, replace=force):
        print_err(f"wrote {path}")
    return evaluation


def _print_unwritten(base: Path, evaluation: "Evaluation") -> None:
    text = f"{base}.safetensors is not written: {evaluation.outcome} {evaluation.reason}"
    print_err(text)


def _print_evaluation(name: str, evaluation: "Evaluation", spec: StudySpec) -> None:
    head = f"{name}, seed {evaluation.seed}: {evaluation.outcome} {evaluation.reason}"
    print_out(head.rstrip())
    print_candidate(evaluation, spec)


@click.command()
@STUDY_NAME
@click.argument("trial", type=WholeNumber(0))
@options("storage", "data", "any_disk", "json")
def replay(
    name: str, trial: int, storage: str | None, data: Path, any_disk: bool, as_json: bool
) -> None:
    """Repeat one recorded training.

    Accuracy and spike rates are compared digit by digit, and nothing is stored. The exit code is 1
    if they differ.
    """
    import torch

    from nas_service.evaluation import replay as replays
    from nas_service.searches import results
    from nas_service.searches.session import open_search
    from nas_service.searches.study_data import open_evaluator

    torch.set_num_threads(1)
    search = open_search(open_store(storage, any_disk=any_disk), name)
    result = results.read(search)
    candidate = candidate_of(result, trial)
    evaluator, recorded = open_evaluator(search, data), result.evaluation(candidate)
    again = replays.replay(evaluator, recorded)
    differences = replays.differences(recorded, again)
    versions = replays.changed_versions(recorded, again)
    if as_json:
        document = {"study": name, "trial": trial, "seed": recorded.seed, "same": not differences}
        print_json(document | {"differences": differences, "versions": versions})
    else:
        verdict = "differs" if differences else "the same"
        accuracy = "-" if again.accuracy is None else f"{exact(100 * again.accuracy)} %"
        head = f"trial {trial} of {name}, seed {recorded.seed}: {verdict}, accuracy {accuracy}"
        print_out(head)
        for what, (was, now) in (differences | versions).items():
            print_out(f"{what}: recorded {was}, now {now}")
    if differences:
        raise SystemExit(DIFFERS)


def _print_epoch(last: int) -> Callable[[int, float], None]:
    return lambda epoch, loss: print_err(f"epoch {epoch} of {last}: loss {number(loss)}")


def _with_progress(trainings: Iterator[Any], count: int) -> Iterator[Any]:
    """The same trainings, with a bar on a terminal, elsewhere with a line every STEP of them."""
    if err.is_terminal:
        yield from track(trainings, "training", count, console=err, transient=True)
    for done, evaluation in enumerate(trainings, 1):
        if done % STEP == 0 or done == count:
            print_err(f"{done} of {count} trained")
        yield evaluation


def _print_ablation(ablation: "Ablation") -> None:
    effects = [
        (e.operation, e.pairs, metric_number("accuracy", e.accuracy), _points(e.difference),
         e.verdict)
        for e in ablation.effects
    ]  # fmt: skip
    change = "accuracy without it\nchange in points (95 % interval)"
    print_table(["operation", "pairs", "accuracy with it\n%", change, "effect"], effects)
    print_out()
    costs = ([e.operation, *(_percent(e.costs[m]) for m in COSTS)] for e in ablation.effects)
    print_out("mean change of costs without it:")
    print_table(["operation", *(f"{metric_label(m)}\n%" for m in COSTS)], costs)
    print_out()
    _print_conditions(ablation)


def _print_conditions(ablation: "Ablation") -> None:
    """What the table was measured under, and which pairs it leaves out."""
    full = ablation.recipe_epochs
    short = "" if ablation.epochs == full else f" of the recipe's {full}"
    print_out(
        f"{ablation.study}: {ablation.networks} networks, {ablation.epochs} epochs{short}, "
        f"seed {ablation.seed}, samples {ablation.samples}, {duration(ablation.seconds)}"
    )
    for e in ablation.effects:
        for count, why in (
            (ablation.plan.alone[e.operation], "without a variant within the budgets"),
            (e.diverged, "diverged"),
        ):
            if count:
                print_err(f"note: {e.operation}: {count} left out, {why}")


def _points(difference: Interval | None) -> str:
    if difference is None:
        return "-"
    value, low, high = (100 * x for x in (difference.value, difference.low, difference.high))
    return f"{signed(value)} ({signed(low)} .. {signed(high)})"


def _percent(change: Interval | None) -> str:
    return signed(None if change is None else 100 * change.value, 2)
