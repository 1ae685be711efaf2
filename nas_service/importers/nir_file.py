"""NIR files: HDF5 that strangers wrote, looked through before any of it is read."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hw_models import WorkloadError
from nas_service.importers.nir_graph import KINDS, unknown_kind

MAX_ENTRIES = 100_000  # groups and arrays of a file: a node has about ten
MAX_DEPTH = 64


def read_graph(path: Path, most_B: int) -> Any:
    """The NIRGraph of a file of at most `most_B` bytes, unpacked; WorkloadError for any other."""
    import nir

    try:
        _check(path, most_B)
        return nir.read(str(path), type_check=False)  # its check knows no groups
    except WorkloadError as error:
        raise WorkloadError(f"{path}: {error}") from error
    except Exception as error:  # h5py and nir raise many unrelated types, some without a word
        raise WorkloadError(f"{path}: no NIR graph ({error or type(error).__name__})") from error


def _check(path: Path, most_B: int) -> None:
    """WorkloadError for links out of the file, too much data, and nodes we do not know."""
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path, "r") as file:
        size_B = 0
        for name, found in _entries(file, h5py):
            if not isinstance(found, h5py.Dataset):
                continue
            if found.external or found.is_virtual:
                raise WorkloadError(f"{name} lies in another file: one file is needed")
            size_B += found.size * found.dtype.itemsize
            if size_B > most_B:
                raise WorkloadError(f"more than {most_B} bytes when unpacked")
            *_, node, key = ["", *name.split("/")]
            if key == "type" and "/metadata/" not in name:
                _check_kind(node, found[()])


def _check_kind(node: str, kind: Any) -> None:
    word = kind.decode(errors="replace") if isinstance(kind, bytes) else str(kind)
    if word not in KINDS:
        raise unknown_kind(node, word)


def _entries(file: Any, h5py: Any) -> Iterator[tuple[str, Any]]:
    """Everything in a file as a reader meets it: what is linked twice comes twice."""
    waiting = [("", file, 0)]
    for _ in range(MAX_ENTRIES):
        if not waiting:
            return
        at, found, depth = waiting.pop()
        yield at, found
        for name in found if isinstance(found, h5py.Group) else ():
            if not isinstance(found.get(name, getlink=True), h5py.HardLink):
                raise WorkloadError(f"{at}/{name} is a link: the thing itself is needed")
            if depth == MAX_DEPTH:
                raise WorkloadError(f"groups more than {MAX_DEPTH} deep")
            waiting.append((f"{at}/{name}", found[name], depth + 1))
    raise WorkloadError(f"more than {MAX_ENTRIES} entries")
