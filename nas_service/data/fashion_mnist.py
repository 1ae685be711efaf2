"""Fashion-MNIST from its four IDX files: 60 000 + 10 000 grey images of 28x28, ten classes.

Source: Xiao, Rasul, Vollgraf, arXiv 1708.07747; the files keep their published names, gzipped
or not, in the data folder itself or in its FashionMNIST/raw.
"""

import gzip
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas_service.data.images import Images, Source
from nas_service.errors import DataError
from nas_service.spaces.task import Task

TASK = Task(1, 28, 10)
FOLDERS = ("", "FashionMNIST/raw", "fashion_mnist")
TYPE_BYTES = 0x08  # of an IDX file: unsigned bytes


def read_idx(path: Path, sides: tuple[int, ...]) -> NDArray[np.uint8]:
    """An IDX file of bytes as [N, *sides]; DataError names the file and what is wrong with it.

    Format: http://yann.lecun.com/exdb/mnist: two zero bytes, type, number of dimensions, each
    dimension in four bytes big-endian, then the bytes. N comes from the header, and exactly the
    bytes it announces are read.
    """
    open_file = gzip.open if path.suffix == ".gz" else open
    head = 4 + 4 * (1 + len(sides))
    try:
        with open_file(path, "rb") as file:
            start = file.read(head)
            count = _count(start, sides, path)
            size = count * int(np.prod(sides, dtype=np.int64))
            body = file.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged or unreadable ({error})") from error
    if len(body) != size:
        found = "more" if len(body) > size else f"{len(body)}"
        raise DataError(f"{path}: {size} bytes announced, {found} found")
    return np.frombuffer(body, dtype=np.uint8).reshape(count, *sides)


def _count(start: bytes, sides: tuple[int, ...], path: Path) -> int:
    words = [int.from_bytes(start[i : i + 4], "big") for i in range(0, len(start), 4)]
    magic = TYPE_BYTES << 8 | (1 + len(sides))
    if len(words) != 2 + len(sides) or words[0] != magic or tuple(words[2:]) != sides:
        raise DataError(f"{path}: no IDX file of bytes with images or labels of shape {sides}")
    if not 1 <= words[1] <= 10**6:
        raise DataError(f"{path}: {words[1]} items announced, 1..1000000 are possible")
    return words[1]


def _find(folder: Path, name: str) -> Path:
    places = [folder / sub / (name + end) for sub in FOLDERS for end in (".gz", "")]
    for path in places:
        if path.is_file():
            return path
    raise DataError(
        f"{name}.gz is missing: put Fashion-MNIST's four IDX files into {folder.resolve()} "
        "or its FashionMNIST/raw, or name another folder by --data or NAS_DATA"
    )


def _read(folder: Path, part: str) -> Images:
    images, labels = (
        _find(folder, f"{part}-images-idx3-ubyte"),
        _find(folder, f"{part}-labels-idx1-ubyte"),
    )
    pixels = read_idx(images, (TASK.size, TASK.size))
    classes = read_idx(labels, ())
    if len(pixels) != len(classes):
        raise DataError(f"{labels}: {len(classes)} labels for {len(pixels)} images")
    if (worst := int(classes.max())) >= TASK.classes:
        raise DataError(f"{labels}: label {worst}, 0..{TASK.classes - 1} are possible")
    return Images((pixels[:, None] / np.float32(255)).astype(np.float32), classes.astype(np.int64))


def _read_train(folder: Path) -> Images:
    return _read(folder, "train")


def _read_test(folder: Path) -> Images:
    return _read(folder, "t10k")


SOURCE = Source(TASK, _read_train, _read_test, validation_samples=5000)
