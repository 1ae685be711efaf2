"""A search from Python: the command line is a thin caller of this."""

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from nas_service.errors import SpecError, StoreError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.export.from_study import load_candidate
from nas_service.export.loaded import LoadedNetwork
from nas_service.export.loaded import load as load_network
from nas_service.searches.creation import check, create
from nas_service.searches.front_test import measure_test
from nas_service.searches.results import Result, read
from nas_service.searches.session import Search, adopt_limits, extend_epochs, queue
from nas_service.searches.stopping import end_reason
from nas_service.searches.study_data import on_study_data
from nas_service.store.store import Store
from nas_service.study import plugins
from nas_service.study.loading import load_spec, spec_from_tables
from nas_service.study.spec import StudySpec
from nas_service.worker.local_pool import LocalWorkerPool, worker_count
from nas_service.worker.proof import check_machine
from nas_service.worker.spool import Spool


def prepare(
    spec: StudySpec, store: Callable[[], Store], data: Path, where: str = ""
) -> tuple[Search, Evaluator]:
    """Creates or opens a study, which takes the limits and the last epoch of the specification.

    Args:
        spec: The study.
        store: Opens the store; called after study file and data are checked.
        data: Folder of the data sets.
        where: The study's file, for errors.

    Returns:
        The study's search, and the evaluator of its candidates.

    Raises:
        SpecError: The specification does not fit its data, chip or sampler.
        StudyError: The store has another study of that name, or one on other data.
    """
    checked = check(spec, where)
    evaluator = Evaluator.open(spec, data, checked.source, checked.space)
    search = create(store(), checked, evaluator.data_digest, evaluator.density)
    evaluator = on_study_data(search, evaluator)
    return extend_epochs(adopt_limits(search, spec), spec.training.last), evaluator


def run(
    search: Search,
    evaluator: Evaluator,
    workers: int | None = None,
    on_line: Callable[[str], None] = lambda text: None,
    on_tick: Callable[[], None] = lambda: None,
    top: int | None = None,
) -> tuple[Result, str]:
    """Runs local workers to the study's end, then reads the test images once, for the front.

    Candidates on the front whose training has not reached the study's last epoch are continued,
    until there are none.

    Args:
        search: The study.
        evaluator: Measures test accuracies; names the folder of the data sets.
        workers: Number of processes, by default one for each processor core.
        on_line: Called with each line that a worker prints.
        on_tick: Called twice a second.
        top: Continue the `top` best candidates instead of the front.

    Returns:
        The result, and the reason for the end.

    Raises:
        NasError: The number of workers is not possible, or a worker ended by an error.
        MachineFault: A folder cannot be written here, or the memory does not suffice.
        Interrupted: By Ctrl-C, after the workers have released their trials.
    """
    size = worker_count(workers)
    check_machine(search, evaluator, Spool.of(search.store))
    continued: set[str] = set()
    while True:
        continued |= set(resume_training(read(search), top))
        command = ("worker", "--study", search.name, "--no-end-line")
        pool = LocalWorkerPool(search.store, command, evaluator.folder, size)
        pool.run(on_line, on_tick)
        if continued.issuperset(c.digest for c in read(search).unfinished(top)):
            break
    measure_test(read(search), evaluator)
    result = read(search, partial(load_candidate, search, evaluator))
    return result, end_reason(search) or "the workers of this machine have ended"


def resume_training(result: Result, top: int | None = None) -> list[str]:
    """Queues unfinished candidates, which the next workers train to the study's last epoch.

    Args:
        result: Of the study.
        top: Queue the `top` best candidates instead of the front, as `Result.unfinished` does.

    Returns:
        Digests of the candidates.
    """
    unfinished = [c.digest for c in result.unfinished(top)]
    queue(result.search, unfinished)
    return unfinished


def search(
    study: str | os.PathLike[str] | Mapping[str, Any] | StudySpec,
    storage: str | os.PathLike[str],
    workers: int | None,
    data: str | os.PathLike[str],
) -> Result:
    """See `nas_service.search`."""
    plugins.load_named(os.environ)
    size, url, folder = worker_count(workers), storage_of(storage), path_of(data, "data")
    spec = spec_of(study)
    where = str(study) if isinstance(study, str | os.PathLike) else ""
    opened, evaluator = prepare(spec, lambda: Store(url, create=True), folder, where)
    opened.store.studies.set_budget(opened.id, spec.search.trainings)
    return run(opened, evaluator, size)[0]


def load(path: str | os.PathLike[str]) -> LoadedNetwork:
    """See `nas_service.load`."""
    plugins.load_named(os.environ)
    return load_network(path_of(path, "path"))


def plugin(path: str | os.PathLike[str]) -> plugins.Plugin:
    """See `nas_service.plugin`."""
    plugins.load_named(os.environ)
    return plugins.load(path_of(path, "path"))


def spec_of(study: object) -> StudySpec:
    """The specification that a caller gives in one of several forms.

    Args:
        study: The path of a study file, its tables as a mapping, or a specification.

    Returns:
        The specification.

    Raises:
        SpecError: It has a fault, or another type.
    """
    if isinstance(study, StudySpec):
        return study
    if isinstance(study, Mapping):
        return spec_from_tables(study)
    return load_spec(path_of(study, "study", ", its tables as a dict, or a StudySpec"))


def storage_of(storage: object) -> str:
    """The URL of a store that is given as URL or as path of an SQLite file.

    Raises:
        StoreError: It is neither.
    """
    if isinstance(storage, str):
        return storage
    try:
        path = str(path_of(storage, "storage"))
    except SpecError as error:
        raise StoreError(f"{error}, or a URL such as sqlite:///nas.db") from None
    if "?" in path:
        raise StoreError(f"storage {path!r:.200}: a path without '?' is needed")
    return f"sqlite:///{path}"


def path_of(value: object, name: str, also: str = "") -> Path:
    """The path that a caller gives as text or as path.

    Args:
        value: What was given.
        name: Name of the argument, for the error.
        also: What else is possible, for the error.

    Returns:
        The path.

    Raises:
        SpecError: It is neither.
    """
    if isinstance(value, str | os.PathLike) and isinstance(text := os.fspath(value), str):
        return Path(text)
    raise SpecError(f"{name} = {value!r:.80}, a {type(value).__name__}: a path is needed{also}")
