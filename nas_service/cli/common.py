"""What the commands share: their options, and how a store, a study file and a result are opened."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hw_models.assumption import Assumption
from nas_service.cli.completion import complete_study
from nas_service.cli.number_types import WholeNumber
from nas_service.errors import SpecError, StudyError
from nas_service.worker.telemetry import LOG_FORMATS, LOOPBACK

if TYPE_CHECKING:
    from nas_service.metrics import Evaluation
    from nas_service.searches.candidate import Candidate
    from nas_service.searches.results import Result
    from nas_service.spaces.input_density import InputDensity
    from nas_service.store.store import Store
    from nas_service.study.spec import StudySpec


class Page(click.Path):
    """A file for an HTML page; its name ends in .html, so that no other file is replaced by it."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path; click's usage error for another suffix."""
        path = Path(os.fsdecode(super().convert(value, param, ctx)))
        if path.suffix.lower() not in (".html", ".htm"):
            self.fail(f"{str(path)!r:.90}: a name that ends in .html is needed", param, ctx)
        return path


FILE = click.Path(path_type=Path, dir_okay=False)
STUDY_FILE = click.argument("study", metavar="STUDY.toml", type=FILE)
STUDY_NAME = click.argument("name", metavar="STUDY", shell_complete=complete_study)
NAME = click.option("--name", help="Give the study this name instead of the file's.")
SEED = click.option(
    "--seed", type=WholeNumber(0, 2**31 - 1), help="Draw with this seed instead of the file's."
)
JSON = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document, for other programs."
)

Decorator = Callable[[Callable[..., None]], Callable[..., None]]


def renamed(old: str, new: str) -> Decorator:
    """A hidden option that no longer exists: using it is an error that names its successor.

    Args:
        old: The option's former name, with its dashes.
        new: Its name today.

    Returns:
        A decorator of commands.
    """

    def refuse(ctx: click.Context, _: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise click.UsageError(f"{old} is now called {new}.", ctx)

    name = f"former_{old.lstrip('-')}"  # of its own: its successor may have the old one
    return click.option(old, name, hidden=True, expose_value=False, callback=refuse)


def _trainings(function: Callable[..., None]) -> Callable[..., None]:
    new = click.option(
        "--trainings",
        type=WholeNumber(1, 10**6),
        metavar="N",
        help="Stop after N trainings, counted over the whole study.",
    )
    return renamed("--trials", "--trainings")(new(function))


OPTIONS: dict[str, Decorator] = {
    "storage": click.option(
        "--storage",
        help="URL of the store's database; by default that of NAS_STORAGE, of the file that "
        "NAS_STORAGE_FILE names, or sqlite:///nas.db.",
    ),
    "any_disk": click.option(
        "--any-disk",
        is_flag=True,
        help="Allow an SQLite file on a network disk, where a crash may damage it.",
    ),
    "data": click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        envvar="NAS_DATA",
        default=Path("data"),
        show_default=True,
        help="Folder that holds the files of the data sets.",
    ),
    "measured_data": click.option(
        "--data",
        type=click.Path(path_type=Path, file_okay=False),
        help="Folder of the data sets, to measure which share of the input bits of the study's "
        "data is set; without it all of them count as set.",
    ),
    "workers": click.option(
        "--workers",
        type=WholeNumber(1, 256),
        metavar="N",
        help="Start N worker processes; by default one for each core.",
    ),
    "trainings": _trainings,
    "log_format": click.option(
        "--log-format",
        type=click.Choice(LOG_FORMATS),
        default="text",
        show_default=True,
        help="Format of the log on stderr: sentences, or one JSON object a line.",
    ),
    "log_level": click.option(
        "--log-level",
        type=click.Choice(("debug", "info", "warning", "error")),
        default="warning",
        show_default=True,
        help="Log what is at least this severe.",
    ),
    "metrics_port": click.option(
        "--metrics-port",
        type=WholeNumber(0, 65535),
        help="Serve metrics for Prometheus on this port; 0 takes a free one.",
    ),
    "metrics_host": click.option(
        "--metrics-host",
        default=LOOPBACK,
        show_default=True,
        help="Address that serves the metrics of --metrics-port; there is no login.",
    ),
    "json": JSON,
}


def options(*names: str) -> Decorator:
    """The shared options of these names, as one decorator of a command."""

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(names):
            function = OPTIONS[name](function)
        return function

    return decorate


def open_store(storage: str | None, **access: bool) -> "Store":
    """The store of `--storage` or the environment, closed when the command ends.

    Args:
        storage: Value of `--storage`, or None.
        access: `create`, `write` and `any_disk` of `Store`.

    Returns:
        The store, which is open.
    """
    import optuna

    from nas_service.store.database import storage_url
    from nas_service.store.store import Store

    optuna.logging.disable_default_handler()  # it writes local times without their zone
    optuna.logging.enable_propagation()
    store = Store(storage_url(storage, os.environ), **access)
    click.get_current_context().call_on_close(store.close)
    return store


