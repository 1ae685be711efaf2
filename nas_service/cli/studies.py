"""The command about the studies of a store: listed, deleted, renamed, pruned."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from nas_service.cli.common import FILE, open_store, options
from nas_service.cli.terminal import print_err, print_error, print_json, print_out, print_table
from nas_service.errors import NasError, StudyError
from nas_service.searches import results

if TYPE_CHECKING:
    from nas_service.store.store import Store


@click.command()
@click.option(
    "--delete", metavar="NAME", help="Delete this study with its results and its weights."
)
@click.option("--rename", nargs=2, metavar="NAME NEW", help="Give study NAME the name NEW.")
@click.option(
    "--prune",
    metavar="NAME",
    help="Delete this study's weights, checkpoints and traces of candidates that are neither on "
    "the front nor under way.",
)
@click.option(
    "--plain-copy",
    "copy",
    type=FILE,
    help="Write the studies into a new SQLite file, in which a plain optuna-dashboard shows "
    "infeasible trials as infeasible.",
)
@click.option("--yes", is_flag=True, help="Delete at once, without asking whether to.")
@click.option(
    "--force", is_flag=True, help="Change the study also while workers have trials of it."
)
@options("storage", "any_disk", "json")
def studies(
    delete: str | None,
    rename: tuple[str, str] | None,
    prune: str | None,
    copy: Path | None,
    yes: bool,
    force: bool,
    storage: str | None,
    any_disk: bool,
    as_json: bool,
) -> None:
    """List the studies of a store.

    Or delete, rename or prune one: what is lost is printed before, and only files on this machine
    are deleted, in the folder NAS_ARTIFACTS. Or copy all of them for a plain optuna-dashboard,
    which takes infeasible trials of the store itself for feasible ones.
    """
    given = {"--delete": delete, "--rename": rename, "--prune": prune}
    chosen = [option for option, value in given.items() if value is not None]
    if copy is not None and (chosen or yes or force):
        raise NasError("--plain-copy: only by itself")
    if len(chosen) > 1:
        raise NasError(f"{chosen[0]} and {chosen[1]}: one at a time")
    if not chosen and (yes or force):
        raise NasError(f"{'--yes' if yes else '--force'}: only with {', '.join(given)}")
    store = open_store(storage, any_disk=any_disk, write=bool(chosen))
    if copy is not None:
        return _copy(store, copy, as_json)
    if delete is not None:
        document = _delete(store, delete, yes, force, as_json)
    elif rename is not None:
        document = _rename(store, *rename, force, as_json)
    elif prune is not None:
        document = _prune(store, prune, yes, force, as_json)
    else:
        return _list(store, as_json)
    if as_json:
        print_json(document)


def _copy(store: "Store", path: Path, as_json: bool) -> None:
    from nas_service.searches.plain_copy import write_plain_copy

    copied = write_plain_copy(store, path)
    if as_json:
        return print_json({"plain_copy": str(path), "studies": [asdict(c) for c in copied]})
    headings = ["study", "trials", "results", "pruned"]
    print_table(headings, ([c.name, c.trials, c.results, c.pruned] for c in copied))
    print_out(f"wrote {path}; pruned are trials without a result that seem best by their values")


def _list(store: "Store", as_json: bool) -> None:
    rows = list_studies(store)
    if as_json:
        return print_json(rows)
    if not rows:
        return print_err(f"{store.shown}: no study yet: `nas run STUDY.toml` adds one")
    keys = ("trained", "rejected", "cached", "failed")
    cells = ([row["study"], row["budget"], *(row["counts"][k] for k in keys)] for row in rows)
    headings = ("trained", "rejected", "measured before", "failed")
    print_table(["study", "trainings allowed", *headings], cells)


def list_studies(store: "Store") -> list[dict[str, Any]]:
    """The document of `nas studies --json`."""
    rows: list[dict[str, Any]] = []
    for name in store.studies.names():
        try:
            row = store.studies.get(name)
        except StudyError:
            continue  # another program's study in the same database
        counts = results.count(store.leases(row.id).outcomes())
        rows.append({"study": name, "budget": row.trainings, "counts": counts})
    return rows


def _delete(store: "Store", name: str, yes: bool, force: bool, as_json: bool) -> dict[str, Any]:
    from nas_service.searches import upkeep
    from nas_service.searches.artifacts import space_of
    from nas_service.searches.weights import elsewhere

    row, folder = store.studies.get(name), upkeep.folder_of(store, name)
    if not force:
        upkeep.demand_idle(store, name)
    space, trials = space_of(upkeep.files_of(store, name)), len(store.leases(row.id).outcomes())
    lost = f"study {name}: {trials} trials with their results, and {space} in {folder}"
    _confirm(lost, yes, as_json)
    others = elsewhere(store, row.id, name)
    left = upkeep.delete(store, name, force=force)
    _print(f"study {name} is deleted", as_json)
    if left:
        note = f"files that are not ours are left in {folder}, such as {left[0]!r:.90}"
        print_err(f"note: {note}")
    _note_elsewhere(others, "delete it there")
    return {"study": name, "deleted": {"trials": trials, **vars(space)}, "left": left}


def _rename(store: "Store", name: str, new: str, force: bool, as_json: bool) -> dict[str, Any]:
    from nas_service.searches import upkeep
    from nas_service.searches.weights import elsewhere

    others = elsewhere(store, store.studies.get(name).id, name)
    learners = upkeep.rename(store, name, new, force=force)
    _print(f'study {name} is now {new}: its file needs name = "{new}", or --name', as_json)
    for learner in learners:
        text = f"study {learner} learns from it: so does its file, in search.warm_start_from"
        print_err(f"note: {text}")
    _note_elsewhere(others, f"rename it to {new} there")
    return {"study": new, "renamed_from": name, "learners": learners}


def _prune(store: "Store", name: str, yes: bool, force: bool, as_json: bool) -> dict[str, Any]:
    from nas_service.searches import upkeep
    from nas_service.searches.session import open_search
    from nas_service.searches.weights import elsewhere

    search = open_search(store, name, to_read=True)
    _note_elsewhere(elsewhere(store, search.id, name), "prune it there")
    plan = upkeep.plan_pruning(search, force=force)
    kept = f"kept: {plan.front} on the front, {plan.under_way} under way"
    facts = {"study": name, "pruned": vars(plan.space)}
    folder = upkeep.folder_of(store, name)
    if not plan.files:
        _print(f"study {name}: nothing to delete in {folder} ({kept})", as_json)
        return facts
    _confirm(f"study {name}: {plan.space} in {folder} ({kept})", yes, as_json)
    plan.delete()
    _print(f"study {name}: {plan.space} freed", as_json)
    return facts


def _confirm(lost: str, yes: bool, as_json: bool) -> None:
    """Prints what is lost, and asks unless --yes was given.

    Raises:
        NasError: The answer is no, or no terminal can be asked.
    """
    print_error(f"to delete: {lost}")
    if yes:
        return
    if as_json or not sys.stdin.isatty():
        raise NasError("nothing is deleted: --yes deletes it without a question")
    try:
        agreed = click.confirm("Delete it?", err=True)
    except click.Abort:
        agreed = False
    if not agreed:
        raise NasError("nothing is deleted")


def _print(text: str, as_json: bool) -> None:
    if not as_json:
        print_out(text)


def _note_elsewhere(others: str, remedy: str) -> None:
    if others:
        text = f"other machines keep the study's folder, {others}: {remedy}"
        print_err(f"note: {text}")
