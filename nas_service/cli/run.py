"""Commands that create a study, run it here, continue it, and prepare a store for it."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_service.cli.budgets import impossible_budgets
from nas_service.cli.common import (
    NAME,
    SEED,
    STUDY_FILE,
    STUDY_NAME,
    open_store,
    options,
    read_study,
)
from nas_service.cli.front import print_front
from nas_service.cli.number_types import WholeNumber
from nas_service.cli.progress import started
from nas_service.cli.terminal import NOTHING_FEASIBLE, print_err, print_out

if TYPE_CHECKING:
    from nas_service.evaluation.evaluator import Evaluator
    from nas_service.searches.session import Search
    from nas_service.store.store import Store


@click.command()
@STUDY_FILE
@NAME
@SEED
@options("workers", "trainings", "storage", "data", "any_disk")
def run(
    study: Path,
    name: str | None,
    seed: int | None,
    workers: int | None,
    trainings: int | None,
    storage: str | None,
    data: Path,
    any_disk: bool,
) -> None:
    """Create or resume a study and run it here.

    Local workers train until the budget of trainings is spent. Then the front is printed and an
    HTML report is written.
    """
    search, evaluator = _prepare(study, name, seed, trainings, storage, data, any_disk)
    _run(search, evaluator, workers)


def _prepare(
    study: Path,
    name: str | None,
    seed: int | None,
    trainings: int | None,
    storage: str | None,
    data: Path,
    any_disk: bool,
) -> "tuple[Search, Evaluator]":
    spec = read_study(study, name, seed, trainings)
    from nas_service import api  # torch is loaded only once the file is known to be valid

    def store() -> "Store":
        return open_store(storage, create=True, any_disk=any_disk)

    search, evaluator = api.prepare(spec, store, data, str(study))
    search.store.studies.set_budget(search.id, spec.search.trainings)
    return search, evaluator


@click.command()
@STUDY_NAME
@click.option(
    "--until",
    type=WholeNumber(1, 10**6),
    metavar="EPOCH",
    help="Train candidates up to this epoch of the schedule from now on.",
)
@click.option(
    "--top",
    type=WholeNumber(1, 10**6),
    metavar="K",
    help="Continue the trainings of the K best candidates instead of the front's.",
)
@click.option(
    "--forgive",
    is_flag=True,
    help="Count no trial that has failed so far against search.max_failures.",
)
@options("workers", "trainings", "storage", "data", "any_disk")
def resume(
    name: str,
    until: int | None,
    top: int | None,
    forgive: bool,
    workers: int | None,
    trainings: int | None,
    storage: str | None,
    data: Path,
    any_disk: bool,
) -> None:
    """Continue a study of the store.

    --trainings raises the number of trainings. --until makes trainings longer: those of the front,
    or of the --top best, continue from their last epoch.
    """
    from nas_service.searches.session import extend_epochs, open_search
    from nas_service.searches.study_data import open_evaluator
    from nas_service.store import failures

    search = open_search(open_store(storage, write=True, any_disk=any_disk), name)
    evaluator = open_evaluator(search, data)
    if until is not None:
        search = extend_epochs(search, until)
        evaluator = replace(evaluator, spec=search.spec)
    if trainings is not None:
        search.store.studies.set_budget(search.id, trainings)
    if forgive:
        forgiven = failures.forgive(search.store, search.id)
        print_err(f"study {name}: {forgiven} failed trials no longer count")
    _run(search, evaluator, workers, top)


def _run(
    search: "Search", evaluator: "Evaluator", workers: int | None, top: int | None = None
) -> None:
    from nas_service import api, report
    from nas_service.searches.stopping import how_to_continue

    with started(search) as bar:
        result, why = api.run(search, evaluator, workers, bar.line, bar.tick, top)
    print_err(why)
    path = report.write(result, Path("reports") / f"{search.name}.html")
    print_front(result)
    print_out(f"report: {path}")
    if remedy := how_to_continue(search):
        print_err(remedy)
    if not result.front:
        raise SystemExit(NOTHING_FEASIBLE)


@click.command()
@STUDY_FILE
@NAME
@SEED
@options("trainings", "storage", "data", "any_disk")
def create(
    study: Path,
    name: str | None,
    seed: int | None,
    trainings: int | None,
    storage: str | None,
    data: Path,
    any_disk: bool,
) -> None:
    """Put a study into the store without running it.

    Workers may then be started on any machine that reaches the store.
    """
    search, _ = _prepare(study, name, seed, trainings, storage, data, any_disk)
    from nas_service import api
    from nas_service.searches import results

    api.resume_training(results.read(search))
    for text in impossible_budgets(search.spec):
        print_err(f"note: {text}")
    print_out(f"study {search.name} is in {search.store.shown}")


@click.command()
@options("storage", "any_disk")
def migrate(storage: str | None, any_disk: bool) -> None:
    """Create or upgrade the tables of a store.

    Stop all workers first. The contents of the store are kept.
    """
    from nas_service.store import migration
    from nas_service.store.database import database_url, redacted, storage_url

    url = database_url(storage_url(storage, os.environ), create=True, any_disk=any_disk)
    print_out(f"{redacted(url)}: {migration.migrate(url)}")
