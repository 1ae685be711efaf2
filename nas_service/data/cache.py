"""A cache of the images that were read, as plain arrays that all processes of a machine share.

An entry is a folder of .npy files and a JSON document with their sizes and digests. It is written
into a temporary folder and renamed, so it is complete or missing; a damaged one is made again.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from hw_models.files.json_file import read_json
from nas_service.data.images import Images, Stock, digest_of, sums_of
from nas_service.data.notes import Notes
from nas_service.errors import DataError

VERSION = 2  # of the format; entries of another version are made again
ABANDONED_s = 24 * 3600  # age of temporary folders that are removed
ARRAYS = ("pixels", "labels", "sums")
Chunk = tuple[int, NDArray[Any], NDArray[np.int64]]  # number of the first, pixels, labels [n]


@dataclass(frozen=True, eq=False)
class Samples:
    """The samples of a part of a data set."""

    count: int
    shape: tuple[int, ...]  # of one sample: [C, H, W], or [T, C, H, W] of events
    chunks: Iterator[Chunk]  # in any order
    notes: Notes = field(default_factory=Notes)  # complete once all chunks are read
    validation_part: int = 0  # the last samples are the validation part of the files


class _TooLarge(Exception):
    """A count of events that the type of the pixels cannot hold."""


def folder_of_cache(folder: Path) -> Path:
    """The cache's folder: NAS_CACHE, else `.nas-cache` in the data folder, else the user's."""
    if configured := os.environ.get("NAS_CACHE"):
        return Path(configured)
    if os.access(folder, os.W_OK):
        return folder / ".nas-cache"
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "nas-service"


def key_of(*facts: object) -> str:
    """24 hexadecimal digits that identify an entry by everything that decides its content."""
    return hashlib.sha256(json.dumps([VERSION, *facts]).encode()).hexdigest()[:24]


def cached(folder: Path, name: str, read: Callable[[], Samples]) -> Images:
    """The images of an entry.

    Args:
        folder: The folder of the cache.
        name: The name of the entry.
        read: Reads the samples where the entry is missing or damaged.

    Returns:
        The images, mapped from the entry.

    Raises:
        DataError: The entry cannot be written, or the samples cannot be read.
    """
    entry = folder / name
    if (images := _opened(entry)) is not None:
        return images
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder, time.time())
        temporary = Path(tempfile.mkdtemp(dir=folder, prefix=f".{name}."))
        try:
            _write(temporary, read)
            _rename(temporary, entry)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"{entry}: cannot be written ({error.strerror}); NAS_CACHE names another folder"
        ) from error
    images = _opened(entry)
    if images is None:
        raise DataError(f"{entry}: does not hold what was written into it")
    return images


def _sweep(folder: Path, now: float) -> None:
    """Removes the temporary folders of processes that were killed."""
    for temporary in folder.glob(".*"):
        if temporary.is_dir() and now - temporary.stat().st_mtime > ABANDONED_s:
            shutil.rmtree(temporary, ignore_errors=True)


def _rename(temporary: Path, entry: Path) -> None:
    """Gives a new entry its name, unless another process was first."""
    try:
        temporary.replace(entry)
    except OSError:
        if _opened(entry) is not None:
            return
        damaged = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f".{entry.name}.damaged."))
        entry.replace(damaged / entry.name)
        shutil.rmtree(damaged, ignore_errors=True)
        temporary.replace(entry)


def _write(entry: Path, read: Callable[[], Samples]) -> None:
    samples = read()
    try:
        _write_as(np.dtype(np.uint8), entry, samples)
    except _TooLarge:
        samples = read()
        _write_as(np.dtype(np.uint16), entry, samples)
    pixels = np.load(entry / "pixels.npy", mmap_mode="r", allow_pickle=False)
    facts = {name: _file_facts(entry / f"{name}.npy") for name in ARRAYS}
    facts["pixels"]["digest"] = digest_of(pixels)
    for name in ("labels", "sums"):
        facts[name]["digest"] = digest_of(np.load(entry / f"{name}.npy", allow_pickle=False))
    _write_about(entry, facts, samples)


def _write_about(entry: Path, facts: dict[str, Any], samples: Samples) -> None:
    about = {"version": VERSION, "arrays": facts, "notes": samples.notes.lines()}
    handle, temporary = tempfile.mkstemp(dir=entry, suffix=".part")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        json.dump(about | {"validation_part": samples.validation_part}, file)
    Path(temporary).replace(entry / "about.json")


def _file_facts(path: Path) -> dict[str, Any]:
    status = path.stat()
    return {"bytes": status.st_size, "changed": status.st_mtime_ns}


def _write_as(dtype: np.dtype[Any], entry: Path, samples: Samples) -> None:
    """Writes every chunk of pixels to its position in the file."""
    shape = (samples.count, *samples.shape)
    labels = np.full(samples.count, -1, dtype=np.int64)
    sums = np.zeros((samples.count, samples.shape[-3], 2), dtype=np.int64)
    row_B = int(np.prod(samples.shape, dtype=np.int64)) * dtype.itemsize
    with (entry / "pixels.npy").open("wb") as file:
        head = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(file, head)
        start = file.tell()
        for first, pixels, classes in samples.chunks:
            if pixels.max(initial=0) > np.iinfo(dtype).max:
                _demand_16_bits(pixels)
                raise _TooLarge
            these = slice(first, first + len(pixels))
            small = np.ascontiguousarray(pixels, dtype=dtype)
            file.seek(start + first * row_B)
            file.write(small.data)
            labels[these], sums[these] = classes, sums_of(small)
        file.flush()
        os.fsync(file.fileno())
    if not samples.count or labels.min() < 0:
        raise DataError(f"{int((labels < 0).sum())} of {samples.count} samples were not read")
    np.save(entry / "labels.npy", labels, allow_pickle=False)
    np.save(entry / "sums.npy", sums, allow_pickle=False)


def _demand_16_bits(pixels: NDArray[Any]) -> None:
    if (most := int(pixels.max())) > np.iinfo(np.uint16).max:
        raise DataError(f"{most} events of one pixel in one frame, at most 65535 are possible")


def _opened(entry: Path) -> Images | None:
    """The images of an entry; None where it is missing, damaged or of another version."""
    try:
        about = read_json(entry / "about.json")
        if about["version"] != VERSION:
            return None
        facts = about["arrays"]
        pixels = np.load(entry / "pixels.npy", mmap_mode="r", allow_pickle=False)
        labels, sums = (np.load(entry / f"{x}.npy", allow_pickle=False) for x in ("labels", "sums"))
        arrays = dict(zip(ARRAYS, (pixels, labels, sums), strict=True))
        if not all(_unchanged(entry, facts, name, array) for name, array in arrays.items()):
            return None
        digest = str(facts["pixels"]["digest"])
        notes, validation = tuple(map(str, about["notes"])), int(about["validation_part"])
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    if not len(pixels) == len(labels) == len(sums):
        return None
    images = Images.of(Stock(pixels, sums, digest), labels)
    return replace(images, notes=notes, validation_part=validation)


def _unchanged(entry: Path, facts: dict[str, Any], name: str, array: NDArray[Any]) -> bool:
    """True for the file that was written.

    One with the size and modification time of then is trusted: hashing gigabytes is slow.
    """
    path, fact = entry / f"{name}.npy", facts[name]
    now = _file_facts(path)
    if now == {key: fact[key] for key in now}:
        return True
    return bool(now["bytes"] == fact["bytes"] and digest_of(array) == fact["digest"])
