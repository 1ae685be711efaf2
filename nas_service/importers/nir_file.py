"""NIR files: HDF5 of unknown origin, checked before any of it is read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hw_models import WorkloadError
from nas_service.importers.nir_graph import KINDS, unknown_kind

MAX_ENTRIES = 100_000  # groups and arrays of a file: a node has about ten
MAX_DEPTH = 64


def read_graph(path: Path, most_B: int) -> Any:
    """Reads a NIR graph from a file.

    Args:
        path: The file.
        most_B: Bytes that it may have when unpacked.

    Returns:
        The NIRGraph.

    Raises:
        WorkloadError: It is no such file, too large, or links to other files.
    """
    import nir

    try:
        _check(path, most_B)
        return nir.read(str(path), type_check=False)  # its type check rejects grouped convolutions
    except WorkloadError as error:
        raise WorkloadError(f"{path}: {error}") from error
    except Exception as error:  # h5py and nir raise many unrelated types, some without a message
        raise WorkloadError(f"{path}: no NIR graph ({error or type(error).__name__})") from error


def _check(path: Path, most_B: int) -> None:
    """WorkloadError for links out of the file, too much data, and nodes we do not know."""
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path, "r") as file:
        size_B = 0
        for name, entry in _entries(file, h5py):
            if not isinstance(entry, h5py.Dataset):
                continue
            if entry.external or entry.is_virtual:
                raise WorkloadError(f"{name} is stored in another file: one file is needed")
            size_B += entry.size * entry.dtype.itemsize
            if size_B > most_B:
                raise WorkloadError(f"more than {most_B} bytes when unpacked")
            *_, node, key = ["", *name.split("/")]
            if key == "type" and "/metadata/" not in name:
                _check_kind(node, entry[()])


def _check_kind(node: str, kind: Any) -> None:
    text = kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)
    if text not in KINDS:
        raise unknown_kind(node, text)


def _entries(file: Any, h5py: Any) -> Iterator[tuple[str, Any]]:
    """All groups and arrays of a file with their names; one that is linked twice is listed twice.

    Raises:
        WorkloadError: There are soft or external links, or too many or too deep groups.
    """
    pending = [("", file, 0)]
    for _ in range(MAX_ENTRIES):
        if not pending:
            return
        path, entry, depth = pending.pop()
        yield path, entry
        for name in entry if isinstance(entry, h5py.Group) else ():
            if not isinstance(entry.get(name, getlink=True), h5py.HardLink):
                raise WorkloadError(f"{path}/{name} is a link: the entry itself is needed")
            if depth == MAX_DEPTH:
                raise WorkloadError(f"groups more than {MAX_DEPTH} deep")
            pending.append((f"{path}/{name}", entry[name], depth + 1))
    raise WorkloadError(f"more than {MAX_ENTRIES} entries")
