"""NIR files: HDF5 of unknown origin, checked before any of it is read."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hw_models import WorkloadError
from hw_models.files.json_file import parse_json
from nas_service.importers.nir_document import graph_of

MAX_ENTRIES = 100_000  # groups and arrays of a file: a node has about ten
MAX_DEPTH = 64
MAX_STEPS = 65536
OWN_FACTS = "node/metadata/nas_service"  # a JSON document of `nas export`
HDF5 = b"\x89HDF\r\n\x1a\n"
OTHER_KINDS = {  # what the first bytes of other files say
    HDF5[:4]: "a copy in text mode changed its line ends: copy it as a binary file",
    b"version https://git-lfs": "a pointer of Git LFS: `git lfs pull` fetches the file itself",
    b"<": "a web page or XML: download the file itself",
    b"{": "JSON: a layer list has the suffix .json",
    b"[": "JSON: a layer list has the suffix .json",
    b"PK": "a ZIP archive, as torch.save writes: write the graph with nir.write",
    b"\x80": "a pickle of Python: write the graph with nir.write",
    b"\x1f\x8b": "compressed: unpack it",
    b"\x08": "perhaps ONNX: write the graph with nir.write",
    b"\xef\xbb\xbf": "text: a layer list has the suffix .json",
}
CUT = re.compile(r"eof = (\d+).*stored_eof = (\d+)")  # in h5py's message


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
    _demand_hdf5(path)
    try:
        return _read(path, most_B)
    except WorkloadError:
        raise
    except Exception as error:  # h5py raises many unrelated types, some without a message
        raise WorkloadError(f"no NIR graph: {_reason(error)}") from error


def time_steps_in(path: Path, most_B: int) -> int | None:
    """The time steps of an inference, which the graphs of `nas export` say in their metadata.

    Args:
        path: The file.
        most_B: Bytes that it may have when unpacked.

    Returns:
        The number; None where the file says none, or is damaged, which `read_graph` reports.
    """
    import h5py  # type: ignore[import-untyped]

    try:
        with h5py.File(path, "r") as file:
            _check(file, h5py, most_B)
            text = file[OWN_FACTS].asstr()[()]
        steps = parse_json(text, str(path))["input"]["time_steps"]
    except Exception:  # h5py raises many unrelated types
        return None
    return steps if isinstance(steps, int) and 1 <= steps <= MAX_STEPS else None


def _demand_hdf5(path: Path) -> None:
    """WorkloadError for a file that is no HDF5, with what it seems to be."""
    start = _first_bytes(path)
    if not start:
        raise WorkloadError("no NIR graph: the file is empty")
    if not start.startswith(HDF5[: len(start)]):
        kinds = (kind for begin, kind in OTHER_KINDS.items() if start.startswith(begin))
        seems = next(kinds, "write the graph with nir.write")
        raise WorkloadError(f"no NIR graph: HDF5 is needed, the file is not ({seems})")


def _first_bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(64).lstrip()
    except OSError as error:
        raise WorkloadError(f"cannot be read ({error.strerror})") from error


def _reason(error: Exception) -> str:
    """What is wrong with a file that h5py could not read, and what to do."""
    if sizes := CUT.search(str(error)):
        return f"the file is cut off, {sizes[1]} of {sizes[2]} bytes are there: copy it again"
    if isinstance(error, BlockingIOError):
        return "another program is writing the file: wait for it"
    if isinstance(error, UnicodeError):
        return "a text in it is not UTF-8: write the graph with nir.write"
    return "the file is cut off or damaged: copy it again, or write the graph again"


def _read(path: Path, most_B: int) -> Any:
    """The graph in an HDF5 file, after all of its entries were checked."""
    import h5py
    from nir.serialization import hdf2dict

    with h5py.File(path, "r") as file:
        _check(file, h5py, most_B)
        root = file.get("node")
        if not isinstance(root, h5py.Group):
            entries = sorted(file)[:8]
            raise WorkloadError(f"no NIR graph: HDF5 with the entries {entries}, 'node' is needed")
        return graph_of("graph", hdf2dict(root))


def _check(file: Any, h5py: Any, most_B: int) -> None:
    """WorkloadError for links out of the file, and for too much data."""
    size_B = 0
    for name, entry in _entries(file, h5py):
        if not isinstance(entry, h5py.Dataset):
            continue
        if entry.external or entry.is_virtual:
            raise WorkloadError(f"{name} is stored in another file: one file is needed")
        size_B += (entry.size or 0) * entry.dtype.itemsize
        if size_B > most_B:
            raise WorkloadError(f"more than {most_B} bytes when unpacked")


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
