"""The command line `nas`: reads arguments, calls the service, prints; nothing else."""

import logging
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from optuna.exceptions import OptunaError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from sqlalchemy.exc import SQLAlchemyError

from hw_models import HardwareError
from nas_service.cli.chip import calibrate, census, cost
from nas_service.cli.data import data as data_command
from nas_service.cli.evaluate import ablate, evaluate, replay
from nas_service.cli.launch import launch
from nas_service.cli.retrain import retrain
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
from nas_service.cli.worker import worker
from nas_service.errors import NasError, StudyError
from nas_service.spaces.operations import operations_of
from nas_service.store import schema
from nas_service.store.database import database_url, first_line, redacted, storage_url
from nas_service.store.store import Store
from nas_service.study.spec import StudySpec, load_spec, study_name


class Errors(click.Group):
    """Turns our errors into one line and an exit code; any other one keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except NasError as error:
            raise _exit(str(error), error.exit_code) from None
        except HardwareError as error:
            raise _exit(str(error), 2) from None
        except (SQLAlchemyError, OptunaError) as error:
            raise _exit(f"the store failed: {first_line(error)}", 4) from None
        except KeyboardInterrupt:
            raise _exit("interrupted", 130) from None


def _exit(text: str, code: int) -> SystemExit:
    err.print(f"nas: {plain(text)}", markup=False)
    return SystemExit(code)


@click.group(cls=Errors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="nas-service")
def main() -> None:
    """Architecture search for quantised spiking networks within a chip's budgets."""
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(name)s: %(message)s")


def _store(
    storage: str | None, *, create: bool = False, write: bool = False, any_disk: bool = False
) -> Store:
    url = storage_url(storage, os.environ)
    return closed_at_end(Store(url, create=create, write=write, any_disk=any_disk))


def _spec(path: Path, name: str | None, seed: int | None, trials: int | None) -> StudySpec:
    spec = load_spec(path)
    search = spec.search.model_copy(update={} if trials is None else {"trainings": trials})
    changes: dict[str, Any] = {"search": search}
    changes |= {} if name is None else {"name": study_name(name)}
    changes |= {} if seed is None else {"seed": seed}
    return spec.model_copy(update=changes)


STUDY_FILE = click.argument("study", type=click.Path(path_type=Path, dir_okay=False))
# What `nas status` tells in sentences, as a document for machines in figures.
IN_WORDS = (
    *("front_epochs", "full", "epochs", "rungs"),
    *("counts", "shares", "rejected_by", "passed_over"),
)
NAME = click.option("--name", help="Name of the study, if not the file's.")
SEED = click.option("--seed", type=click.IntRange(0, 2**31 - 1), help="Seed, if not the file's.")


@main.command()
@STUDY_FILE
@NAME
@SEED
@options("workers", "trials", "storage", "data", "any_disk")
def run(
    study: Path,
    name: str | None,
    seed: int | None,
    workers: int | None,
    trials: int | None,
    storage: str | None,
    data: Path,
    any_disk: bool,
) -> None:
    """Create or resume a study and run it on this machine until its budget is done."""
    from nas_service import api

    spec = _spec(study, name, seed, trials)
    search, bench = api.prepare(spec, lambda: _store(storage, create=True, any_disk=any_disk), data)
    search.store.set_budget(search.id, spec.search.trainings)
    _run(search, bench, workers)


@main.command()
@click.argument("name")
@click.option("--until", type=click.IntRange(1, 10**6), help="Train to this epoch from now on.")
@click.option("--top", type=click.IntRange(1, 10**6), help="Train so many on, not the front.")
@options("workers", "trials", "storage", "data", "any_disk")
def resume(
    name: str,
    until: int | None,
    top: int | None,
    workers: int | None,
    trials: int | None,
    storage: str | None,
    data: Path,
    any_disk: bool,
) -> None:
    """Go on with a study of the store: more trainings with --trials, longer ones with --until.

    Where trainings are to be longer, those of the front go on, or those of the --top best.
    """
    from nas_service.evaluation.evaluator import Evaluator
    from nas_service.searches.creation import check_data, grow, open_search

    search = open_search(_store(storage, write=True, any_disk=any_disk), name)
    bench = Evaluator.open(search.spec, data)
    check_data(search, bench)
    if until is not None:
        search = grow(search, until)
        bench = replace(bench, spec=search.spec)
    if trials is not None:
        search.store.set_budget(search.id, trials)
    _run(search, bench, workers, top)


