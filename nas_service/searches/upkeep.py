"""Studies deleted, renamed, and pruned of weights that nobody needs any more."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nas_service.errors import StudyError
from nas_service.searches import artifacts, results
from nas_service.searches.artifacts import Artifact, Space, artifacts_in, space_of
from nas_service.searches.results import Result
from nas_service.searches.session import Search
from nas_service.searches.stopping import end_reason, epochs
from nas_service.store.store import Store
from nas_service.study.fields import study_name


def folder_of(store: Store, name: str) -> Path:
    """The folder of a study's files on this machine, which may not exist.

    Raises:
        SpecError: The name is not that of a study of ours: it could lead to another folder.
    """
    return store.artifacts / study_name(name)


def files_of(store: Store, name: str) -> list[Artifact]:
    """The files of a study on this machine.

    A folder NAS_ARTIFACTS may serve several stores with studies of one name: files of candidates
    that this study does not know are another's.

    Raises:
        StudyError: There is no such study.
    """
    study_id = store.studies.get(name).id
    known = store.leases(study_id).digests() | store.archive(study_id).digests() | {""}
    return [a for a in artifacts_in(folder_of(store, name)) if a.digest in known]


def delete(store: Store, name: str, *, force: bool = False) -> list[str]:
    """Deletes a study: all its rows, and its weights on this machine.

    Args:
        store: The store.
        name: Of the study.
        force: Also where workers have trials of it.

    Returns:
        Names of files in its folder that are not ours and are left there.

    Raises:
        StudyError: There is no such study, it is running, or another study learns from it.
        StoreError: Its folder cannot be renamed, and nothing is deleted; or a file of it cannot be
            deleted.
    """
    folder, aside = folder_of(store, name), None
    if not force:
        demand_idle(store, name)
    ours = [artifact.path.name for artifact in files_of(store, name)]
    try:
        with store.studies.deleting(name, force=force):
            aside = artifacts.set_aside(folder)
    except BaseException:
        if aside is not None:
            artifacts.move(aside, folder)
        raise
    return [] if aside is None else artifacts.delete_folder(aside, folder, ours)


def rename(store: Store, name: str, new: str, *, force: bool = False) -> list[str]:
    """Gives a study another name, and its folder of weights on this machine as well.

    Args:
        store: The store.
        name: Of the study.
        new: Its new name, which is valid.
        force: Also where workers have trials of it.

    Returns:
        Names of the studies that learn from it: their specifications have the new name now.

    Raises:
        StudyError: There is no such study, it is running, or the new name is taken.
        StoreError: Its folder cannot be renamed; nothing is changed.
    """
    folder, target, moved = folder_of(store, name), folder_of(store, new), False
    if not force:
        demand_idle(store, name)
    try:
        with store.studies.renaming(name, new, force=force) as learners:
            if folder.is_dir():
                artifacts.move(folder, target)
                moved = True
    except BaseException:
        if moved:
            artifacts.move(target, folder)
        raise
    return learners


@dataclass(frozen=True)
class Pruning:
    """What may be deleted of a study's files on this machine, and what is kept."""

    name: str
    files: tuple[Artifact, ...]  # to delete
    front: int  # candidates on the front, whose files are kept
    under_way: int  # other candidates whose files are kept

    @property
    def space(self) -> Space:
        """How much space is freed."""
        return space_of(self.files)

    def delete(self) -> None:
        """Deletes the files."""
        artifacts.delete(self.files)


def plan_pruning(search: Search, *, force: bool = False) -> Pruning:
    """Which files nobody needs: of candidates that are neither on the front nor under way.

    Under way are unfinished trials, retrainings that run or whose test accuracy is not measured,
    candidates that a study with successive halving may still promote, and, where the front is
    empty, those below a reference.

    Args:
        search: The study.
        force: Also where workers have trials of it.

    Returns:
        The files to delete; none is deleted yet.

    Raises:
        StudyError: The study is running.
    """
    if not force:
        search.store.studies.demand_idle(search.name)
    result = results.read(search)
    ours = files_of(search.store, search.name)
    front = {c.digest for c in result.front}
    under_way = _under_way(result, ours) - front
    kept = front | under_way
    files = tuple(a for a in ours if a.digest and a.digest not in kept)
    return Pruning(search.name, files, len(front), len(under_way))


def _under_way(result: Result, ours: Sequence[Artifact]) -> set[str]:
    search = result.search
    digests = search.store.leases(search.id).unfinished()
    digests |= {artifact.digest for artifact in ours if artifact.is_locked}
    repeats = search.store.repeats(search.id).all().items()
    digests |= {
        digest
        for (digest, _), repeat in repeats
        if repeat.evaluation.trained and repeat.test_accuracy is None
    }
    if not result.front:
        digests |= {c.digest for c in result.below_reference}
    return digests | _promotable(result)


def _promotable(result: Result) -> set[str]:
    """Candidates whose training successive halving may continue."""
    if result.spec.search.reduction_factor is None or end_reason(result.search) is not None:
        return set()
    last = result.spec.training.last
    return {c.digest for c in result.candidates if 0 < epochs(c.metrics) < last}


def demand_idle(store: Store, name: str) -> None:
    """Refuses a study that is running.

    Args:
        store: The store.
        name: Of the study.

    Raises:
        StudyError: Workers have trials of it, or a retraining of it runs on this machine.
    """
    store.studies.demand_idle(name)
    ours = files_of(store, name)
    if locked := [artifact.path for artifact in ours if artifact.is_locked]:
        raise StudyError(
            f"study {name!r} is running: a training has locked {locked[0]}; end it first, or "
            "--force"
        )
