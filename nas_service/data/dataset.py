"""Data sets in files: where the files are searched, how they are checked, and read as images.

A data set is searched at its locations below the data folder, with the file names that its authors
published. Files with a published hash are compared with it before they are first read.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from nas_service.data.archive import FileTree, Folder, open_tree
from nas_service.data.cache import Samples, cached, folder_of_cache, key_of
from nas_service.data.file_names import existing, lower_suffix, shown
from nas_service.data.images import Images
from nas_service.errors import DataError
from nas_service.spaces.task import Task

PARTS = ("train", "test")  # a search reads the first alone
CHUNK_B = 2**20  # of a file that is hashed

Reader = Callable[[FileTree, str, Task, int], Samples]  # files, part, task, frames of a recording
ClassNames = Callable[[FileTree], Sequence[str]]  # of the files of the train part


class Source(Protocol):
    """A data set."""

    @property
    def task(self) -> Task:
        """The shape of its samples, and its classes."""

    @property
    def validation_samples(self) -> int:
        """How many training images are held out by default; 0 where a study must say it."""

    @property
    def home(self) -> str:
        """Where the official files are published."""

    @property
    def licence(self) -> str:
        """The licence of the data, as far as it is stated."""

    def read_train(self, folder: Path, time_steps: int = 1) -> Images:
        """All training and validation images.

        Args:
            folder: The folder of data sets.
            time_steps: Frames that a recording of events is binned to.

        Returns:
            The images with their labels.

        Raises:
            DataError: Files are missing, damaged, or not the official ones.
        """

    def read_test(self, folder: Path, time_steps: int = 1) -> Images:
        """The test images, which a search never reads; the arguments are those of `read_train`."""

    def class_names(self, folder: Path) -> tuple[str, ...]:
        """The names of the classes by number; the numbers themselves where nobody named them."""


@dataclass(frozen=True)
class Location:
    """A folder or archive below the data folder, and the folder inside it with the files."""

    path: str
    root: str = ""
    parts: tuple[str, ...] = PARTS


@dataclass(frozen=True)
class CheckedFile:
    """A file that equals the published one, as far as a hash was published."""

    path: Path
    published: str = ""  # "sha256:..." or "md5:..."; empty where no hash was published


@dataclass(frozen=True)
class Files:
    """A data set in files, a `Source`."""

    name: str
    task: Task
    validation_samples: int
    home: str
    licence: str
    locations: tuple[Location, ...]
    uses: Mapping[str, tuple[str, ...]]  # files and folders that are read, by part
    read: Reader
    published: Mapping[str, str]  # hashes of official files by their names
    decoder: str = ""  # software and settings that decide the pixels: part of the cache's key
    named: tuple[str, ...] | ClassNames = ()  # the names of the classes; empty for numbers

    def read_train(self, folder: Path, time_steps: int = 1) -> Images:
        """All training and validation images; see `Source.read_train`."""
        return self.images(folder, "train", time_steps)

    def read_test(self, folder: Path, time_steps: int = 1) -> Images:
        """The test images; see `Source.read_train` for the arguments."""
        return self.images(folder, "test", time_steps)

    def class_names(self, folder: Path) -> tuple[str, ...]:
        """The names of the classes by number; see `Source.class_names`."""
        named = self.named if isinstance(self.named, tuple) else ()
        if callable(self.named):
            named = tuple(self.named(self.tree(folder, "train")))
        return named or numbered(self.task.classes)

    def in_archive(self, path: str) -> "Files":
        """The same data set in another file or folder below the data folder."""
        return replace(self, locations=(Location(path),))

    def location(self, folder: Path, part: str) -> Location | None:
        """The first location that has files of a part.

        Args:
            folder: The folder of data sets.
            part: "train" or "test".

        Returns:
            The location, with the path as it is on the disk; None where there is none.
        """
        for location in (p for p in self.locations if part in p.parts):
            path = existing(folder / location.path)
            if path and (path.is_file() or any(existing(path / n) for n in self.uses[part])):
                return replace(location, path=path.relative_to(folder).as_posix())
        return None

    def find(self, folder: Path, part: str) -> Location:
        """The first location that has files of a part.

        Args:
            folder: The folder of data sets.
            part: "train" or "test".

        Returns:
            The location.

        Raises:
            DataError: There is none; it names the locations and where the files are published.
        """
        if (location := self.location(folder, part)) is not None:
            return location
        wanted = ", ".join(dict.fromkeys(p.path or "." for p in self.locations if part in p.parts))
        official = self.home.startswith("http")
        published = f", and the files are published at {self.home}" if official else ""
        raise DataError(
            f"{self.name}: no files of its {part} part in {shown(folder.resolve())} "
            f"(searched: {wanted}); "
            f"--data or NAS_DATA names another folder{published}"
        )

    def tree(self, folder: Path, part: str) -> FileTree:
        """The files of a part, with names relative to the folder that holds them.

        Args:
            folder: The folder of data sets.
            part: "train" or "test".

        Returns:
            The files.

        Raises:
            DataError: No location has files of the part.
        """
        location = self.find(folder, part)
        path = folder / location.path
        tree = open_tree(path, "" if path.is_dir() else location.root)
        whole = tree.root or path.is_dir() or self.uses[part] == ("",)
        return tree if whole else rooted(tree, self.uses[part])

    def check(self, folder: Path, part: str) -> list[CheckedFile]:
        """Compares the files of a part with their published hashes.

        Args:
            folder: The folder of data sets.
            part: "train" or "test".

        Returns:
            The files of the part that exist.

        Raises:
            DataError: No location has files of the part, or a file differs from the published one.
        """
        path = folder / self.find(folder, part).path
        inside = [existing(path / name) for name in self.uses[part]] if path.is_dir() else [path]
        return [self._checked(file) for file in inside if file and file.is_file()]

    def _checked(self, path: Path) -> CheckedFile:
        published = self.published.get(lower_suffix(path.name), "")
        if published:
            demand_hash(path, published)
        return CheckedFile(path, published)

    def samples(self, folder: Path, part: str, time_steps: int = 1) -> Samples:
        """The samples of a part; their pixels are read when the chunks are.

        Args:
            folder: The folder of data sets.
            part: "train" or "test".
            time_steps: Frames that a recording of events is binned to; does not matter for images.

        Returns:
            Number and shape of the samples, and their chunks.

        Raises:
            DataError: Files are missing or damaged.
        """
        frames = time_steps if self.task.events else 1
        return self.read(self.tree(folder, part), part, self.task, frames)

    def images(self, folder: Path, part: str, time_steps: int = 1) -> Images:
        """The images of a part, from the cache where the files were read before.

        Args:
            folder: The folder of data sets.
            part: `train` or `test`.
            time_steps: Frames that a recording of events is binned to.

        Returns:
            The images with their labels.

        Raises:
            DataError: Files are missing, damaged, or not the official ones.
        """
        location = self.find(folder, part)
        frames = time_steps if self.task.events else 1

        def read() -> Samples:
            self.check(folder, part)
            samples = self.samples(folder, part, time_steps)
            if not samples.count:
                where = shown(folder / location.path)
                raise DataError(f"{where}: no sample of the {part} part of {self.name} in it")
            return samples

        facts = (
            self.name,
            part,
            frames,
            vars(self.task),
            self.decoder,
            _stamp(folder / location.path, self.uses[part]),
        )
        name = f"{self.name}-{part}-{f'{frames}-' if self.task.events else ''}{key_of(*facts)}"
        images = cached(folder_of_cache(folder), name, read)
        if (worst := int(images.labels.max())) >= self.task.classes:
            where = folder / location.path
            raise DataError(
                f"{shown(where)}: label {worst}, 0..{self.task.classes - 1} are possible"
            )
        return images


def numbered(classes: int) -> tuple[str, ...]:
    """The numbers of classes as their names."""
    return tuple(map(str, range(classes)))


def rooted(tree: FileTree, wanted: tuple[str, ...]) -> FileTree:
    """The tree that starts at the folder with the files: the top, or a folder just below it.

    Args:
        tree: The files.
        wanted: Names of some of them, relative to the folder that holds them.

    Returns:
        The tree; the given one where no folder has the files.
    """
    if tree.names(wanted):
        return tree
    tops = sorted({name.split("/")[0] for name in tree.names(("",))})
    return next((t for top in tops if (t := tree.below(top)).names(wanted)), tree)


def _stamp(path: Path, uses: tuple[str, ...]) -> list[object]:
    """Name, size and modification time of every file that is read, or of the archive."""
    names = Folder(path).names(uses) if path.is_dir() else [""]
    return [str(path.resolve()), [[name, *_size_and_time(path / name)] for name in names]]


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{shown(path)}: missing or unreadable ({error.strerror})") from error
    return status.st_size, status.st_mtime_ns


def demand_hash(path: Path, published: str) -> None:
    """Compares a file with its published hash.

    Args:
        path: The file.
        published: `sha256:...` or `md5:...`.

    Raises:
        DataError: The file differs, or cannot be read.
    """
    kind, _, expected = published.partition(":")
    content = hashlib.new(kind, usedforsecurity=False)
    try:
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_B):
                content.update(chunk)
    except OSError as error:
        raise DataError(f"{shown(path)}: unreadable ({error.strerror})") from error
    if content.hexdigest() != expected:
        raise DataError(
            f"{shown(path)}: not the official file, or damaged: its {kind} is "
            f"{content.hexdigest()}, expected {expected}"
        )