def _run(search: Any, bench: Any, workers: int | None, top: int | None = None) -> None:
    from nas_service import api, report

    budget = search.store.study(search.name).trainings
    err.print(
        f"study {search.name} in {search.store.shown}: {budget} trainings, "
        f"space of {search.spec.space.build().size:.3g} genotypes",
        markup=False,
    )
    with Watch(search, budget) as watch:
        result, why = api.run(search, bench, workers, watch.heard, watch.tick, top)
    err.print(plain(why), markup=False)
    path = report.write(result, Path("reports") / f"{search.name}.html")
    _print_front(result)
    out.print(f"report: {path}", markup=False)
    if not result.front:
        raise SystemExit(NOTHING_FEASIBLE)


class Watch:
    """Progress while workers run: a bar on a terminal, else their lines as they come."""

    def __init__(self, search: Any, budget: int) -> None:
        self.search, self.budget = search, budget
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self.bar = Progress(*columns, TextColumn("{task.description}"), console=err)
        self.task = self.bar.add_task("starting workers", total=budget)
        self.live = err.is_terminal
        self.first: tuple[float, int] | None = None
        self.changed = True

    def __enter__(self) -> "Watch":
        if self.live:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.tick()
        if self.live:
            self.bar.stop()

    def heard(self, text: str) -> None:
        self.changed = True
        if not self.live:
            err.print(plain(text), markup=False)

    def tick(self) -> None:
        if not (self.live and self.changed):
            return
        from nas_service.searches import results

        self.changed = False
        result = results.read(self.search)
        done = result.counts["trained"]
        self.first = self.first or (time.monotonic(), done)
        self.bar.update(self.task, completed=done, description=self._words(result, done))

    def _words(self, result: Any, done: int) -> str:
        feasible = sum(c.measured and c.feasible for c in result.candidates)
        words = [f"{feasible} feasible, {result.counts['rejected']} rejected"]
        if result.front:
            metric = result.spec.objectives[0].metric
            words += [f"best {metric} {result.front[0].metrics[metric]:.4g}"]
            words += [f"hypervolume {result.hypervolume:.3f}"]
        assert self.first is not None  # noqa: S101  set by tick
        if fresh := done - self.first[1]:
            left = (time.monotonic() - self.first[0]) / fresh * (self.budget - done)
            words += [f"about {left:.0f} s left"]
        return " · ".join(words)


@main.command()
@STUDY_FILE
@NAME
@SEED
@options("trials", "storage", "data", "any_disk")
def create(
    study: Path,
    name: str | None,
    seed: int | None,
    trials: int | None,
    storage: str | None,
    data: Path,
    any_disk: bool,
) -> None:
    """Put a study into the store; workers may then be started anywhere."""
    from nas_service import api
    from nas_service.searches import results

    spec = _spec(study, name, seed, trials)
    search, _ = api.prepare(spec, lambda: _store(storage, create=True, any_disk=any_disk), data)
    search.store.set_budget(search.id, spec.search.trainings)
    api.resume_training(results.read(search))
    out.print(f"study {search.name} is in {search.store.shown}", markup=False)


@main.command()
@options("storage", "any_disk")
def migrate(storage: str | None, any_disk: bool) -> None:
    """Make the store's tables, or bring those of an earlier release to this one.

    End the workers first. What is in the store stays.
    """
    url = database_url(storage_url(storage, os.environ), create=True, any_disk=any_disk)
    out.print(f"{redacted(url)}: {schema.migrate(url)}", markup=False)


def _result(storage: str | None, name: str, any_disk: bool = False) -> Any:
    from nas_service.searches import results
    from nas_service.searches.creation import open_search

    return results.read(open_search(_store(storage, any_disk=any_disk), name))


