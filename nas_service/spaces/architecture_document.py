"""Architectures in documents: by themselves, or in what a command printed of a trial."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hw_models.files.json_file import read_json
from nas_service.errors import SpecError

GRAPH_SUFFIXES = (".nir", ".h5", ".hdf5")
NEEDED = (
    "an architecture is needed (cells, channels, ...), or what `nas show NAME TRIAL --json` or "
    "`nas evaluate --json` prints"
)


def holds_architecture(document: object) -> bool:
    """True for an architecture, and for a trial or an evaluation with one."""
    return isinstance(document, dict) and ("cells" in document or "architecture" in document)


def read_architecture(path: Path) -> tuple[Any, Mapping[str, Any]]:
    """Reads a file with an architecture.

    Args:
        path: The JSON file.

    Returns:
        What `architecture_in` returns.

    Raises:
        FileError: The file cannot be read.
        SpecError: It holds no architecture.
    """
    if path.suffix.lower() in GRAPH_SUFFIXES:
        raise SpecError(f"a NIR graph has no cells to build and train: {NEEDED}")
    return architecture_in(read_json(path))


def architecture_in(document: object) -> tuple[Any, Mapping[str, Any]]:
    """The architecture in a document, and what the document says beside it.

    Args:
        document: Parsed JSON.

    Returns:
        The architecture as JSON, still unchecked, and the trial's or evaluation's other fields;
        none of them for an architecture by itself.

    Raises:
        SpecError: The document holds no architecture.
    """
    if isinstance(document, dict) and "architecture" in document:
        return document["architecture"], document
    if isinstance(document, dict) and "layers" in document:
        raise SpecError(f"a layer list has no cells to build and train: {NEEDED}")
    if not holds_architecture(document):
        what = (
            f"its keys: {', '.join(document):.60}" if isinstance(document, dict) else repr(document)
        )
        raise SpecError(f"no architecture ({what:.80}): {NEEDED}")
    return document, {}