def read_study(
    path: Path, name: str | None, seed: int | None, trainings: int | None
) -> "StudySpec":
    """The study of a file, with the values that the command line replaces.

    Args:
        path: The study file.
        name: Replaces the study's name, unless None.
        seed: Replaces its seed, unless None.
        trainings: Replaces its number of trainings, unless None.

    Returns:
        The study, validated.

    Raises:
        SpecError: The file cannot be read or is wrong, or the name is not valid.
    """
    from nas_service.study.fields import study_name
    from nas_service.study.loading import load_spec

    spec = load_spec(path)
    changes: dict[str, Any] = {}
    if trainings is not None:
        changes["search"] = spec.search.model_copy(update={"trainings": trainings})
    if name is not None:
        changes["name"] = study_name(name)
    if seed is not None:
        changes["seed"] = seed
    return spec.model_copy(update=changes)


def read_checked(path: Path) -> "StudySpec":
    """The study of a file, checked as `nas check` does: errors name the file and the key.

    Args:
        path: The study file.

    Returns:
        The study.

    Raises:
        SpecError: The file cannot be read, is wrong, or does not fit its data, chip or sampler.
    """
    from nas_service.searches.creation import check
    from nas_service.study.loading import load_spec

    return check(load_spec(path), str(path)).spec


def read_result(
    storage: str | None,
    name: str,
    any_disk: bool = False,
    write: bool = False,
    computes: bool = False,
) -> "Result":
    """The current result of a study of the store.

    Args:
        storage: Value of `--storage`, or None.
        name: Of the study.
        any_disk: Allow an SQLite file on a network disk.
        write: The caller will write to the store.
        computes: The caller computes new values, which needs the study's plug-ins.

    Returns:
        The result as the store has it now.

    Raises:
        StoreError: The store cannot be opened.
        StudyError: It has no such study, or the caller needs a plug-in that is not loaded.
    """
    from nas_service.cli.terminal import print_detail, print_err
    from nas_service.searches import results
    from nas_service.searches.session import open_search

    store = open_store(storage, any_disk=any_disk, write=write)
    search = open_search(store, name, to_read=not computes)
    for plugin in search.missing_plugins:
        text = f"note: {plugin} is not given: its values are those in the store"
        print_err(text)
    result = results.read(search)
    print_detail(f"study {name} in {store.shown}: {len(result.candidates)} finished trials read")
    return result


def with_assumed_rate(evaluation: "Evaluation", spec: "StudySpec") -> "Evaluation":
    """The evaluation, whose costs name the spike rate that they assume where none was measured.

    Args:
        evaluation: What is known of a candidate.
        spec: Its study.

    Returns:
        The evaluation; as it was given where rates were measured, or where it names them itself.
    """
    if evaluation.spike_rates or evaluation.hardware.assumed:
        return evaluation
    rate, place = spec.hardware.assumed_rate, "hardware.assumed_rate of the study"
    hardware = replace(evaluation.hardware, assumed=(Assumption("spike_rate", rate, (), place),))
    return replace(evaluation, hardware=hardware)


def density_in(spec: "StudySpec | None", data: Path | None) -> "InputDensity":
    """The density of a study's data, measured where their folder is given, else assumed.

    Args:
        spec: The study; None where the command has none.
        data: Value of `--data`, or None.

    Returns:
        The density.

    Raises:
        DataError: The data are missing or damaged.
        SpecError: A folder is given, but no study says which data are in it.
    """
    from nas_service.spaces.input_density import ASSUMED

    if data is None:
        return ASSUMED
    if spec is None:
        raise SpecError("--data needs --study, the study whose data are read")
    from nas_service.evaluation.images import StudyImages

    return StudyImages.open(spec, data).density()


def candidate_of(result: "Result", trial: int) -> "Candidate":
    """The candidate of a finished trial.

    Args:
        result: Of the study.
        trial: The trial's number.

    Returns:
        The candidate, with all that was measured of it.

    Raises:
        StudyError: No finished trial has this number.
    """
    candidate = next((c for c in result.candidates if c.trial == trial), None)
    if candidate is None:
        why = _why_unfinished(result, trial)
        raise StudyError(f"study {result.spec.name!r} has no finished trial {trial}: {why}")
    return candidate


def _why_unfinished(result: "Result", trial: int) -> str:
    """What became of a trial without a result, or which trials have one."""
    leases = result.search.store.leases(result.search.id)
    if reason := leases.failures().get(trial):
        return f"it failed ({reason})"
    if trial in leases.outcomes():
        return "it is not finished yet"
    if result.nothing_known:
        return result.nothing_known
    last = max(c.trial for c in result.candidates)
    return f"{len(result.candidates)} have a result, the last is trial {last}"