@main.command()
@click.argument("name")
@options("storage", "any_disk", "json")
def front(name: str, storage: str | None, any_disk: bool, as_json: bool) -> None:
    """The feasible front of a study, or its nearest misses."""
    result = _result(storage, name, any_disk)
    print_json(result.to_json()) if as_json else _print_front(result)
    if not result.front:
        raise SystemExit(NOTHING_FEASIBLE)


def _print_front(result: Any) -> None:
    rows = result.front or result.nearest_misses
    for text in result.words:
        out.print(f"{result.spec.name}: {plain(text)}", markup=False)
    if not result.front:
        able = sum(c.feasible for c in result.candidates)
        out.print(f"{able} feasible of {len(result.candidates)}; nearest misses:", markup=False)
    asked, whole = [o.metric for o in result.spec.objectives], result.spec.training.epochs
    asked += [c.metric for c in result.spec.constraints if c.metric not in asked]
    if any(c.metrics.get("epochs", whole) != whole for c in rows) and "epochs" not in asked:
        asked.append("epochs")
    names = ("trial", *(heading(m) for m in asked), "test accuracy", "worst budget")
    columns = [Column(name, no_wrap=" " not in name) for name in names]  # one word is not shortened
    table = Table(*columns, box=None, pad_edge=False, collapse_padding=True)
    for c in rows:
        shown = [number(m, c.metrics.get(m)) for m in asked]
        worst = max(c.violations.items(), key=lambda item: item[1], default=None)
        budget = f"{worst[0]} {100 * worst[1]:+.1f} %" if worst else ""
        table.add_row(str(c.trial), *shown, number("accuracy", c.test_accuracy), budget)
    out.print(table)
    for c in rows:
        if c.reason:
            out.print(f"trial {c.trial}: {plain(c.reason)}", markup=False)
    if result.front:
        if result.note:
            out.print(f"front: {result.note}", markup=False)
        out.print(
            f"hypervolume {result.hypervolume:.4f} (share of the box from reference to ideal); "
            "accuracy on validation images, hardware figures estimated by "
            f"{result.spec.hardware.profile}",
            markup=False,
        )


@main.command()
@click.argument("name")
@options("storage", "any_disk", "json")
def status(name: str, storage: str | None, any_disk: bool, as_json: bool) -> None:
    """What happened so far: counts, why it ended, workers, hypervolume, failures."""
    from nas_service.searches import results

    result = _result(storage, name, any_disk)
    store, study_id = result.search.store, result.search.id
    document = {
        "study": name,
        "budget": store.study(name).trainings,
        "counts": result.counts,
        "shares": result.shares,
        "rejected_by": result.rejected_by,
        "passed_over": result.passed_over,
        "ended": results.end(result.search),
        "workers": len(store.workers(study_id)),
        "feasible": sum(c.measured and c.feasible for c in result.candidates),
        "hypervolume": result.hypervolume,
        "front_epochs": result.front_epochs,
        "full": result.full,
        "epochs": result.epochs,
        "rungs": {str(epochs): count for epochs, count in result.rungs.items()},
        "proxy_correlation": {k: v.to_json() for k, v in result.proxy_correlation.items()},
        "failures": {str(k): v for k, v in store.failures(study_id).items()},
    }
    if as_json:
        return print_json(document)
    correlations = document.pop("proxy_correlation")
    for key in IN_WORDS:
        del document[key]
    for text in result.words:
        out.print(plain(text), markup=False)
    document |= _said(result)
    for key, value in document.items():
        out.print(f"{key:12s} {'no' if value is None else plain(value)}", markup=False)
    for name in correlations:
        said = f"rank correlation with accuracy {result.proxy_correlation[name]}"
        out.print(f"proxy {name}: {said}", markup=False)


def _said(result: Any) -> dict[str, str]:
    """Rungs, epochs and how far the front is trained, in words."""
    spent, whole = result.epochs["trained"], result.epochs["in_full"]
    found = {"front": result.note} if result.note else {}
    if whole:
        share = 100 * spent / whole
        found["epochs"] = f"{spent} trained, {whole} with all in full ({share:.0f} %)"
    if result.rungs:
        reached = (f"after {epochs}: {count}" for epochs, count in result.rungs.items())
        found["rungs"] = ", ".join(reached)
    return found


