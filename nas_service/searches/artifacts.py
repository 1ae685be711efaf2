"""The files of a study in this machine's folder of weights.

Weights, checkpoints and traces have names of ours, by the candidate's digest; other files are left
alone.
"""

import fcntl
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from nas_service.errors import StoreError

OF_CANDIDATE = re.compile(
    r"([0-9a-f]{16})(?:\.repeat([0-9]{1,4}))?(\.training|\.traces)?\.(safetensors|lock)"
)
SHARED = ("shared.safetensors", "shared.lock")  # of snn/inheritance.py, which loads torch


@dataclass(frozen=True)
class Artifact:
    """One file of a study."""

    path: Path
    bytes: int
    digest: str = ""  # of the candidate; empty for a file of the whole study
    repeat: int | None = None  # number of the finalist's training

    @property
    def is_locked(self) -> bool:
        """True for the lock of a training that runs now."""
        if self.path.suffix != ".lock":
            return False
        with self.path.open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


@dataclass(frozen=True)
class Space:
    """Number and size of files that are deleted."""

    files: int
    bytes: int

    def __str__(self) -> str:
        files = "1 file" if self.files == 1 else f"{self.files} files"
        MiB = self.bytes / 2**20
        return f"{files}, {MiB:.1f} MiB" if MiB >= 1 else f"{files}, {self.bytes / 2**10:.0f} KiB"


def artifacts_in(folder: Path) -> list[Artifact]:
    """The files of a study in its folder, by name; links and other files are left out."""
    if not folder.is_dir():
        return []
    paths = (path for path in sorted(folder.iterdir()) if path.is_file() and not path.is_symlink())
    return [artifact for path in paths if (artifact := _artifact(path)) is not None]


def _artifact(path: Path) -> Artifact | None:
    size = path.stat().st_size
    if (name := OF_CANDIDATE.fullmatch(path.name)) is not None:
        repeat = None if name[2] is None else int(name[2])
        return Artifact(path, size, name[1], repeat)
    if path.name in SHARED or (path.suffix == ".part" and path.name.startswith("tmp")):
        return Artifact(path, size)
    return None


def space_of(artifacts: Iterable[Artifact]) -> Space:
    """How much space these files take."""
    sizes = [artifact.bytes for artifact in artifacts]
    return Space(len(sizes), sum(sizes))


def delete(artifacts: Iterable[Artifact]) -> None:
    """Deletes files.

    Raises:
        StoreError: One cannot be deleted; those before it are.
    """
    for artifact in artifacts:
        try:
            artifact.path.unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{artifact.path}: cannot be deleted ({error.strerror})") from None


def set_aside(folder: Path) -> Path | None:
    """Gives a study's folder a name that no study has; None where there is no folder.

    Raises:
        StoreError: The folder cannot be renamed.
    """
    if not folder.is_dir():
        return None
    aside = folder.with_name(f".deleted-{uuid.uuid4().hex}")  # no study's name begins with a dot
    move(folder, aside)
    return aside


def delete_folder(aside: Path, folder: Path, names: Iterable[str]) -> list[str]:
    """Deletes the files of a study that was deleted, and their folder if nothing else is in it.

    Args:
        aside: Where `set_aside` put them.
        folder: The folder of the study, which stays where there are other files.
        names: Of the files to delete.

    Returns:
        Names of the other files.

    Raises:
        StoreError: A file or the folder cannot be deleted.
    """
    ours = set(names)
    delete(artifact for artifact in artifacts_in(aside) if artifact.path.name in ours)
    if others := sorted(path.name for path in aside.iterdir()):
        move(aside, folder)
        return others
    try:
        aside.unlink() if aside.is_symlink() else aside.rmdir()
    except OSError as error:
        raise StoreError(f"{aside}: cannot be deleted ({error.strerror})") from None
    return []


def move(folder: Path, target: Path) -> None:
    """Renames a study's folder.

    Raises:
        StoreError: It cannot be renamed, or there is something at the target.
    """
    if target.exists() or target.is_symlink():
        raise StoreError(f"{target}: there already; move it away")
    try:
        folder.rename(target)
    except OSError as error:
        raise StoreError(f"{folder}: cannot be renamed ({error.strerror})") from None
