"""Where a data set's files lie, which they must be, and how they become images.

A data set is looked for at its places below the data folder, under the names its authors gave the
files. Files with a published hash are checked against it before they are first read.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from nas_service.data.archive import FileTree, Folder, open_tree
from nas_service.data.cache import Samples, cached, folder_of_cache, key_of
from nas_service.data.images import Images
from nas_service.errors import DataError
from nas_service.spaces.task import Task

PARTS = ("train", "test")  # the search sees the first alone
CHUNK_B = 2**20  # of a file that is hashed

Reader = Callable[[FileTree, str, Task, int], Samples]  # files, part, task, frames


class Source(Protocol):
    """A data set: its task, how many images are held out by default, and its two parts."""

    @property
    def task(self) -> Task: ...

    @property
    def validation_samples(self) -> int: ...

    @property
    def home(self) -> str:
        """Where the official files are to be had."""

    @property
    def licence(self) -> str: ...

    def read_train(self, folder: Path, time_steps: int = 1) -> Images:
        """Everything that is not test; events are binned to `time_steps` frames."""

    def read_test(self, folder: Path, time_steps: int = 1) -> Images:
        """Never read by the search."""


@dataclass(frozen=True)
class Location:
    """A folder or archive below the data folder, and where in it the files begin."""

    path: str
    root: str = ""
    parts: tuple[str, ...] = PARTS


@dataclass(frozen=True)
class CheckedFile:
    """A file that was compared with its published hash, if it has one."""

    path: Path
    published: str = ""  # "sha256:...", "md5:..." or nothing


@dataclass(frozen=True)
class Files:
    """A data set in files."""

    name: str
    task: Task
    validation_samples: int
    home: str
    licence: str
    places: tuple[Location, ...]
    uses: Mapping[str, tuple[str, ...]]  # by part: the files and folders that are read
    read: Reader
    published: Mapping[str, str]  # hashes of official files by their names
    decoder: str = ""  # what else decides the pixels: another one makes the cache again

    def read_train(self, folder: Path, time_steps: int = 1) -> Images:
        return self.images(folder, "train", time_steps)

    def read_test(self, folder: Path, time_steps: int = 1) -> Images:
        return self.images(folder, "test", time_steps)

    def in_archive(self, path: str) -> "Files":
        """The same data set in a file or folder of another name."""
        return replace(self, places=(Location(path),))

    def place(self, folder: Path, part: str) -> Location | None:
        """The first place that has files of a part."""
        for place in (p for p in self.places if part in p.parts):
            path = folder / place.path
            if path.is_file() or any((path / name).exists() for name in self.uses[part]):
                return place
        return None

    def find(self, folder: Path, part: str) -> Location:
        """The same; DataError says where the files could lie, and where they are to be had."""
        if (place := self.place(folder, part)) is not None:
            return place
        wanted = ", ".join(dict.fromkeys(p.path or "." for p in self.places if part in p.parts))
        raise DataError(
            f"{self.name}: nothing of its {part} part is in {folder.resolve()} (looked at: "
            f"{wanted}); --data or NAS_DATA names another folder, and the files are to be had at "
            f"{self.home}"
        )

    def tree(self, folder: Path, part: str) -> FileTree:
        """The files of a part, named from the folder on that holds them."""
        place = self.find(folder, part)
        path = folder / place.path
        tree = open_tree(path, "" if path.is_dir() else place.root)
        return _rooted(tree, self.uses[part])

    def check(self, folder: Path, part: str) -> list[CheckedFile]:
        """The files of a part, with their published hashes; DataError for one that differs."""
        path = folder / self.find(folder, part).path
        inside = [path / name for name in self.uses[part]] if path.is_dir() else [path]
        return [self._checked(file) for file in inside if file.is_file()]

    def _checked(self, path: Path) -> CheckedFile:
        published = self.published.get(path.name, "")
        if published:
            demand_hash(path, published)
        return CheckedFile(path, published)

    def samples(self, folder: Path, part: str, time_steps: int = 1) -> Samples:
        """What is there, before any pixel is read."""
        frames = time_steps if self.task.events else 1
        return self.read(self.tree(folder, part), part, self.task, frames)

    def images(self, folder: Path, part: str, time_steps: int = 1) -> Images:
        """A part of the data set, from the cache if its files are those that were read before."""
        place = self.find(folder, part)
        frames = time_steps if self.task.events else 1

        def read() -> Samples:
            self.check(folder, part)
            return self.samples(folder, part, time_steps)

        facts = (
            self.name,
            part,
            frames,
            vars(self.task),
            self.decoder,
            _stamp(folder / place.path, self.uses[part]),
        )
        name = f"{self.name}-{part}-{f'{frames}-' if self.task.events else ''}{key_of(*facts)}"
        images = cached(folder_of_cache(folder), name, read)
        if (worst := int(images.labels.max())) >= self.task.classes:
            where = folder / place.path
            raise DataError(f"{where}: label {worst}, 0..{self.task.classes - 1} are possible")
        return images


def _rooted(tree: FileTree, uses: tuple[str, ...]) -> FileTree:
    """The files from the folder on in which they lie: the top, or one folder below it."""
    anything = uses == ("",)
    if tree.root or (tree.path.is_dir() and not anything):
        return tree
    names = tree.names(("",))
    tops = sorted({name.split("/")[0] for name in names})
    if anything:  # where one folder holds all of it, that one is meant
        alone = len(tops) == 1 and tops[0] not in names and tops[0] != "train"
        return tree.below(tops[0]) if alone else tree
    if tree.names(uses):
        return tree
    return next((t for top in tops if (t := tree.below(top)).names(uses)), tree)


def _stamp(path: Path, uses: tuple[str, ...]) -> list[object]:
    """Name, size and time of every file that is read; of an archive, of itself."""
    names = Folder(path).names(uses) if path.is_dir() else [""]
    return [str(path.resolve()), [[name, *_touched(path / name)] for name in names]]


def _touched(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def demand_hash(path: Path, published: str) -> None:
    """DataError with both hashes where a file is not the published one."""
    kind, _, expected = published.partition(":")
    content = hashlib.new(kind, usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_B):
                content.update(chunk)
    except OSError as error:
        raise DataError(f"{path}: unreadable ({error.strerror})") from error
    if content.hexdigest() != expected:
        raise DataError(
            f"{path}: not the official file, or damaged: its {kind} is {content.hexdigest()}, "
            f"expected {expected}"
        )