@main.command()
@click.argument("name")
@click.argument("trial", type=int)
@options("storage", "any_disk", "json")
def show(name: str, trial: int, storage: str | None, any_disk: bool, as_json: bool) -> None:
    """One trial whole: architecture, measures, hardware breakdown."""
    result = _result(storage, name, any_disk)
    found = next((c for c in result.candidates if c.trial == trial), None)
    if found is None:
        raise StudyError(f"study {name!r} has no finished trial {trial}")
    evaluation = result.evaluation(found)
    document = evaluation.to_json() | {
        "trial": trial,
        "digest": found.digest,
        "outcome": found.outcome,
        "metrics": found.metrics,
        "violations": found.violations,
        "test_accuracy": found.test_accuracy,
    }
    if as_json:
        return print_json(document)
    out.print(f"trial {trial} of {name}: {found.outcome} {plain(evaluation.reason)}", markup=False)
    print_candidate(evaluation, operations_of(result.spec.space.operations))


@main.command()
@click.argument("name")
@click.option("-o", "output", type=click.Path(path_type=Path, dir_okay=False))
@options("storage", "any_disk")
def report(name: str, output: Path | None, storage: str | None, any_disk: bool) -> None:
    """One self-contained HTML file about a study."""
    from nas_service import report as reports

    path = output or Path("reports") / f"{study_name(name)}.html"
    out.print(f"report: {reports.write(_result(storage, name, any_disk), path)}", markup=False)


@main.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Password of the pages; without one, no --host but the loopback.",
)
@options("storage", "any_disk")
def dashboard(
    port: int, host: str, token_file: Path | None, storage: str | None, any_disk: bool
) -> None:
    """Browse the store with optuna-dashboard, for reading only, on this machine only."""
    from nas_service.dashboard.auth import read_token
    from nas_service.dashboard.server import serve

    token = None if token_file is None else read_token(token_file)

    def ready(url: str) -> None:
        print(f"dashboard: {url} (Ctrl-C ends it)", flush=True)

    store = _store(storage, any_disk=any_disk)
    serve(store.optuna, host=host, port=port, token=token, on_ready=ready)


@main.command(name="check")
@click.argument("study", type=click.Path(path_type=Path, dir_okay=False))
@options("json")
def check_study(study: Path, as_json: bool) -> None:
    """Validate a study file; nothing is touched."""
    from nas_service.searches.creation import check

    spec = load_spec(study)
    notes = check(spec)
    if as_json:
        document = {"study": spec.name, "valid": True, "notes": list(notes)}
        return print_json(document | {"spec": spec.model_dump(mode="json")})
    for note in notes:
        err.print(f"note: {plain(note)}", markup=False)
    size = spec.space.build().size
    out.print(
        f"{study}: valid; {size:.3g} genotypes, {spec.search.trainings} trainings", markup=False
    )


@main.command()
@options("storage", "any_disk", "json")
def studies(storage: str | None, any_disk: bool, as_json: bool) -> None:
    """The studies of a store."""
    from nas_service.searches import results

    store = _store(storage, any_disk=any_disk)
    rows: list[dict[str, Any]] = []
    for name in store.names():
        try:
            row = store.study(name)
        except StudyError:
            continue  # another program's study in the same database
        counts = results.count(store.outcomes(row.id))
        rows.append({"study": name, "budget": row.trainings, "counts": counts})
    if as_json:
        return print_json(rows)
    table = Table("study", "budget", "trained", "rejected", "cached", "failed")
    for entry in rows:
        shown = [str(entry["counts"][k]) for k in ("trained", "rejected", "cached", "failed")]
        table.add_row(plain(entry["study"]), str(entry["budget"]), *shown)
    out.print(table)


for command in (
    cost,
    census,
    calibrate,
    ablate,
    evaluate,
    replay,
    worker,
    retrain,
    data_command,
    launch,
):
    main.add_command(command)
