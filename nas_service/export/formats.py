"""The formats that a trained network is exported in, and how their files are written."""

import errno
import importlib
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

from nas_service.errors import NasError
from nas_service.export.nir_readers import READERS
from nas_service.export.run import Run

if TYPE_CHECKING:
    from torch import Tensor

    from nas_service.export.trained_network import TrainedNetwork

Contents = dict[str, bytes]  # what is written, by the suffix that is added to the chosen name


class Module(Protocol):
    """What the file of a format defines."""

    def contents(self, network: "TrainedNetwork", name: str) -> Contents:
        """The files of an exported network.

        Args:
            network: The network.
            name: Name of the files, without suffix.

        Returns:
            Their bytes by suffix, the first to be opened first.

        Raises:
            SpecError: The format cannot express this network.
        """

    def run(self, path: Path, pixels: "Tensor") -> Run:
        """Runs an exported file; a format whose files compute nothing has no such function.

        Args:
            path: The first file that was written.
            pixels: Raw pixels [B, C, H, W], or [B, T, C, H, W] of events.

        Returns:
            Its class scores, and the spikes where the format shows them.
        """


class Format(NamedTuple):
    """One format: the module that defines it, what it is, and the suffixes of its files."""

    place: str
    summary: str
    suffix: str  # of the first file
    others: tuple[str, ...] = ()
    runs: bool = True  # False for files that compute nothing

    def load(self) -> Module:
        """The module, which is imported only now."""
        return cast(Module, importlib.import_module(self.place))


# A new format is one file and one entry here.
FORMATS = {
    "safetensors": Format(
        "nas_service.export.safetensors_format",
        "weights and metadata, for nas_service.load",
        ".safetensors",
    ),
    "torch": Format(
        "nas_service.export.torch_format",
        "a Python file of plain PyTorch and its weights",
        ".py",
        (".weights.safetensors",),
    ),
    "crossbar": Format(
        "nas_service.export.crossbar_format",
        "the conductances of every crossbar, and which rows and columns they are",
        ".json",
        (".npz",),
    ),
    "onnx": Format(
        "nas_service.export.onnx_format",
        "one time step, its state in and out (extra nas-service[onnx])",
        ".onnx",
    ),
    "onnx-unrolled": Format(
        "nas_service.export.onnx_unrolled", "all time steps as one ONNX graph", ".onnx"
    ),
    "nir": Format(
        "nas_service.export.nir_format",
        "one time step as a NIR graph, with --for as one of its readers needs it",
        ".nir",
        tuple(f".load_{reader}.py" for reader in READERS),
    ),
    "card": Format(
        "nas_service.export.card_format",
        "a page about the network, Markdown and HTML",
        ".md",
        (".html",),
        runs=False,
    ),
}


def base_of(path: Path, kind: Format) -> Path:
    """The path of exported files without the suffix of one, which a user may have written.

    Raises:
        NasError: It names no file.
    """
    if path.name in ("", ".."):
        raise NasError(f"-o {str(path)!r:.90}: the name of a file is needed, without its suffix")
    for suffix in (kind.suffix, *kind.others):
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return path.with_name(path.name[: -len(suffix)])
    return path


def place(output: str | None, name: str, kind: Format) -> Path:
    """Where files are written, without their suffix.

    Args:
        output: What a user chose: a name, or a folder that exists; None for `name` here.
        name: Of the files where the user chose none.
        kind: Format of the files.

    Returns:
        The path.

    Raises:
        NasError: It names no file, or a folder that is missing.
    """
    if output is None:
        return Path(name)
    if output and os.path.isdir(output):
        return Path(output) / name
    if output.endswith((os.sep, f"{os.sep}.")):
        raise NasError(f"-o {output!r:.90}: no such folder")
    return base_of(Path(output), kind)


def demand_new(base: Path, kind: Format) -> None:
    """NasError where a file of this format and name exists."""
    suffixes = (kind.suffix, *kind.others)
    _demand_free((base.with_name(base.name + suffix) for suffix in suffixes), replace=False)


def write_files(contents: Contents, base: Path, *, replace: bool = False) -> list[Path]:
    """Writes files so that none is half-written and none is replaced by mistake.

    Args:
        contents: Bytes by suffix.
        base: Path of the files without suffix; its folder must exist.
        replace: Existing files may be replaced.

    Returns:
        The files.

    Raises:
        NasError: A file exists, or the folder cannot be written. Nothing was changed.
    """
    with staged_files(contents, base, replace=replace):
        return [base.with_name(base.name + suffix) for suffix in contents]


@contextmanager
def staged_files(contents: Contents, base: Path, *, replace: bool = False) -> Iterator[list[Path]]:
    """A context in which files can be tried before they get their places.

    Args:
        contents: Bytes by suffix.
        base: Path of the files without suffix; its folder must exist.
        replace: Existing files may be replaced.

    Yields:
        The files in a temporary folder; they are moved at the end, or not where an error ends it.

    Raises:
        NasError: A file exists, or the folder cannot be written. Nothing was changed.
    """
    paths = [base.with_name(base.name + suffix) for suffix in contents]
    with ExitStack() as stack:
        with _explained(base):
            _demand_free(paths, replace)
            holder = tempfile.TemporaryDirectory(dir=base.parent, prefix=".nas-export-")
            staged = [Path(stack.enter_context(holder)) / path.name for path in paths]
            for path, data in zip(staged, contents.values(), strict=True):
                path.write_bytes(data)
        yield staged
        with _explained(base):
            for path, end in zip(staged, paths, strict=True):
                os.replace(path, end)


@contextmanager
def _explained(base: Path) -> Iterator[None]:
    """NasError in place of an error of the operating system."""
    try:
        yield
    except OSError as error:
        place = base.parent if error.errno != errno.ENAMETOOLONG else f"{base.name:.30}..."
        raise NasError(f"{place}: cannot be written ({error.strerror})") from None


def _demand_free(paths: Iterable[Path], replace: bool) -> None:
    """NasError where one of the files exists and may not be replaced."""
    if existing := [path for path in paths if os.path.lexists(path)]:
        if not replace:
            raise NasError(f"{existing[0]} exists: --force replaces it, -o names another file")
        if folders := [path for path in existing if not path.is_file()]:
            raise NasError(f"{folders[0]} exists and is no file: -o names another one")
