"""One interface to folders, zip and tar archives; hostile names and sizes are refused."""

import gzip
import os
import stat
import tarfile
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from typing import Protocol, Self

from hw_models import FileError
from hw_models.files.text_file import decode
from nas_service.data.faults import DAMAGED, kind_of, reason
from nas_service.data.file_names import existing, lower_suffix, shown
from nas_service.errors import DataError

MEMBER_B = 2**30  # of one file, unpacked
TOTAL_B = 2**38  # of one archive, unpacked
MEMBERS = 2 * 10**6
SLACK_B = 2**20  # of a tar archive between two members: headers and padding
ENCRYPTED = 1  # bit of a zip member's flags


class FileTree(Protocol):
    """Files of a folder or archive, with names relative to `root`; hidden files are ignored."""

    @property
    def path(self) -> Path:
        """The folder or archive."""

    @property
    def root(self) -> str:
        """The folder inside it that names are relative to."""

    def where(self, name: str = "") -> str:
        """A file, or the folder or archive itself, as messages name it."""

    def names(self, under: Collection[str]) -> list[str]:
        """Sorted names of files that are one of `under`, or below one of these folders.

        The suffix of a file may be in another case than in `under`.
        """

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Each file with its bytes, in any order.

        Raises:
            DataError: A file is missing or damaged.
        """

    def below(self, root: str) -> "FileTree":
        """The files of a folder inside, with names relative to it."""


def open_tree(path: Path, root: str = "") -> FileTree:
    """Opens a folder, a zip archive or a tar archive (plain or gzip); its content decides.

    Args:
        path: The folder or archive.
        root: The folder inside it that names are relative to.

    Returns:
        The files, which are read when they are asked for.

    Raises:
        DataError: It is none of these, or damaged.
    """
    if path.is_dir():
        return Folder(path, root)
    if not path.is_file():
        raise DataError(f"{shown(path)}: missing, or neither a file nor a folder")
    try:
        if zipfile.is_zipfile(path):
            return Zip(path, root)
        with _opened(path) as file:
            start = file.read(512)
    except DAMAGED as error:
        raise DataError(f"{shown(path)}: {reason(error)}") from error
    if start[257:262] == b"ustar":
        return Tar(path, root)
    fault = "a zip archive that is cut short" if start[:2] == b"PK" else kind_of(start)
    raise DataError(
        f"{shown(path)}: {fault}; a folder, a zip archive or a tar archive (plain or gzip) is "
        "needed: unpack or download it again"
    )


def actual_names(tree: FileTree, wanted: Collection[str]) -> dict[str, str]:
    """Files of fixed names, whose suffixes may be in another case.

    Args:
        tree: The files.
        wanted: Their names.

    Returns:
        The wanted name of each file by its name in the tree; a missing file has the wanted one.
    """
    return {next(iter(tree.names((name,))), name): name for name in wanted}


def text_of(content: bytes, where: str) -> str:
    """The text of a file in an archive; see `hw_models.files.text_file.decode`.

    Args:
        content: The file's bytes.
        where: Its name, for errors.

    Returns:
        The text, without a byte-order mark.

    Raises:
        DataError: It is no text.
    """
    try:
        return decode(content, where)
    except FileError as error:
        raise DataError(str(error)) from None


@dataclass(frozen=True)
class _Rooted:
    path: Path
    root: str = ""

    def where(self, name: str = "") -> str:
        """See `FileTree.where`."""
        inside = _joined(self.root, name)
        return shown(self.path) + (f": member {inside!r:.250}" if name else "")

    def below(self, root: str) -> Self:
        return replace(self, root=_joined(self.root, root))


@dataclass(frozen=True)
class Folder(_Rooted):
    """The files of a folder."""

    def where(self, name: str = "") -> str:
        """See `FileTree.where`."""
        return shown(self.path / self.root / name)

    def names(self, under: Collection[str]) -> list[str]:
        """See `FileTree.names`."""
        top = self.path / self.root
        names = {name.as_posix() for start in under for name in _files(top, start)}
        return sorted(name for name in names if not _hidden(name))

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """See `FileTree.read`."""
        for name in names:
            path, where = self.path / self.root / name, self.where(name)
            try:
                status = path.stat()
                if not stat.S_ISREG(status.st_mode):
                    raise DataError(f"{where}: no plain file, but a device or a pipe")
                _demand_size(where, status.st_size)
                yield name, path.read_bytes()
            except OSError as error:
                raise DataError(f"{where}: missing or unreadable ({error.strerror})") from error


def _files(top: Path, start: str) -> Iterator[Path]:
    path = existing(top / start)
    if path is None or not path.is_dir():
        yield from () if path is None else (path.relative_to(top),)
        return
    for folder, inner, files in os.walk(path, onerror=_refuse):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for link in filter(os.path.islink, (os.path.join(folder, name) for name in inner)):
            raise DataError(f"{shown(link)}: a link to a folder, which is not followed: copy it")
        for name in files:
            yield Path(folder, name).relative_to(top)


def _refuse(error: OSError) -> None:
    raise DataError(f"{shown(error.filename)}: unreadable ({error.strerror})") from error


@dataclass(frozen=True)
class Zip(_Rooted):
    """The files of a zip archive."""

    @cached_property
    def _members(self) -> dict[str, zipfile.ZipInfo]:
        with self._archive() as archive:
            infos = archive.infolist()
        _demand_total(self.path, len(infos), sum(info.file_size for info in infos))
        members: dict[str, zipfile.ZipInfo] = {}
        for info in infos:
            _demand_legal(self.path, info.filename)
            kind = stat.S_IFMT(info.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise DataError(f"{self.where()}: member {info.filename!r:.90} is a link or device")
            name = info.filename.replace("\\", "/").removeprefix("./")
            if name in members:
                raise DataError(f"{self.where()}: member {info.filename!r:.90} is listed twice")
            if not name.endswith("/"):
                members[name] = info
        return members

    def names(self, under: Collection[str]) -> list[str]:
        """See `FileTree.names`."""
        return _selected(self._members, self.root, under)

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """See `FileTree.read`."""
        members = [(name, self._members.get(_joined(self.root, name))) for name in names]
        with self._archive() as archive:
            for name, info in members:
                if info is None:
                    raise DataError(f"{self.where(name)} is missing")
                yield name, self._content(archive, info, self.where(name))

    def _archive(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self.path)
        except DAMAGED as error:
            raise DataError(f"{self.where()}: {reason(error)}") from error

    def _content(self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> bytes:
        _demand_size(where, info.file_size)
        if info.flag_bits & ENCRYPTED:
            raise DataError(f"{where}: encrypted: unpack the archive with its password")
        try:
            with archive.open(info) as file:
                return file.read(info.file_size)
        except DAMAGED as error:
            raise DataError(f"{where}: {reason(error)}") from error


@dataclass(frozen=True)
class Tar(_Rooted):
    """The files of a tar archive, which is read from start to end."""

    def names(self, under: Collection[str]) -> list[str]:
        """See `FileTree.names`."""
        return _selected(self._names, self.root, under)

    @cached_property
    def _names(self) -> list[str]:
        names = [name for name, _ in self._walk(())]
        if len(set(names)) < len(names):
            twice = next(name for i, name in enumerate(names) if name in names[:i])
            raise DataError(f"{shown(self.path)}: member {twice!r:.90} is listed twice")
        return names

    def read(self, names: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """See `FileTree.read`."""
        wanted = {_joined(self.root, name): name for name in names}
        for member, body in self._walk(wanted.keys()):
            if member in wanted:
                yield wanted.pop(member), body
            if not wanted:
                return
        for missing in wanted.values():
            raise DataError(f"{self.where(missing)} is missing")

    def _walk(self, wanted: Collection[str]) -> Iterator[tuple[str, bytes]]:
        """Every file's name, in the archive's order, with the bytes of the wanted ones."""
        try:
            with _opened(self.path) as raw:
                metered = _Metered(raw, self.path)
                with tarfile.open(fileobj=metered, mode="r|") as archive:  # type: ignore[call-overload]
                    for count, info in enumerate(archive, 1):
                        _demand_total(self.path, count, metered.allowed)
                        name = _tar_name(self.path, info)
                        metered.allow(info.size if info.isfile() else 0)
                        if info.isfile():
                            yield name, _body(archive, info) if name in wanted else b""
                metered.demand_end()
        except DAMAGED as error:
            raise DataError(f"{self.where()}: {reason(error)}") from error


def _opened(path: Path) -> BufferedReader | gzip.GzipFile:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    return gzip.open(path) if zipped else path.open("rb")


def _body(archive: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = archive.extractfile(info)
    assert file is not None  # noqa: S101  it is called for plain files only
    body = file.read()
    if len(body) != info.size:
        raise EOFError(f"{info.name!r:.90} ends early")
    return body


def _tar_name(path: Path, info: tarfile.TarInfo) -> str:
    _demand_legal(path, info.name)
    if not (info.isfile() or info.isdir()) or info.issparse():
        raise DataError(f"{path}: member {info.name!r:.90} is a link or device")
    _demand_size(f"{path}: member {info.name!r:.90}", info.size)
    return info.name.removeprefix("./")


class _Metered:
    """Gives a tar reader no more bytes than the headers of its members have announced so far.

    A hostile archive could otherwise unpack without end between two members.
    """

    def __init__(self, raw: BufferedReader | gzip.GzipFile, path: Path) -> None:
        self.raw, self.path = raw, path
        self.allowed = SLACK_B
        self.bytes_read = 0
        self.last = b""  # the last bytes that were read

    def allow(self, size: int) -> None:
        """Allows the bytes of the next member."""
        self.allowed = max(self.allowed, self.bytes_read + SLACK_B) + size

    def read(self, size: int) -> bytes:
        chunk = self.raw.read(size)
        self.last = chunk[-tarfile.BLOCKSIZE :] or self.last
        self.bytes_read += len(chunk)
        if self.bytes_read > self.allowed:
            raise DataError(f"{self.path}: more between two members than a tar archive has there")
        return chunk

    def demand_end(self) -> None:
        """DataError where the archive does not end with empty blocks, as each tar archive does."""
        if self.last.strip(b"\0"):
            raise DataError(f"{shown(self.path)}: damaged or cut short: its end is missing")


def _selected(names: Collection[str], root: str, under: Collection[str]) -> list[str]:
    start = f"{root}/" if root else ""
    inside = (name[len(start) :] for name in names if name.startswith(start))
    return sorted(n for n in inside if not _hidden(n) and any(_lies_in(n, u) for u in under))


def _lies_in(name: str, folder: str) -> bool:
    inside = not folder or name.startswith(f"{folder}/")
    return inside or lower_suffix(name) == lower_suffix(folder)


def _joined(root: str, name: str) -> str:
    return f"{root}/{name}" if root and name else root or name


def _hidden(name: str) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def _demand_legal(path: Path, name: str) -> None:
    parts = name.replace("\\", "/").split("/")
    if parts[0] == "" or ".." in parts or ":" in parts[0] or "\0" in name:
        raise DataError(f"{path}: member {name!r:.90} leads out of the archive")


def _demand_size(where: object, size: int) -> None:
    if size > MEMBER_B:
        raise DataError(f"{where}: {size} bytes unpacked, at most {MEMBER_B} are possible")


def _demand_total(path: Path, count: int, size: int) -> None:
    if count > MEMBERS or size > TOTAL_B:
        raise DataError(
            f"{path}: {count} members of {size} bytes unpacked, at most {MEMBERS} of {TOTAL_B} "
            "are possible"
        )
